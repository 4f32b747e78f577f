"""Pretrain a regional BILMA from texts, by masked language modelling.

    accelerate launch --quiet training/pretrain.py --region mx --train_file mx.jsonl.gz --output_dir bilma-mx
    accelerate launch --quiet training/pretrain.py --region uy --train_file uy.csv --init_from bilma-mx --output_dir uy
    accelerate launch --quiet training/pretrain.py --recipe published --region mx --train_file ... --output_dir ...

Every flag can stand in a recipe, a YAML file given by `--recipe`; a flag on the command line wins. The output folder
holds the best model by validation loss with its code, its tokenizer, training_args.json, metrics.json and
loss_curve.png. SIGTERM or SIGINT (Ctrl-C) makes a run write a checkpoint and end with status 75; a second SIGINT ends
it at once. However it was interrupted, it goes on with the same command and `--resume`.
"""

import dataclasses
import hashlib
import json
import math
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import set_seed
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassError
from tqdm import tqdm
from transformers import TokenizersBackend, get_scheduler

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, train_vocabulary
from training.arguments import parse_arguments, public_arguments
from training.batching import MaskedSteps
from training.checkpoints import load_checkpoint
from training.corpus import Corpus, ReadingReport, find_files, load_tokens, open_corpus, text_hash
from training.engine import choose_attention, make_accelerator, make_optimizer, open_whole, say, tell_deepspeed
from training.errors import InputError, as_input_error, as_lost_process_error, as_write_error, run
from training.estimate import estimate
from training.folders import written_whole
from training.loop import TrainingLoop
from training.loss_curve import draw_loss_curve
from training.pretrain_arguments import PretrainArguments, check_arguments
from training.provenance import commit, machine, versions
from training.regions import Region, get_region
from training.run_folder import (
    TEXTS,
    WORK_DIR,
    check_output_dir,
    find_start,
    is_finished,
    prepare_work_dir,
    put_in_place,
)
from training.signals import STOPPED
from training.splits import is_test, is_validation
from training.streaming import HeldOutTexts, ParquetStream, StreamedSteps, StreamReport

METRICS_SCHEMA = 1
VALIDATION_MLM_PROBABILITY = 0.15  # so that runs of any masking rate can be compared
# Flags that change how a run goes on, and not what comes out.
OPERATIONAL = {
    "num_threads",
    "tokens_per_micro_batch",
    "logging_steps",
    "save_steps",
    "save_minutes",
    "keep_checkpoints",
    "max_bad_batches",
    "report_to",
}


@dataclass
class Data:
    """Tokenised texts and which of them are for training and for validation.

    A stream of texts to train on has no `train_tokens`, and which of its texts are held out is known only when they
    are read.
    """

    corpus: Corpus
    report: ReadingReport | StreamReport
    fingerprint: str
    train_tokens: Dataset | None
    train_texts: np.ndarray | ParquetStream
    validation_tokens: Dataset
    validation_texts: np.ndarray
    kept_for_testing: int | None


def main() -> None:
    args = parse_arguments(PretrainArguments, __doc__.splitlines()[0])
    region = get_region(args.region)
    check_arguments(args, region)
    if args.estimate:
        with TemporaryDirectory() as folder:
            start(dataclasses.replace(args, output_dir=folder, resume=False, report_to=None), region)
        return
    output_dir = Path(args.output_dir)
    if is_finished(output_dir) and args.resume:
        print(f"{output_dir}: this run is finished, nothing to resume")
        return
    check_output_dir(output_dir, args.resume, args.overwrite)
    start(args, region)


def start(args: PretrainArguments, region: Region) -> None:
    corpus = open_corpus(args)
    validation_corpus = None
    if args.validation_file:
        validation_corpus = Corpus(find_files(args.validation_file), text_column=args.text_column, strict=args.strict)

    accelerator = make_accelerator(args, public_arguments(args))
    if args.estimate and accelerator.num_processes > 1:
        raise InputError("--estimate measures one process: run it with python, without accelerate launch or torchrun")
    tell_deepspeed(accelerator, args.max_grad_norm)
    with as_lost_process_error():
        finished = pretrain(args, region, corpus, validation_corpus, accelerator)
    # The model must go before the process group: as its last owner it would wait, holding the interpreter's lock, for
    # gloo's threads, which may want that lock.
    accelerator.free_memory()
    accelerator.end_training()
    if not finished:
        sys.exit(STOPPED)


def pretrain(
    args: PretrainArguments,
    region: Region,
    corpus: Corpus,
    validation_corpus: Corpus | None,
    accelerator: Accelerator,
) -> bool:
    """Train, and make the output folder, or only estimate; False if a signal stopped the training before its end."""
    output_dir = Path(args.output_dir)
    work_dir = output_dir / WORK_DIR
    prepare_work_dir(work_dir, args.resume, accelerator)
    tokenizer = make_tokenizer(args, corpus, work_dir, accelerator)
    source = ParquetStream(corpus) if args.streaming else corpus
    identity = run_identity(args, source, validation_corpus, tokenizer)
    checkpoint, progress = find_start(work_dir, identity, accelerator)
    load = open_streamed_data if args.streaming else load_data
    data = load(args, source, validation_corpus, tokenizer, accelerator)
    set_seed(args.seed)
    model = make_model(args, region, tokenizer)
    choose_attention(model, accelerator)
    tokenizer.model_max_length = model.config.max_position_embeddings  # what truncation=True cuts at
    train_steps, validation_steps = make_steps(args, data, tokenizer, model.config, accelerator)
    total_steps = count_steps(args, region, train_steps)
    say(accelerator, describe(args, data, model, train_steps, total_steps, accelerator))

    optimizer = make_optimizer(args, model)
    scheduler = get_scheduler(
        args.lr_scheduler_type, optimizer, math.ceil(args.warmup_ratio * total_steps), total_steps
    )
    # The steps are shared out by MaskedSteps itself, and the schedule counts whole steps: neither is prepared.
    model, optimizer = accelerator.prepare(model, optimizer)
    if args.estimate:
        print(estimate(args, accelerator, model, optimizer, train_steps, validation_steps, total_steps))
        return True
    accelerator.register_for_checkpointing(scheduler)
    if checkpoint:
        load_checkpoint(accelerator, checkpoint, work_dir / "best")

    loop = TrainingLoop(
        args, accelerator, model, optimizer, scheduler, train_steps, validation_steps, total_steps, progress, work_dir
    )
    if not loop.run():
        say(accelerator, f"stopped after step {progress['step']:,}: go on with the same command and --resume")
        return False
    if accelerator.is_main_process:
        with as_write_error(output_dir):
            finish(args, region, data, tokenizer, progress, accelerator, work_dir, output_dir)
    return True


def is_for_training(hashes: np.ndarray | int, args: PretrainArguments) -> np.ndarray | bool:
    """Whether a text of the training files is on the training side."""
    validation_fraction = 0.0 if args.validation_file else args.validation_fraction
    return ~(is_validation(hashes, validation_fraction) | is_test(hashes, args.test_fraction))


def make_tokenizer(
    args: PretrainArguments, corpus: Corpus, work_dir: Path, accelerator: Accelerator
) -> TokenizersBackend:
    """The tokenizer named, else that of `--init_from`, else one learnt from the training texts."""
    with as_input_error(ValueError, OSError):
        if args.init_from:
            tokenizer = load_tokenizer(args.init_from)
            if args.tokenizer and load_tokenizer(args.tokenizer).get_vocab() != tokenizer.get_vocab():
                raise InputError(
                    f"the tokenizer {args.tokenizer} does not fit the model {args.init_from}: their vocabularies "
                    "differ; leave out --tokenizer to use the model's own"
                )
            return tokenizer
        if args.tokenizer:
            return load_tokenizer(args.tokenizer)
    learnt = work_dir / "tokenizer"
    if accelerator.is_main_process and not learnt.is_dir():
        training_side = (text for text in corpus if is_for_training(np.int64(text_hash(text)), args))
        bar = tqdm(training_side, desc="learning the vocabulary", unit=" texts", unit_scale=True)
        with as_input_error(ValueError, OSError), written_whole(learnt) as folder:
            build_tokenizer(train_vocabulary(bar, args.vocab_size, args.min_frequency)).save_pretrained(folder)
    accelerator.wait_for_everyone()
    return load_tokenizer(learnt)


def load_on_each_machine(
    args: PretrainArguments, corpus: Corpus, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> tuple[Dataset, ReadingReport]:
    with accelerator.local_main_process_first(), as_input_error(OSError):  # every machine has a cache of its own
        return load_tokens(corpus, tokenizer, args.max_length, args.cache_dir)


def open_streamed_data(
    args: PretrainArguments,
    stream: ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
    """Only the texts to validate on are read and tokenised; the split is the one of `load_data`."""
    if validation_corpus is None:
        validation_corpus = HeldOutTexts.of(stream, args.validation_fraction, args.max_validation_texts)
    tokens, _ = load_on_each_machine(args, validation_corpus, tokenizer, accelerator)
    return Data(
        corpus=stream.corpus,
        report=stream.report,
        fingerprint=stream.fingerprint,
        train_tokens=None,
        train_texts=stream,
        validation_tokens=tokens,
        validation_texts=smallest_hashes(tokens, np.arange(len(tokens)), args.max_validation_texts),
        kept_for_testing=None,
    )


def load_data(
    args: PretrainArguments,
    corpus: Corpus,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
    """Tokenise, and split by the hash of each text: a text and its duplicates are on one side, for good."""
    tokens, report = load_on_each_machine(args, corpus, tokenizer, accelerator)
    hashes = column(tokens, "text_hash")
    for_training = is_for_training(hashes, args)
    if validation_corpus is None:
        validation_tokens, validation_texts = tokens, np.flatnonzero(is_validation(hashes, args.validation_fraction))
    else:
        validation_tokens, _ = load_on_each_machine(args, validation_corpus, tokenizer, accelerator)
        validation_texts = np.arange(len(validation_tokens))
        for_training &= ~np.isin(hashes, column(validation_tokens, "text_hash"))
    data = Data(
        corpus=corpus,
        report=report,
        fingerprint=corpus.fingerprint,
        train_tokens=tokens,
        train_texts=np.flatnonzero(for_training),
        validation_tokens=validation_tokens,
        validation_texts=smallest_hashes(validation_tokens, validation_texts, args.max_validation_texts),
        kept_for_testing=int(is_test(hashes, args.test_fraction).sum()),
    )
    for side, texts in (("training", data.train_texts), ("validation", data.validation_texts)):
        if not len(texts):
            raise InputError(
                f"{', '.join(corpus.names())}: none of the {report.texts} texts is left for {side}: "
                "give more texts, or other ones with --validation_file"
            )
    return data


def smallest_hashes(tokens: Dataset, texts: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the texts, chosen by their hashes: from every file alike, and the same ones in any order."""
    hashes = column(tokens, "text_hash")[texts]
    return np.sort(texts[np.argsort(hashes, kind="stable")[:most]])


def column(tokens: Dataset, name: str) -> np.ndarray:
    return tokens.data.column(name).to_numpy()


def make_model(args: PretrainArguments, region: Region, tokenizer: TokenizersBackend) -> BilmaForMaskedLM:
    """A new model of the tokenizer's size, or the one to continue from; it computes logits where there are labels."""
    sizes = read_overrides(args.config_overrides)
    told = {"region": region.code, "sparse_prediction": True}
    if args.init_from and sizes:
        raise InputError("--config_overrides is for a new model: leave it out with --init_from")
    with as_input_error(ValueError, OSError, StrictDataclassError):
        if args.init_from:
            model = open_whole(BilmaForMaskedLM, args.init_from, **told)
        else:
            behaviour = {"tie_word_embeddings": args.tie_word_embeddings, "attend_to_padding": args.attend_to_padding}
            model = BilmaForMaskedLM(BilmaConfig(vocab_size=len(tokenizer), **behaviour, **sizes, **told))
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {model.config.vocab_size}: "
            "they do not fit; use the tokenizer the model was trained with"
        )
    positions = model.config.max_position_embeddings
    if args.max_length > positions:
        raise InputError(f"--max_length {args.max_length} is more than the {positions} positions of the model")
    return model


def read_overrides(text: str) -> dict[str, Any]:
    known = {
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "head_dim",
        "intermediate_size",
        "hidden_act",
        "hidden_dropout_prob",
        "max_position_embeddings",
        "layer_norm_eps",
        "initializer_range",
    }
    overrides = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or name not in known:
            raise InputError(f"--config_overrides {pair!r}: not name=value, with a name of {', '.join(sorted(known))}")
        overrides[name] = plain_value(value)
    return overrides


def plain_value(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def make_steps(
    args: PretrainArguments,
    data: Data,
    tokenizer: TokenizersBackend,
    config: BilmaConfig,
    accelerator: Accelerator,
) -> tuple[MaskedSteps | StreamedSteps, MaskedSteps]:
    shared = {
        "tokenizer": tokenizer,
        "texts_per_step": args.texts_per_step,
        "tokens_per_micro_batch": args.tokens_per_micro_batch,
        "mlm_probability": args.mlm_probability,
        "packed": not config.attend_to_padding,
        "process": accelerator.process_index,
        "num_processes": accelerator.num_processes,
    }
    validation_hashes = column(data.validation_tokens, "text_hash")
    if isinstance(data.train_texts, ParquetStream):
        train_steps = StreamedSteps(
            data.train_texts,
            is_for_training=lambda hashes: is_for_training(hashes, args) & ~np.isin(hashes, validation_hashes),
            max_length=args.max_length,
            lanes=args.streaming_lanes,
            seed=args.seed,
            **shared,
        )
    else:
        train_steps = MaskedSteps(data.train_tokens, data.train_texts, seed=args.seed, **shared)
    # The same texts and masks at every evaluation, for every seed and masking rate of training.
    shared["mlm_probability"] = VALIDATION_MLM_PROBABILITY
    validation_steps = MaskedSteps(data.validation_tokens, data.validation_texts, seed=0, shuffle=False, **shared)
    if not any(validation_steps[step].scored_tokens for step in range(validation_steps.steps_per_epoch)):
        raise InputError("no token of the validation texts is masked: give more texts to validate on")
    return train_steps, validation_steps


def count_steps(args: PretrainArguments, region: Region, steps: MaskedSteps | StreamedSteps) -> int:
    if args.max_steps is not None:
        return args.max_steps
    return math.ceil((args.num_train_epochs or region.published_epochs) * steps.steps_per_epoch)


def run_identity(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
) -> dict[str, Any]:
    """What has to be the same for a run to go on: the flags that change what comes out, the texts, the vocabulary."""
    digests = [
        [[name, hashlib.sha256(content).hexdigest()] for name, content in (side or source).sources]
        for side in (source, validation_corpus)
    ]
    return {name: value for name, value in public_arguments(args).items() if name not in OPERATIONAL} | {
        **dict(zip(TEXTS, digests, strict=True)),
        "vocabulary": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
    }


def describe(
    args: PretrainArguments,
    data: Data,
    model: BilmaForMaskedLM,
    steps: MaskedSteps | StreamedSteps,
    total_steps: int,
    accelerator: Accelerator,
) -> str:
    report = data.report
    names = data.corpus.names()
    if isinstance(report, StreamReport):
        texts = (
            f"{names[0]}{' and others' * (len(names) > 1)}: {report.texts:,} texts in {report.row_groups:,} row "
            f"groups of {report.shards:,} Parquet files, {len(data.validation_texts):,} of them to validate on"
        )
    else:
        texts = (
            f"{', '.join(names)}: {len(data.train_texts):,} texts to train on, {len(data.validation_texts):,} to "
            f"validate on, {data.kept_for_testing:,} kept for testing; "
            f"skipped {report.empty} empty and {report.invalid} not UTF-8"
        )
    return (
        f"{texts}\n"
        f"{model.num_parameters():,} parameters, {model.config.vocab_size:,} tokens, {total_steps:,} steps of "
        f"{args.texts_per_step} texts ({total_steps / steps.steps_per_epoch:.1f} epochs), "
        f"precision {accelerator.mixed_precision}, {accelerator.num_processes} process(es) on {accelerator.device}"
    )


def finish(
    args: PretrainArguments,
    region: Region,
    data: Data,
    tokenizer: TokenizersBackend,
    progress: dict[str, Any],
    accelerator: Accelerator,
    work_dir: Path,
    output_dir: Path,
) -> None:
    """Make the output folder of the best model, and remove what was only needed to get there."""
    best = work_dir / "best"
    tokenizer.save_pretrained(best)
    metrics = {
        "schema_version": METRICS_SCHEMA,
        "region": region.code,
        "validation": progress["best"] | {"texts": len(data.validation_texts)},
        "training": {
            "steps": progress["step"],
            "texts": len(data.train_texts),
            "texts_kept_for_testing": data.kept_for_testing,
            "texts_seen": progress["texts"],
            "tokens_seen": progress["tokens"],
            "bad_batches": progress["bad_batches"],
            "seconds": round(progress["seconds"], 1),
        },
        "corpus": {
            "names": data.corpus.names(),
            "fingerprint": data.fingerprint,
            **dataclasses.asdict(data.report),
        },
        "machine": machine(accelerator.device)
        | {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision},
        "versions": versions(),
        "commit": commit(),
        "history": progress["history"],
    }
    (best / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    (best / "training_args.json").write_text(json.dumps(public_arguments(args), indent=1, ensure_ascii=False) + "\n")
    draw_loss_curve(metrics, best / "loss_curve.png")
    put_in_place(best, output_dir)
    scores = metrics["validation"]
    print(
        f"{output_dir}: masked accuracy {scores['masked_accuracy']:.4f}, perplexity {scores['perplexity']:.2f} on "
        f"{scores['scored_tokens']:,} masked tokens of {scores['texts']:,} texts, "
        f"after {progress['seconds'] / 60:.1f} minutes"
    )


if __name__ == "__main__":
    run(main)
