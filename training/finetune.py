"""Fine-tune a BILMA to classify texts: the Emoji-15 task made from raw texts, or any file with labels.

    accelerate launch --quiet training/finetune.py --model bilma-mx --task emoji15 --train_file mx.jsonl.gz \
        --output_dir bilma-mx-emoji
    accelerate launch --quiet training/finetune.py --model bilma-mx --task sentiment --train_file tass.csv \
        --seeds 0 1 2 --output_dir bilma-mx-sentiment
    accelerate launch --quiet training/finetune.py --recipe finetune_published --model ... --task emoji15 ...

The output folder holds the classifier of the best seed by validation accuracy with its code, its tokenizer,
training_args.json, and metrics.json with the scores of every seed, their mean and their spread.

A run takes minutes and is not resumed: one that is interrupted leaves the output folder without a model (or, with
--overwrite, with the one that it held), and the same command begins again.
"""

import json
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_json
from training.common.provenance import base_fingerprint
from training.engine.accelerator import make_accelerator, say
from training.engine.models import save_model
from training.engine.run_folder import WORK_DIR, check_output_dir, prepare_work_dir, put_in_place
from training.finetuning.arguments import FinetuneArguments, check_arguments
from training.finetuning.loop import tokenise, train_seed
from training.finetuning.scores import describe_result, in_words, summarise
from training.texts.labelled import LabelledSplits, open_labelled


def main() -> None:
    args = parse_arguments(FinetuneArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    check_output_folder(args, output_dir)
    splits = open_labelled(args)
    accelerator = make_accelerator(args, public_arguments(args))
    finetune(args, splits, accelerator, output_dir)
    accelerator.free_memory()
    accelerator.end_training()


def check_output_folder(args: FinetuneArguments, output_dir: Path) -> None:
    """As in pretraining; and a pretrained model is never replaced by a classifier."""
    check_output_dir(output_dir, resume=False, overwrite=args.overwrite)
    written_with = output_dir / "training_args.json"
    if (output_dir / "config.json").exists() and "task" not in (
        json.loads(written_with.read_text()) if written_with.exists() else {}
    ):
        raise InputError(f"{output_dir} holds a model that is no classifier of ours: give another --output_dir")


def finetune(args: FinetuneArguments, splits: LabelledSplits, accelerator: Accelerator, output_dir: Path) -> None:
    with as_input_error(ValueError, OSError):
        tokenizer = load_tokenizer(args.model)
    task = tokenise(splits, tokenizer, args.max_length)
    say(accelerator, describe(args, splits))
    work_dir = output_dir / WORK_DIR
    prepare_work_dir(work_dir, False, accelerator)
    runs: list[dict[str, Any]] = []
    base = base_fingerprint(args.model)
    started = time.monotonic()
    for seed in args.seeds:
        outcome, model = train_seed(args, task, tokenizer, seed, accelerator)
        runs.append(outcome)
        say(accelerator, f"seed {seed}: {in_words(outcome)}, after {outcome['epochs']} epochs")
        if accelerator.is_main_process and summarise(runs)["kept_seed"] == seed:
            save_model(model, work_dir / "best")
    if accelerator.is_main_process:
        facts = {"base_fingerprint": base, "seconds": round(time.monotonic() - started, 1)}
        finish(args, splits, tokenizer, runs, facts, accelerator, output_dir)


def describe(args: FinetuneArguments, splits: LabelledSplits) -> str:
    counts = ", ".join(f"{len(texts):,} for {part}" for part, texts in splits.parts().items())
    left_out = f"; {splits.duplicates} left out, the same as others" if splits.duplicates else ""
    return (
        f"{args.task}: {len(splits.label_names)} labels, texts: {counts}{left_out}; {splits.corpus.report.summary()}"
    )


def finish(
    args: FinetuneArguments,
    splits: LabelledSplits,
    tokenizer: TokenizersBackend,
    runs: list[dict[str, Any]],
    facts: dict[str, Any],
    accelerator: Accelerator,
    output_dir: Path,
) -> None:
    """Make the output folder of the best seed's model, and remove what was only needed to get there."""
    best = output_dir / WORK_DIR / "best"
    tokenizer.save_pretrained(best)
    metrics = describe_result(Path(args.model).name, splits, runs, accelerator.device) | facts
    metrics["machine"] |= {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision}
    write_json(best / "metrics.json", metrics)
    write_json(best / "training_args.json", public_arguments(args))
    put_in_place(best, output_dir)
    print(f"{output_dir}: seed {metrics['kept_seed']}, {in_words(metrics)}")
    if len(runs) > 1:
        print(f"mean of {len(runs)} seeds: {in_words(metrics['mean'])}")


if __name__ == "__main__":
    run(main)
