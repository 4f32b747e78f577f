"""Fine-tune a BILMA to classify texts, or to tag the words of texts.

    accelerate launch --quiet training/finetune.py --model bilma-mx --task emoji15 --train_file mx.jsonl.gz \
        --output_dir bilma-mx-emoji
    accelerate launch --quiet training/finetune.py --model bilma-mx --task sentiment --train_file tass.csv \
        --seeds 0 1 2 --output_dir bilma-mx-sentiment
    accelerate launch --quiet training/finetune.py --model models/bilma --task emoji15 --label_column label \
        --train_file emoji15.jsonl.gz --region_tokens --seeds 0 1 2 3 4 --soup --output_dir bilma-emoji
    accelerate launch --quiet training/finetune.py --model bilma-es --task tokens --train_file train.conll \
        --validation_file dev.conll --test_file test.conll --output_dir bilma-es-loanwords

`--task emoji15` makes labels from raw texts, `--task tokens` takes BIO tags of words, and any other task takes the
labels of a file. The output folder holds the classifier of the best seed by validation score, or with --soup the
average of several, with its code, its tokenizer, training_args.json, metrics.json with the scores of every seed, and
for classes of texts test_guesses.json with what they guess of each test text, for compare_classifiers.py.

A run takes minutes and is not resumed: the same command starts an interrupted one again.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import load_tokenizer, with_final_mask
from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_json
from training.common.locks import only_run_in
from training.common.provenance import base_fingerprint
from training.engine.accelerator import make_accelerator, say
from training.engine.models import save_model
from training.engine.run_folder import WORK_DIR, check_output_dir, prepare_work_dir, put_in_place
from training.finetuning.arguments import FinetuneArguments, check_arguments
from training.finetuning.classifier import Classifier
from training.finetuning.folds import all_tests, authors_of, cross_validation
from training.finetuning.guesses import GUESSES_FILE, Guesses, describe_guesses
from training.finetuning.loop import cross_validate, score, test_scores, train_seed
from training.finetuning.scores import describe_folds, describe_result, describe_texts, one_line, summarise
from training.finetuning.soup import greedy_soup
from training.finetuning.tasks import Task, open_task
from training.inference.classify import predict
from training.texts.labelled import LabelledSplits


def main() -> None:
    args = parse_arguments(FinetuneArguments, __doc__.splitlines()[0])
    check_arguments(args)
    with only_run_in(Path(args.output_dir)):
        check_output_folder(args, Path(args.output_dir))
        train(args, Path(args.output_dir))


def train(args: FinetuneArguments, output_dir: Path) -> None:
    """Train the classifiers of all seeds, and write the best one, or their average, with its records."""
    with as_input_error(ValueError, OSError):
        tokenizer = load_tokenizer(args.model)
    if args.pooling == "mask":
        tokenizer = with_final_mask(tokenizer)
    splits, task = open_task(args, tokenizer)
    base = base_fingerprint(args.model)
    accelerator = make_accelerator(args, public_arguments(args))
    say(accelerator, describe_texts(splits))
    folds = cross_validation(splits, args.folds) if args.folds and isinstance(splits, LabelledSplits) else []
    prepare_work_dir(output_dir / WORK_DIR, False, accelerator)

    started = time.monotonic()
    runs: list[dict[str, Any]] = []
    by_seed: dict[int, np.ndarray] = {}
    classifiers: list[Classifier] = []  # without --soup, the best one only
    for seed in args.seeds:
        outcome, classifier = train_seed(args, task, tokenizer, seed, accelerator)
        runs.append(outcome)
        by_seed[seed] = predict(accelerator, classifier, task.ids["test"], tokenizer)
        say(accelerator, f"seed {seed}: {one_line(outcome)}; after {outcome['epochs']} epochs")
        if args.soup:
            classifiers.append(classifier)
        elif summarise(runs, task.metric)["kept_seed"] == seed:
            classifiers = [classifier]
    facts: dict[str, Any] = {"base_fingerprint": base}
    if args.soup:
        facts |= average(args, task, tokenizer, runs, classifiers, accelerator)
    records: dict[str, Any] = {}
    if isinstance(splits, LabelledSplits):
        soup = predict(accelerator, classifiers[0], task.ids["test"], tokenizer) if args.soup else None
        guesses = guesses_of(args, splits, folds, tokenizer, by_seed, soup, accelerator)
        records[GUESSES_FILE] = guesses
        facts |= {"cross_validation": describe_folds(args.folds, guesses)} if args.folds else {}
    facts["seconds"] = round(time.monotonic() - started, 1)

    if accelerator.is_main_process:
        metrics = describe_result(Path(args.model).name, splits, runs, accelerator.device, task.metric) | facts
        metrics["machine"] |= {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision}
        finish(args, classifiers[0], tokenizer, records | {"metrics.json": metrics}, output_dir)
    accelerator.free_memory()
    accelerator.end_training()


def check_output_folder(args: FinetuneArguments, output_dir: Path) -> None:
    """Check that nothing of the user's is overwritten, as in pretraining.

    Raises:
        InputError: if it would be; also if a pretrained model would be replaced by a classifier.
    """
    check_output_dir(output_dir, resume=False, overwrite=args.overwrite)
    written_with = output_dir / "training_args.json"
    if (output_dir / "config.json").exists() and "task" not in (
        json.loads(written_with.read_text()) if written_with.exists() else {}
    ):
        raise InputError(f"{output_dir} holds a model that is no classifier of ours: give another --output_dir")


def average(
    args: FinetuneArguments,
    task: Task,
    tokenizer: TokenizersBackend,
    runs: list[dict[str, Any]],
    classifiers: list[Classifier],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Replace the classifiers by their greedy soup, and return what metrics.json records about it."""

    def validate(classifier: Classifier) -> float:
        return score(classifier, task, "validation", tokenizer, accelerator)[task.metric]

    soup, members = greedy_soup(classifiers, [run["validation"][task.metric] for run in runs], validate)
    classifiers[:] = [soup]
    scores = {
        "validation": score(soup, task, "validation", tokenizer, accelerator),
        **test_scores(soup, task, tokenizer, accelerator),
    }
    seeds = [runs[number]["seed"] for number in members]
    say(accelerator, f"average of seeds {', '.join(map(str, seeds))}: {one_line(scores)}")
    return {"soup_seeds": seeds, **scores}


def guesses_of(
    args: FinetuneArguments,
    splits: LabelledSplits,
    folds: list[LabelledSplits],
    tokenizer: TokenizersBackend,
    by_seed: dict[int, np.ndarray],
    soup: np.ndarray | None,
    accelerator: Accelerator,
) -> Guesses:
    """Compose test_guesses.json, of the test part, or with --folds of all texts, each guessed by the other folds."""
    facts = splits.task, Path(args.output_dir).resolve().name, splits.label_names
    authors = authors_of(splits)
    if not folds:
        return describe_guesses(*facts, splits.test, authors, by_seed, soup)
    crossed = cross_validate(args, folds, tokenizer, accelerator)
    return describe_guesses(*facts, all_tests(folds), authors, crossed, folds=args.folds)


def finish(
    args: FinetuneArguments,
    classifier: Classifier,
    tokenizer: TokenizersBackend,
    records: dict[str, Any],
    output_dir: Path,
) -> None:
    """Write the model and its records, by file name, into the output folder, whole; remove the working folder."""
    metrics = records["metrics.json"]
    best = output_dir / WORK_DIR / "best"
    save_model(classifier, best)
    tokenizer.save_pretrained(best)
    for name, record in records.items():
        write_json(best / name, record)
    write_json(best / "training_args.json", public_arguments(args))
    put_in_place(best, output_dir)
    kept = f"average of {len(metrics['soup_seeds'])} seeds" if args.soup else f"seed {metrics['kept_seed']}"
    print(f"{output_dir}: {kept}, {one_line(metrics)}")
    if len(args.seeds) > 1:
        print(f"mean of {len(args.seeds)} seeds: {one_line(metrics['mean'])}")


if __name__ == "__main__":
    run(main)
