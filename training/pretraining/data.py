"""The texts of a pretraining run: tokenised or streamed, split into training and validation, divided into steps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from accelerate import Accelerator
from datasets import Dataset
from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig
from training.common.errors import InputError, as_input_error
from training.engine.accelerator import say
from training.pretraining.arguments import PretrainArguments
from training.pretraining.steps import MaskedSteps, Steps
from training.pretraining.streamed_steps import StreamedSteps
from training.texts.corpus import Corpus
from training.texts.parquet_stream import HeldOutTexts, ParquetStream, StreamReport
from training.texts.regions import tokens_of_files
from training.texts.report import ReadingReport
from training.texts.splits import duplicates_of, is_test, is_training, is_validation
from training.texts.token_cache import (
    TokenRows,
    count_by_region,
    count_tokens,
    hashes_of,
    load_tokens,
    split_hashes_of,
)

VALIDATION_MLM_PROBABILITY = 0.15  # independent of training, so that runs can be compared


class StepSettings(TypedDict):
    """Arguments that training and validation steps share."""

    tokenizer: TokenizersBackend
    texts_per_step: int
    tokens_per_micro_batch: int
    packed: bool
    process: int
    num_processes: int


@dataclass(kw_only=True)
class Data(ABC):
    """Texts of a run, and which of them are for training and for validation.

    Attributes:
        report: what was read and what was left out.
        validation_tokens: tokenised texts, among them those to validate on.
        validation_texts: indices of the rows of `validation_tokens` to validate on.
        test_texts: number of texts kept for testing; None if unknown before training.
        duplicates: number of training texts left out because they are also held out; None if unknown before training.
    """

    corpus: Corpus
    report: ReadingReport | StreamReport
    fingerprint: str
    validation_tokens: Dataset
    validation_texts: np.ndarray
    test_texts: int | None = None
    duplicates: int | None = None

    @abstractmethod
    def count_train_texts(self) -> int:
        """Count the texts to train on; for a stream, held-out texts are included."""

    @abstractmethod
    def describe(self) -> str:
        """Describe the data in a line."""

    @abstractmethod
    def make_train_steps(self, args: PretrainArguments, settings: StepSettings) -> Steps:
        """Make the training steps."""

    @abstractmethod
    def count_tokens(self, vocab_size: int) -> np.ndarray:
        """Count how often each token occurs in the training texts.

        Returns:
            (V,) int64.

        Raises:
            InputError: if the texts are not tokenised before training.
        """

    @abstractmethod
    def count_tokens_by_region(self, config: BilmaConfig) -> np.ndarray:
        """Count how often each token occurs in the training texts that begin with a region's token.

        Returns:
            (R, V) int64.

        Raises:
            InputError: if the texts are not tokenised before training.
        """


@dataclass(kw_only=True)
class TokenisedData(Data):
    """All texts, tokenised before training.

    Attributes:
        train_tokens: tokenised texts, among them those to train on.
        train_texts: indices of the rows of `train_tokens` to train on.
    """

    report: ReadingReport
    train_tokens: Dataset
    train_texts: np.ndarray
    test_texts: int
    duplicates: int

    def count_train_texts(self) -> int:
        return len(self.train_texts)

    def describe(self) -> str:
        return (
            f"{', '.join(self.corpus.names())}: {len(self.train_texts):,} texts to train on, "
            f"{len(self.validation_texts):,} to validate on, {self.test_texts:,} kept for testing; "
            f"left out {self.duplicates:,} that are also among the held-out texts; {self.report.summary()}"
        )

    def make_train_steps(self, args: PretrainArguments, settings: StepSettings) -> MaskedSteps:
        return MaskedSteps(
            self.train_tokens,
            self.train_texts,
            mlm_probability=args.mlm_probability,
            mask_replace_prob=args.mask_replace_prob,
            region_dropout=args.region_dropout,
            seed=args.seed,
            **settings,
        )

    def count_tokens(self, vocab_size: int) -> np.ndarray:
        return count_tokens(self.train_tokens, self.train_texts, vocab_size)

    def count_tokens_by_region(self, config: BilmaConfig) -> np.ndarray:
        rows, ids = TokenRows(self.train_tokens), config.region_token_ids
        return count_by_region(rows, self.train_texts, ids.start, len(ids), config.vocab_size)


@dataclass(kw_only=True)
class StreamedData(Data):
    """A stream of training texts; only the validation texts are tokenised before training."""

    report: StreamReport
    stream: ParquetStream

    def count_train_texts(self) -> int:
        return len(self.stream)

    def describe(self) -> str:
        names = self.corpus.names()
        return (
            f"{names[0]}{' and others' * (len(names) > 1)}: {self.report.texts:,} rows in "
            f"{self.report.row_groups:,} row groups of {self.report.shards:,} Parquet files, "
            f"{len(self.validation_texts):,} of them to validate on"
        )

    def describe_left_out(self, processes: int) -> str:
        """Say what reading left out so far: the files are read while the model is trained."""
        by = f", by the first of {processes} processes" if processes > 1 else ""
        return f"rows read to train on since the last start, in every epoch anew{by}: {self.corpus.report.summary()}"

    def make_train_steps(self, args: PretrainArguments, settings: StepSettings) -> StreamedSteps:
        validation_hashes = hashes_of(self.validation_tokens)
        return StreamedSteps(
            self.stream,
            is_for_training=lambda hashes: is_for_training(hashes, args) & ~np.isin(hashes, validation_hashes),
            max_length=args.max_length,
            lanes=args.streaming_lanes,
            mlm_probability=args.mlm_probability,
            mask_replace_prob=args.mask_replace_prob,
            seed=args.seed,
            **settings,
        )

    def count_tokens(self, vocab_size: int) -> np.ndarray:
        raise InputError("tokens of a stream are not counted before training: omit --streaming")

    def count_tokens_by_region(self, config: BilmaConfig) -> np.ndarray:
        return self.count_tokens(config.vocab_size)


def is_for_training(hashes: np.ndarray, args: PretrainArguments) -> Any:
    """Whether texts of the training files are for training, by the hashes that decide the split."""
    validation_fraction = 0.0 if args.validation_file else args.validation_fraction
    return is_training(hashes, validation_fraction, args.test_fraction)


def load_data(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> Data:
    """Tokenise the texts and split them by the hash of each text or its group, so that no text ever changes sides.

    Args:
        source: the texts to train on; of a stream, only the validation texts are tokenised now.
        validation_corpus: the texts to validate on; None for a share of the training texts.

    Raises:
        InputError: if a file cannot be read, or no text is left to train or to validate on.
    """
    if isinstance(source, ParquetStream):
        return load_stream(args, source, validation_corpus, tokenizer, accelerator)
    return load_corpus(args, source, validation_corpus, tokenizer, accelerator)


def load_stream(
    args: PretrainArguments,
    stream: ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> StreamedData:
    """Tokenise the validation texts of a stream. Arguments and errors are those of `load_data`."""
    if validation_corpus is None:
        held_out = HeldOutTexts.of(stream, args.validation_fraction, args.max_validation_texts)
        tokens, _ = load_on_each_machine(args, held_out, tokenizer, accelerator)
    else:
        tokens = load_validation(args, validation_corpus, tokenizer, accelerator)
    stream.corpus.report.forget_left_out()  # what is counted from here on is for training
    return StreamedData(
        corpus=stream.corpus,
        report=stream.report,
        fingerprint=stream.fingerprint,
        validation_tokens=tokens,
        validation_texts=smallest_hashes(tokens, np.arange(len(tokens)), args.max_validation_texts),
        stream=stream,
    )


def load_corpus(
    args: PretrainArguments,
    corpus: Corpus,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
    accelerator: Accelerator,
) -> TokenisedData:
    """Tokenise and split all texts, leaving out training texts that also occur among the held-out ones.

    Arguments and errors are those of `load_data`.
    """
    tokens, report = load_on_each_machine(args, corpus, tokenizer, accelerator)
    hashes = split_hashes_of(tokens)
    for_training = is_for_training(hashes, args)
    held_out = hashes_of(tokens)[~for_training]
    if validation_corpus is None:
        validation_tokens, validation_texts = tokens, np.flatnonzero(is_validation(hashes, args.validation_fraction))
    else:
        validation_tokens = load_validation(args, validation_corpus, tokenizer, accelerator)
        validation_texts = np.arange(len(validation_tokens))
        for_training &= ~np.isin(hashes, split_hashes_of(validation_tokens))
        held_out = np.concatenate([held_out, hashes_of(validation_tokens)])
    duplicates = duplicates_of(held_out, for_training, hashes_of(tokens))
    data = TokenisedData(
        corpus=corpus,
        report=report,
        fingerprint=corpus.fingerprint,
        train_tokens=tokens,
        train_texts=np.flatnonzero(for_training & ~duplicates),
        validation_tokens=validation_tokens,
        validation_texts=smallest_hashes(validation_tokens, validation_texts, args.max_validation_texts),
        test_texts=int(np.sum(is_test(hashes, args.test_fraction))),
        duplicates=int(duplicates.sum()),
    )
    check_sides(data)
    return data


def check_sides(data: TokenisedData) -> None:
    """Check that both sides of the split have texts.

    Raises:
        InputError: if none is left to train or to validate on.
    """
    for side, texts in (("training", data.train_texts), ("validation", data.validation_texts)):
        if not len(texts):
            found = f"{', '.join(data.corpus.names())}: none of the {data.report.texts} texts is left for {side}"
            raise InputError(f"{found}: give more texts, or other ones with --validation_file")


def load_validation(
    args: PretrainArguments, corpus: Corpus, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> Dataset:
    """Tokenise the texts of `--validation_file`, and say what was left out.

    Raises:
        InputError: as `load_on_each_machine` does.
    """
    tokens, report = load_on_each_machine(args, corpus, tokenizer, accelerator)
    say(accelerator, f"{', '.join(corpus.names())}: {report.texts:,} texts for validation; {report.summary()}")
    return tokens


def load_on_each_machine(
    args: PretrainArguments, corpus: Corpus, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> tuple[Dataset, ReadingReport]:
    """Tokenise a corpus, or open its token cache; every machine has a cache of its own.

    Raises:
        InputError: if the corpus cannot be read or the cache cannot be written.
    """
    first_tokens = tokens_of_files(corpus.files, tokenizer) if args.region_tokens else {}
    if plain := [file.name for file, token in first_tokens.items() if token is None]:
        message = f"{len(plain)} files without a region of the model, which get no region token: {', '.join(plain)}"
        say(accelerator, message)
    with accelerator.local_main_process_first(), as_input_error(OSError):
        return load_tokens(corpus, tokenizer, args.max_length, args.cache_dir, first_tokens)


def smallest_hashes(tokens: Dataset, texts: np.ndarray, most: int) -> np.ndarray:
    """Choose at most `most` texts by their hashes: evenly from all files, and independently of their order."""
    return np.sort(texts[np.argsort(hashes_of(tokens)[texts], kind="stable")[:most]])


def make_steps(
    args: PretrainArguments, data: Data, tokenizer: TokenizersBackend, config: BilmaConfig, accelerator: Accelerator
) -> tuple[Steps, MaskedSteps]:
    """Make the training and validation steps; the validation texts and masks do not depend on the seed.

    Raises:
        InputError: if no validation token is masked.
    """
    settings: StepSettings = {
        "tokenizer": tokenizer,
        "texts_per_step": args.texts_per_step,
        "tokens_per_micro_batch": args.tokens_per_micro_batch,
        "packed": not config.attend_to_padding,
        "process": accelerator.process_index,
        "num_processes": accelerator.num_processes,
    }
    validation_steps = MaskedSteps(
        data.validation_tokens,
        data.validation_texts,
        mlm_probability=VALIDATION_MLM_PROBABILITY,
        seed=0,
        shuffle=False,
        **settings,
    )
    if not any(validation_steps[step].scored_tokens for step in range(validation_steps.steps_per_epoch)):
        raise InputError("no token of the validation texts is masked: give more texts to validate on")
    return data.make_train_steps(args, settings), validation_steps
