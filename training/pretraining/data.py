"""What a pretraining run learns from: texts tokenised or streamed, on their sides of the split, cut into steps."""

from dataclasses import dataclass

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig
from training.common.errors import InputError, as_input_error
from training.pretraining.arguments import PretrainArguments
from training.pretraining.steps import MaskedSteps
from training.pretraining.streamed_steps import StreamedSteps
from training.texts.corpus import Corpus
from training.texts.parquet_stream import HeldOutTexts, ParquetStream, StreamReport
from training.texts.regions import tokens_of_files
from training.texts.report import ReadingReport
from training.texts.splits import duplicates_of, is_test, is_training, is_validation
from training.texts.token_cache import load_tokens

VALIDATION_MLM_PROBABILITY = 0.15  # so that runs of any masking rate can be compared


@dataclass
class Data:
    """Tokenised texts and which of them are for training and for validation.

    `duplicates` counts the texts that are not trained on because the same text is held out.
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
    duplicates: int | None

    def in_words(self) -> str:
        report, names = self.report, self.corpus.names()
        if isinstance(report, StreamReport):
            return (
                f"{names[0]}{' and others' * (len(names) > 1)}: {report.texts:,} texts in {report.row_groups:,} row "
                f"groups of {report.shards:,} Parquet files, {len(self.validation_texts):,} of them to validate on"
            )
        return (
            f"{', '.join(names)}: {len(self.train_texts):,} texts to train on, {len(self.validation_texts):,} to "
            f"validate on, {self.kept_for_testing:,} kept for testing; "
            f"left out {self.duplicates:,} that others wrote too and that are held out; " + report.summary()
        )


def is_for_training(hashes: np.ndarray | int, args: PretrainArguments) -> np.ndarray | bool:
    """Whether a text of the training files is on the training side."""
    validation_fraction = 0.0 if args.validation_file else args.validation_fraction
    return is_training(hashes, validation_fraction, args.test_fraction)


def load_data(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
    """Tokenise what has to be, and split by the hash of each text or its group: they are on one side, for good, and a
    text that is held out is not trained on where another group has it too.

    Args:
        source: the texts to train on; of a stream only those to validate on are read and tokenised now.
        validation_corpus: the texts to validate on; None for a share of the others.

    Raises:
        InputError: as reading a corpus does, and if a side is left without texts.
    """
    load = load_stream if isinstance(source, ParquetStream) else load_corpus
    return load(args, source, validation_corpus, tokenizer, accelerator)


def load_stream(
    args: PretrainArguments,
    stream: ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
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
        duplicates=None,
    )


def load_corpus(
    args: PretrainArguments,
    corpus: Corpus,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
    tokens, report = load_on_each_machine(args, corpus, tokenizer, accelerator)
    hashes = split_hashes_of(tokens)
    for_training = is_for_training(hashes, args)
    held_out = hashes_of(tokens)[~for_training]
    if validation_corpus is None:
        validation_tokens, validation_texts = tokens, np.flatnonzero(is_validation(hashes, args.validation_fraction))
    else:
        validation_tokens, _ = load_on_each_machine(args, validation_corpus, tokenizer, accelerator)
        validation_texts = np.arange(len(validation_tokens))
        for_training &= ~np.isin(hashes, split_hashes_of(validation_tokens))
        held_out = np.concatenate([held_out, hashes_of(validation_tokens)])
    duplicates = duplicates_of(held_out, for_training, hashes_of(tokens))
    data = Data(
        corpus=corpus,
        report=report,
        fingerprint=corpus.fingerprint,
        train_tokens=tokens,
        train_texts=np.flatnonzero(for_training & ~duplicates),
        validation_tokens=validation_tokens,
        validation_texts=smallest_hashes(validation_tokens, validation_texts, args.max_validation_texts),
        kept_for_testing=int(is_test(hashes, args.test_fraction).sum()),
        duplicates=int(duplicates.sum()),
    )
    check_sides(data)
    return data


def check_sides(data: Data) -> None:
    for side, texts in (("training", data.train_texts), ("validation", data.validation_texts)):
        if not len(texts):
            raise InputError(
                f"{', '.join(data.corpus.names())}: none of the {data.report.texts} texts is left for {side}: "
                "give more texts, or other ones with --validation_file"
            )


def load_on_each_machine(
    args: PretrainArguments, corpus: Corpus, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> tuple[Dataset, ReadingReport]:
    first_tokens = tokens_of_files(corpus.files, tokenizer) if args.region_tokens else {}
    with accelerator.local_main_process_first(), as_input_error(OSError):  # every machine has a cache of its own
        return load_tokens(corpus, tokenizer, args.max_length, args.cache_dir, first_tokens)


def smallest_hashes(tokens: Dataset, texts: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the texts, chosen by their hashes: from every file alike, and the same ones in any order."""
    return np.sort(texts[np.argsort(hashes_of(tokens)[texts], kind="stable")[:most]])


def hashes_of(tokens: Dataset) -> np.ndarray:
    return tokens.data.column("text_hash").to_numpy()


def split_hashes_of(tokens: Dataset) -> np.ndarray:
    return tokens.data.column("split_hash").to_numpy()


def make_steps(
    args: PretrainArguments,
    data: Data,
    tokenizer: TokenizersBackend,
    config: BilmaConfig,
    accelerator: Accelerator,
) -> tuple[MaskedSteps | StreamedSteps, MaskedSteps]:
    """The steps of training, and those of an evaluation: the same texts and masks at every one, for every seed.

    Raises:
        InputError: if no token is masked in an evaluation.
    """
    shared = {
        "tokenizer": tokenizer,
        "texts_per_step": args.texts_per_step,
        "tokens_per_micro_batch": args.tokens_per_micro_batch,
        "packed": not config.attend_to_padding,
        "process": accelerator.process_index,
        "num_processes": accelerator.num_processes,
    }
    train_steps = make_train_steps(args, data, **shared)
    validation_steps = MaskedSteps(
        data.validation_tokens,
        data.validation_texts,
        mlm_probability=VALIDATION_MLM_PROBABILITY,
        seed=0,
        shuffle=False,
        **shared,
    )
    if not any(validation_steps[step].scored_tokens for step in range(validation_steps.steps_per_epoch)):
        raise InputError("no token of the validation texts is masked: give more texts to validate on")
    return train_steps, validation_steps


def make_train_steps(args: PretrainArguments, data: Data, **shared: object) -> MaskedSteps | StreamedSteps:
    drawing = {
        "mlm_probability": args.mlm_probability,
        "mask_replace_prob": args.mask_replace_prob,
        "seed": args.seed,
    }
    if not isinstance(data.train_texts, ParquetStream):
        return MaskedSteps(data.train_tokens, data.train_texts, **drawing, **shared)
    validation_hashes = hashes_of(data.validation_tokens)
    return StreamedSteps(
        data.train_texts,
        is_for_training=lambda hashes: is_for_training(hashes, args) & ~np.isin(hashes, validation_hashes),
        max_length=args.max_length,
        lanes=args.streaming_lanes,
        **drawing,
        **shared,
    )
