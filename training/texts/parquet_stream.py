"""Texts of Parquet files, read and tokenised while a run goes on: for corpora too large to be tokenised beforehand.

The metadata of Parquet files says how many rows each row group has, so which rows a step holds is arithmetic, and
nothing has to be remembered to resume. The row groups of all files are put in one order by (seed, epoch), gathered
into windows of `WINDOW_ROWS` rows or a little more, and the rows of each window are put in an order of their own. That
sequence is cut into lanes of equal length, and a step takes its share of every lane. The lanes are the same for any
number of processes; a process reads only those that are its own, so a machine reads its part of the corpus.

In memory are, for each lane that a process reads, the texts of one window: `WINDOW_ROWS` rows and at most one row
group more. No shuffle buffer has to be filled again, and none loses rows when a run is resumed.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import IO

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from datasets import load_dataset_builder
from huggingface_hub.errors import HfHubHTTPError
from transformers import TokenizersBackend

from training.common.errors import InputError, as_input_error
from training.pretraining.steps import (
    IGNORED,
    StepBatch,
    cut_into_micro_batches,
    lay_out,
    make_collator,
    pack,
    step_seed,
)
from training.texts.corpus import Corpus, encode, text_hash, text_hashes
from training.texts.files import decoded, strings_as_bytes
from training.texts.splits import is_validation

WINDOW_ROWS = 2**16
Order = tuple[int, int]  # the seed and the epoch that a sequence of all rows depends on
FOOTER_END = 8  # bytes: the length of the footer, and "PAR1"


@dataclass(frozen=True)
class Shard:
    """A Parquet file: where it is, what it is called in a report, the rows of its row groups, and a fingerprint."""

    url: str
    name: str
    rows: tuple[int, ...]
    fingerprint: str


@dataclass(frozen=True)
class StreamReport:
    """What is known of a corpus that was never read as a whole."""

    texts: int
    row_groups: int
    shards: int


@dataclass(frozen=True)
class Window:
    """Row groups whose rows are shuffled together; `first` is the place of the first of them in the epoch."""

    number: int
    first: int
    row_groups: tuple[tuple[Shard, int], ...]


def find_shards(corpus: Corpus) -> list[str]:
    """Paths, or addresses on the Hub, of the Parquet files of a corpus.

    Raises:
        InputError: if the dataset cannot be found, or one of its files is not Parquet.
    """
    if corpus.dataset_name:
        with as_input_error(ValueError, OSError, HfHubHTTPError):
            builder = load_dataset_builder(
                corpus.dataset_name, corpus.dataset_config_name, revision=corpus.dataset_revision
            )
            urls = list((builder.config.data_files or {}).get(corpus.split, []))
    else:
        urls = list(map(str, corpus.files))
    for url in urls:
        if not url.endswith(".parquet"):
            raise InputError(f"{url}: --streaming reads Parquet files only: convert it, or leave out --streaming")
    if not urls:
        raise InputError(f"dataset {corpus.dataset_name}: no Parquet files in its split {corpus.split!r}")
    return urls


def open_shards(corpus: Corpus) -> list[Shard]:
    """The files in the order of their names, their footers read and nothing else."""
    urls = find_shards(corpus)
    folder = os.path.commonpath([os.path.dirname(url) for url in urls]) or os.curdir
    with ThreadPoolExecutor() as pool:
        shards = list(pool.map(lambda url: open_shard(url, os.path.relpath(url, folder), corpus), urls))
    return sorted(shards, key=lambda shard: shard.name)


def open_shard(url: str, name: str, corpus: Corpus) -> Shard:
    with opened(url) as file:
        metadata = pq.read_metadata(file)
        corpus.check_columns(metadata.schema.to_arrow_schema().names, url)
        size = file.seek(0, os.SEEK_END)
        file.seek(-FOOTER_END - metadata.serialized_size, os.SEEK_END)
        return Shard(
            url=url,
            name=name,
            rows=tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)),
            fingerprint=hashlib.sha256(repr(size).encode() + file.read()).hexdigest(),
        )


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """A Parquet file of any file system that fsspec knows.

    Raises:
        InputError: if it is missing or damaged.
    """
    try:
        with fsspec.open(url, "rb") as file:
            yield file
    except (OSError, pa.ArrowInvalid, HfHubHTTPError) as error:
        raise InputError(f"{url}: not a readable Parquet file ({str(error).splitlines()[0]})") from error


def read_row_group(shard: Shard, number: int, corpus: Corpus) -> pa.LargeBinaryArray:
    """The texts of a row group, not yet decoded."""
    with opened(shard.url) as file:
        table = pq.ParquetFile(file)
        rows = table.metadata.row_group(number).num_rows if number < table.num_row_groups else 0
        if rows != shard.rows[number]:
            raise InputError(f"{shard.url}: changed during the run: begin anew with --overwrite")
        column = table.read_row_group(number, columns=[corpus.text_column]).column(0)
    where = f"{shard.url}: column {corpus.text_column!r}"
    return pa.concat_arrays([strings_as_bytes(chunk, where) for chunk in column.chunks])


class ParquetStream:
    """The rows of the Parquet files of a corpus, in a seeded order for each epoch.

    Raises:
        InputError: for a file that is no Parquet or cannot be read, without the text column, or without rows.
    """

    def __init__(self, corpus: Corpus):
        self.corpus = corpus
        self.shards = open_shards(corpus)
        self.row_groups = [(shard, number) for shard in self.shards for number, rows in enumerate(shard.rows) if rows]
        self.report = StreamReport(
            texts=sum(sum(shard.rows) for shard in self.shards),
            row_groups=len(self.row_groups),
            shards=len(self.shards),
        )
        if not len(self):
            raise InputError(f"{', '.join(corpus.names())}: no row in these Parquet files")
        self._windows: tuple[Order, list[Window]] | None = None  # of the current epoch

    def __len__(self) -> int:
        return self.report.texts

    @property
    def sources(self) -> list[tuple[str, bytes]]:
        """Every file's name and a value that changes with its size or anything its footer says of its contents."""
        return [(shard.name, shard.fingerprint.encode()) for shard in self.shards]

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.corpus.text_column, self.sources)).encode()).hexdigest()

    def windows(self, order: Order) -> list[Window]:
        """All rows, in the order of an epoch."""
        if self._windows is None or self._windows[0] != order:
            self._windows = (order, self._gather(np.random.default_rng(order).permutation(len(self.row_groups))))
        return self._windows[1]

    def _gather(self, numbers: np.ndarray) -> list[Window]:
        windows, first, gathered, rows = [], 0, [], 0
        for place, number in enumerate(numbers, start=1):
            shard, row_group = self.row_groups[number]
            gathered.append((shard, row_group))
            rows += shard.rows[row_group]
            if rows >= WINDOW_ROWS or place == len(numbers):
                windows.append(Window(len(windows), first, tuple(gathered)))
                first, gathered, rows = first + rows, [], 0
        return windows

    def read(self, order: Order, window: Window) -> pa.LargeBinaryArray:
        """The texts of a window in the order of an epoch, not yet decoded.

        Raises:
            InputError: for a file that changed since the stream was opened, or cannot be read.
        """
        texts = pa.concat_arrays([read_row_group(*row_group, self.corpus) for row_group in window.row_groups])
        return texts.take(pa.array(np.random.default_rng((*order, window.number)).permutation(len(texts))))


class Lane:
    """One of the parts of an epoch that are read side by side; it keeps the window it stands in."""

    def __init__(self, stream: ParquetStream):
        self.stream = stream
        self.kept: tuple[tuple[Order, int], pa.LargeBinaryArray] | None = None

    def texts(self, order: Order, first: int, end: int) -> Iterator[str]:
        """The usable ones of the rows `first` to `end` (excluded) of an epoch."""
        windows = self.stream.windows(order)
        number = bisect_right(windows, first, key=lambda window: window.first) - 1
        while first < end:
            rows = self._window(order, windows[number])
            begin = first - windows[number].first
            part = rows.slice(begin, end - first)
            usable = self.stream.corpus.usable(zip(decoded(part)), ", ".join(self.stream.corpus.names()))
            yield from (text for (text,) in usable)
            first, number = first + len(part), number + 1

    def _window(self, order: Order, window: Window) -> pa.LargeBinaryArray:
        place = (order, window.number)
        if self.kept is None or self.kept[0] != place:
            self.kept = None  # let go of one before the next is read
            self.kept = (place, self.stream.read(order, window))
        return self.kept[1]


class StreamedSteps:
    """What `training.pretraining.steps.MaskedSteps` is for tokenised texts: `steps[number]` is the batch of that step.

    Rows whose texts are held out, empty or not Unicode are read like all others and then left out, so a step may be
    a little smaller than `texts_per_step`. Masks are a function of (seed, step, lane), the same for any number of
    processes. Where there are more processes than lanes, some of them share a lane and tokenise its texts each.

    Args:
        is_for_training: from the hashes of texts, which of them may be trained on.
        lanes: how many places of the corpus a step is read from.
    """

    def __init__(
        self,
        stream: ParquetStream,
        is_for_training: Callable[[np.ndarray], np.ndarray],
        tokenizer: TokenizersBackend,
        texts_per_step: int,
        tokens_per_micro_batch: int,
        max_length: int,
        lanes: int,
        mlm_probability: float = 0.15,
        mask_replace_prob: float = 0.8,
        packed: bool = True,
        seed: int = 0,
        process: int = 0,
        num_processes: int = 1,
    ):
        self.stream = stream
        self.is_for_training = is_for_training
        self.tokenizer = tokenizer
        self.tokens_per_micro_batch = tokens_per_micro_batch
        self.max_length = max_length
        self.packed = packed
        self.seed = seed
        self.collator = make_collator(tokenizer, mlm_probability, mask_replace_prob)
        self.special_ids = np.array(tokenizer.all_special_ids)
        self.steps_per_epoch = -(-len(stream) // texts_per_step)
        self.bounds = [lane * len(stream) // lanes for lane in range(lanes + 1)]
        self.process = process
        self.readers = [readers(lane, lanes, num_processes) for lane in range(lanes)]
        self.own_lanes = {lane: Lane(stream) for lane in range(lanes) if process in self.readers[lane]}

    def __getitem__(self, step: int) -> StepBatch:
        ids, labels = [], []
        for lane in self.own_lanes:
            share = self.readers[lane]
            masked = self._mask(self._ids(step, lane), step_seed(self.seed, step, lane))
            for text_ids, text_labels in masked[share.index(self.process) :: len(share)]:
                ids.append(text_ids)
                labels.append(text_labels)
        counts = {
            "scored_tokens": int(sum((text != IGNORED).sum() for text in labels)),
            "texts": len(ids),
            "tokens": sum(map(len, ids)),
        }
        if not ids:  # this process still takes part in the step, with nothing scored
            ids = [np.array([self.tokenizer.cls_token_id, self.tokenizer.sep_token_id])]
            labels = [np.full(2, IGNORED)]
        batch = cut_into_micro_batches(self._rows(ids, labels), self.tokens_per_micro_batch)
        return StepBatch(batch, **counts, counts_whole_step=False)

    def _ids(self, step: int, lane: int) -> list[np.ndarray]:
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        begin, rows = self.bounds[lane], self.bounds[lane + 1] - self.bounds[lane]
        first, end = (begin + number * rows // self.steps_per_epoch for number in (step_in_epoch, step_in_epoch + 1))
        texts = list(self.own_lanes[lane].texts((self.seed, epoch), first, end))
        texts = [texts[number] for number in np.flatnonzero(self.is_for_training(text_hashes(texts)))]
        return [np.array(ids) for ids in encode(texts, self.tokenizer, self.max_length) if len(ids) > 2]

    def _mask(self, ids: list[np.ndarray], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Masked ids and labels of each text; as one row, so that they do not depend on how texts are packed later."""
        if not ids:
            return []
        together = np.concatenate(ids)
        self.collator.generator = torch.Generator().manual_seed(seed)
        special = torch.from_numpy(np.isin(together, self.special_ids))
        masked = self.collator.torch_mask_tokens(torch.from_numpy(together), special_tokens_mask=special)
        ends = np.cumsum([len(text) for text in ids])[:-1]
        return list(zip(*(np.split(values.numpy(), ends) for values in masked), strict=True))

    def _rows(self, ids: list[np.ndarray], labels: list[np.ndarray]) -> dict[str, torch.Tensor]:
        lengths = [len(text) for text in ids]
        width = max(lengths)
        rows = pack(lengths, width) if self.packed else [[text] for text in range(len(ids))]
        batch = {
            "input_ids": lay_out(ids, rows, np.full(width, self.tokenizer.pad_token_id)),
            "labels": lay_out(labels, rows, np.full(width, IGNORED)),
        }
        if self.packed:
            batch["position_ids"] = lay_out([np.arange(length) for length in lengths], rows, np.arange(width))
        else:
            batch["attention_mask"] = lay_out([np.ones_like(text) for text in ids], rows, np.zeros(width, np.int64))
        return {name: torch.from_numpy(values) for name, values in batch.items()}


def readers(lane: int, lanes: int, num_processes: int) -> list[int]:
    """The processes that read a lane: one, or several where there are more processes than lanes. Neighbours stand on
    one machine, so machines share no lane as far as the numbers allow it."""
    if num_processes <= lanes:
        return [lane * num_processes // lanes]
    return [process for process in range(num_processes) if process * lanes // num_processes == lane]


def count_together(accelerator: Accelerator, batch: StepBatch) -> StepBatch:
    """The batch with the counts of the whole step, and as many micro-batches as any other process has of it."""
    own = [batch.scored_tokens, batch.texts, batch.tokens, len(batch.micro_batches)]
    counts = accelerator.gather(torch.tensor([own], device=accelerator.device)).cpu()
    scored_tokens, texts, tokens, _ = counts.sum(0).tolist()
    missing = int(counts[:, 3].max()) - len(batch.micro_batches)
    if missing:
        empty = {name: rows[:1].clone() for name, rows in batch.micro_batches[0].items()}
        empty["labels"].fill_(IGNORED)
    micro_batches = batch.micro_batches + [empty] * missing if missing else batch.micro_batches
    return StepBatch(micro_batches, scored_tokens, texts, tokens)


@dataclass
class HeldOutTexts(Corpus):
    """Validation texts of a stream, the first in a fixed order: a corpus of at most `most` texts for `load_tokens`.

    Only as much of the stream is read as they need; the others stay out of training all the same.
    """

    stream: ParquetStream | None = None
    validation_fraction: float = 0.0
    most: int = 0

    @classmethod
    def of(cls, stream: ParquetStream, validation_fraction: float, most: int) -> "HeldOutTexts":
        known = {
            name: getattr(stream.corpus, name)
            for name in ("files", "dataset_name", "dataset_config_name", "dataset_revision", "text_column", "strict")
        }
        return cls(**known, stream=stream, validation_fraction=validation_fraction, most=most)

    def __iter__(self) -> Iterator[str]:
        texts = Lane(self.stream).texts((0, 0), 0, len(self.stream))
        held_out = (text for text in texts if is_validation(text_hash(text), self.validation_fraction))
        return islice(held_out, self.most)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(
            repr((self.stream.fingerprint, self.validation_fraction, self.most)).encode()
        ).hexdigest()
