"""Texts of Parquet files, read during training: for corpora too large to be tokenised beforehand.

The metadata of Parquet files says how many rows each row group has, so the rows of a step follow from its number, and
a run can be resumed without any state. The row groups of all files are shuffled by (seed, epoch) and gathered into
windows of at least `WINDOW_ROWS` rows; the rows of each window are shuffled too. That sequence is cut into lanes of
equal length, and a step takes its share of every lane. The lanes are the same for any number of processes; each
process reads only its own lanes, so a machine reads its part of the corpus.

For each of its lanes a process keeps the texts of one window in memory: `WINDOW_ROWS` rows and at most one row group
more. There is no shuffle buffer to fill again when a run is resumed, and none that loses rows.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from typing import IO

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset_builder
from huggingface_hub.errors import HfHubHTTPError

from training.common.errors import InputError, as_input_error
from training.texts.corpus import Corpus
from training.texts.decoding import FIRST_CHECK, DecodingCheck, unicode_error
from training.texts.splits import is_validation, text_hash
from training.texts.tables import PARQUET_ERRORS, check_unpacked, decoded, first_line, strings_as_bytes

WINDOW_ROWS = 2**16
Order = tuple[int, int]  # the seed and the epoch that decide the sequence of all rows
FOOTER_END = 8  # bytes: the length of the footer, and "PAR1"


@dataclass(frozen=True)
class Shard:
    """A Parquet file: its address, its name for reports, the rows of its row groups, and a fingerprint."""

    url: str
    name: str
    rows: tuple[int, ...]
    fingerprint: str


@dataclass(frozen=True)
class StreamReport:
    """Sizes of a corpus that is never read as a whole."""

    texts: int
    row_groups: int
    shards: int


@dataclass(frozen=True)
class Window:
    """Row groups whose rows are shuffled together; `first` is the position of the first row in the epoch."""

    number: int
    first: int
    row_groups: tuple[tuple[Shard, int], ...]


def find_shards(corpus: Corpus) -> list[str]:
    """Return the paths, or addresses on the Hub, of the Parquet files of a corpus.

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
        if not url.lower().endswith(".parquet"):
            raise InputError(f"{url}: --streaming reads Parquet files only: convert it, or leave out --streaming")
    if not urls:
        raise InputError(f"dataset {corpus.dataset_name}: no Parquet files in its split {corpus.split!r}")
    return urls


def open_shards(corpus: Corpus) -> list[Shard]:
    """Read the footers of a corpus's files, and return the files in the order of their names.

    Raises:
        InputError: as `find_shards` and `open_shard` do.
    """
    urls = find_shards(corpus)
    folder = os.path.commonpath([os.path.dirname(url) for url in urls]) or os.curdir
    with ThreadPoolExecutor() as pool:
        shards = list(pool.map(lambda url: open_shard(url, os.path.relpath(url, folder), corpus), urls))
    return sorted(shards, key=lambda shard: shard.name)


def open_shard(url: str, name: str, corpus: Corpus) -> Shard:
    """Read the footer of a file.

    Raises:
        InputError: if it is missing, damaged, or lacks a column.
    """
    with opened(url) as file:
        metadata = pq.read_metadata(file)
        corpus.columns.check(metadata.schema.to_arrow_schema().names, url)
        rows = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
        if min(rows, default=0) < 0:
            raise InputError(f"{url}: damaged: a row group has {min(rows)} rows")
        size = file.seek(0, os.SEEK_END)
        file.seek(-FOOTER_END - metadata.serialized_size, os.SEEK_END)
        return Shard(
            url=url,
            name=name,
            rows=rows,
            fingerprint=hashlib.sha256(repr(size).encode() + file.read()).hexdigest(),
        )


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """Open a Parquet file of any file system that fsspec knows.

    Raises:
        InputError: if it is missing or damaged.
    """
    try:
        with fsspec.open(url, "rb") as file:
            yield file
    except (*PARQUET_ERRORS, HfHubHTTPError) as error:
        raise InputError(f"{url}: not a readable Parquet file ({first_line(error)})") from error


def read_row_group(shard: Shard, number: int, corpus: Corpus) -> pa.LargeBinaryArray:
    """Return the texts of a row group, not yet decoded.

    Raises:
        InputError: if the file changed, is damaged, or its text column holds no strings.
    """
    with opened(shard.url) as file:
        table = pq.ParquetFile(file)
        rows = table.metadata.row_group(number).num_rows if number < table.num_row_groups else 0
        if rows != shard.rows[number]:
            raise InputError(f"{shard.url}: changed during the run: begin anew with --overwrite")
        check_unpacked(table.metadata.row_group(number), [corpus.text_column], shard.url)
        column = table.read_row_group(number, columns=[corpus.text_column]).column(0)
        if len(column) != rows:
            raise InputError(f"{shard.url}: damaged: {len(column)} of {rows} rows of a row group are there")
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
        self._decoding = {shard.url: DecodingCheck(shard.url) for shard in self.shards}

    def __len__(self) -> int:
        return self.report.texts

    @property
    def sources(self) -> list[tuple[str, bytes]]:
        """Each file's name, and a fingerprint of its size and footer."""
        return [(shard.name, shard.fingerprint.encode()) for shard in self.shards]

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr((self.corpus.text_column, self.sources)).encode()).hexdigest()

    def windows(self, order: Order) -> list[Window]:
        """Return the windows of all rows, in the order of an epoch."""
        if self._windows is None or self._windows[0] != order:
            self._windows = (order, self._gather(np.random.default_rng(order).permutation(len(self.row_groups))))
        return self._windows[1]

    def _gather(self, numbers: np.ndarray) -> list[Window]:
        windows: list[Window] = []
        gathered: list[tuple[Shard, int]] = []
        first = rows = 0
        for place, number in enumerate(numbers, start=1):
            shard, row_group = self.row_groups[number]
            gathered.append((shard, row_group))
            rows += shard.rows[row_group]
            if rows >= WINDOW_ROWS or place == len(numbers):
                windows.append(Window(len(windows), first, tuple(gathered)))
                first, gathered, rows = first + rows, [], 0
        return windows

    def read(self, order: Order, window: Window) -> pa.LargeBinaryArray:
        """Return the texts of a window in the order of an epoch, not yet decoded.

        Raises:
            InputError: for a file that changed since the stream was opened, cannot be read, or is not decodable in
                more than a small share of what was read of it.
        """
        parts = []
        for shard, number in window.row_groups:
            parts.append(read_row_group(shard, number, self.corpus))
            self._check_decoding(shard, parts[-1])
        texts = pa.concat_arrays(parts)
        return texts.take(pa.array(np.random.default_rng((*order, window.number)).permutation(len(texts))))

    def _check_decoding(self, shard: Shard, texts: pa.LargeBinaryArray) -> None:
        check = self._decoding[shard.url]
        try:
            texts.cast(pa.large_string())
            check.checked += len(texts)
        except pa.ArrowInvalid:  # which does not say how many of them
            for text in decoded(texts):
                check.count(text or "", unicode_error(text or ""))
        if check.checked >= min(FIRST_CHECK, sum(shard.rows)):
            check.check()


class Lane:
    """One of the parts of an epoch that are read side by side; it keeps its current window in memory."""

    def __init__(self, stream: ParquetStream):
        self.stream = stream
        self.kept: tuple[tuple[Order, int], pa.LargeBinaryArray] | None = None

    def texts(self, order: Order, first: int, end: int) -> Iterator[str]:
        """Yield the usable texts among the rows `first` to `end` (excluded) of an epoch."""
        windows = self.stream.windows(order)
        number = bisect_right(windows, first, key=lambda window: window.first) - 1
        while first < end:
            rows = self._window(order, windows[number])
            begin = first - windows[number].first
            part = rows.slice(begin, end - first)
            usable = self.stream.corpus.usable(zip(decoded(part)), ", ".join(self.stream.corpus.names()))
            yield from (text for text, *_ in usable)
            first, number = first + len(part), number + 1

    def _window(self, order: Order, window: Window) -> pa.LargeBinaryArray:
        place = (order, window.number)
        if self.kept is None or self.kept[0] != place:
            self.kept = None  # free one window before the next is read
            self.kept = (place, self.stream.read(order, window))
        return self.kept[1]


@dataclass(kw_only=True)
class HeldOutTexts(Corpus):
    """Validation texts of a stream: the first ones in a fixed order, at most `most`, as a corpus for `load_tokens`.

    No more of the stream is read than needed; the remaining validation texts are not trained on either.
    """

    stream: ParquetStream
    validation_fraction: float
    most: int

    @classmethod
    def of(cls, stream: ParquetStream, validation_fraction: float, most: int) -> "HeldOutTexts":
        """Make the corpus of a stream's validation texts; it shares the stream's report."""
        known = {field.name: getattr(stream.corpus, field.name) for field in fields(Corpus)}
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
