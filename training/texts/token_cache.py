"""Token ids of a corpus in a memory-mapped cache; no corpus is held in memory."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from datasets import Dataset
from huggingface_hub.constants import HF_HOME
from transformers import TokenizersBackend

from training.common.errors import InputError
from training.texts.corpus import Corpus, GroupedText
from training.texts.encoding import encode
from training.texts.report import ReadingReport
from training.texts.splits import group_hash, text_hashes

CACHE_VERSION = 4  # raise it when what is written below changes
SCHEMA = pa.schema({"input_ids": pa.list_(pa.int32()), "text_hash": pa.int64(), "split_hash": pa.int64()})
TEXTS_PER_BATCH = 2048
CHARACTERS_PER_BATCH = 2**20  # `tokenizers` takes some 170 bytes of memory for each
BATCHES_AHEAD = 2
BATCHES_PER_CHUNK = 64  # are a chunk of the file, in which hashes are stored apart from tokens
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring rows: row i is `ids[bounds[i]:bounds[i + 1]]`; `place` is where `ids` begins in its file."""

    bounds: np.ndarray
    ids: np.ndarray
    place: int

    @classmethod
    def of(cls, rows: pa.ListArray) -> "_Chunk":
        ids = rows.values
        whole = ids.buffers()[1]
        while whole.parent is not None:  # of a memory-mapped file, to the map of all of it
            whole = whole.parent
        values = ids.to_numpy()  # a view
        return cls(rows.offsets.to_numpy(), values, values.ctypes.data - whole.address)


class TokenRows:
    """The `input_ids` of a dataset: `rows[numbers]` gives an int32 array for each of these rows.

    Rows of a memory-mapped dataset are read from its file. Each row read through the map would keep 64 KB around it in
    this process's resident memory, until nearly the whole corpus is there.

    Raises:
        ValueError: if rows of the dataset were selected.
    """

    def __init__(self, tokens: Dataset):
        column = tokens.data.column("input_ids")
        if len(tokens) != len(column):
            raise ValueError(f"{len(tokens)} of {len(column)} rows are selected: give all of them, and which to use")
        self.chunks = list(map(_Chunk.of, column.chunks))
        self.firsts = np.cumsum([0, *map(len, column.chunks)])
        self.file = pa.OSFile(tokens.cache_files[0]["filename"]) if tokens.cache_files else None

    def __getitem__(self, numbers: np.ndarray) -> list[np.ndarray]:
        chunks = np.searchsorted(self.firsts, numbers, side="right") - 1
        places = zip(chunks.tolist(), (numbers - self.firsts[chunks]).tolist(), strict=True)
        return [self._row(self.chunks[chunk], number) for chunk, number in places]

    def _row(self, chunk: _Chunk, number: int) -> np.ndarray:
        begin, end = chunk.bounds[number : number + 2].tolist()
        ids = chunk.ids[begin:end]
        if self.file is None:
            return ids
        return np.frombuffer(self.file.read_at(ids.nbytes, chunk.place + begin * ids.itemsize), ids.dtype)


def load_tokens(
    corpus: Corpus,
    tokenizer: TokenizersBackend,
    max_length: int,
    cache_dir: str | Path | None = None,
    first_tokens: Mapping[Path, int | None] | None = None,
) -> tuple[Dataset, ReadingReport]:
    """Load the corpus as a memory-mapped dataset of `input_ids` (int32), `text_hash` and `split_hash` (int64), a row
    per text; tokenise it first if it is not in the cache.

    The cache is valid as long as the texts, the tokenizer and `max_length` are the same. Longer texts are cut at
    `max_length`, `[END]` kept. `first_tokens` are the ids that follow `[START]` in the texts of a file, if any; the
    hashes are those of the texts without them.

    Raises:
        InputError: as reading the corpus does, if no usable text was found, and if the cache cannot be written.
    """
    rules = (
        CACHE_VERSION,
        corpus.fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        max_length,
        corpus.strict,
        corpus.group_column,
        *([[first_tokens[file] for file in corpus.files]] if first_tokens else []),
    )
    folder = Path(cache_dir or Path(HF_HOME) / "bilma") / hashlib.sha256(repr(rules).encode()).hexdigest()[:32]
    if not folder.is_dir():
        parts: list[tuple[Corpus, int | None]] = [(corpus, None)]
        if first_tokens:
            parts = [
                (replace(corpus, files=(file,), report=ReadingReport()), first_tokens[file]) for file in corpus.files
            ]
        try:
            _write_tokens(parts, tokenizer, max_length, folder)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{folder.parent}: tokenised texts cannot be kept there ({reason}): make room, or give another folder "
                "as --cache_dir"
            ) from error
    report = ReadingReport(**json.loads((folder / "report.json").read_text()))
    if not report.texts:
        raise replace(corpus, report=report).no_text_error()
    return Dataset.from_file(str(folder / "tokens.arrow")), report


def _write_tokens(
    parts: Sequence[tuple[Corpus, int | None]], tokenizer: TokenizersBackend, max_length: int, folder: Path
) -> None:
    """Write beside and rename: a cache is whole or absent, even if two runs make the same one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="writing-", dir=folder.parent) as temporary:
        beside = Path(temporary) / folder.name
        beside.mkdir()
        with (
            pa.OSFile(str(beside / "tokens.arrow"), "wb") as file,
            pa.ipc.new_stream(file, SCHEMA) as writer,
        ):
            batches = chain.from_iterable(_token_batches(part, tokenizer, max_length, first) for part, first in parts)
            while together := list(islice(batches, BATCHES_PER_CHUNK)):
                writer.write_table(pa.Table.from_batches(together).combine_chunks())
        report = ReadingReport(*map(sum, zip(*(astuple(part.report) for part, _ in parts), strict=True)))
        (beside / "report.json").write_text(json.dumps(asdict(report)))
        try:
            os.rename(beside, folder)
        except OSError:
            if not folder.is_dir():  # else another run was first, with the same content
                raise


def _batches(texts: Iterable[GroupedText]) -> Iterator[list[GroupedText]]:
    """Yield neighbours, at most so many that the batch bounds allow; a longer text is alone."""
    batch: list[GroupedText] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == TEXTS_PER_BATCH or characters + len(text[0]) > CHARACTERS_PER_BATCH):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text[0])
    if batch:
        yield batch


def _encoded_ahead(
    batches: Iterable[list[GroupedText]], tokenizer: TokenizersBackend, max_length: int
) -> Iterator[tuple[list[GroupedText], list[list[int]]]]:
    """Yield each batch with its token ids, which are made while the batch before it is hashed and written."""
    waiting: deque[tuple[list[GroupedText], Future]] = deque()
    with ThreadPoolExecutor(max_workers=1) as executor:
        for texts in batches:
            waiting.append((texts, executor.submit(encode, [text for text, _ in texts], tokenizer, max_length)))
            if len(waiting) > BATCHES_AHEAD:
                texts, ids = waiting.popleft()
                yield texts, ids.result()
        for texts, ids in waiting:
            yield texts, ids.result()


def _token_batches(
    corpus: Corpus, tokenizer: TokenizersBackend, max_length: int, first_token: int | None
) -> Iterator[pa.RecordBatch]:
    corpus.report.texts = corpus.report.tokens = 0
    room = max_length if first_token is None else max_length - 1
    for texts, ids in _encoded_ahead(_batches(corpus.grouped()), tokenizer, room):
        yield _token_batch(texts, ids, corpus.report, [] if first_token is None else [first_token])


def _token_batch(
    texts: list[GroupedText], ids: list[list[int]], report: ReadingReport, first_tokens: list[int]
) -> pa.RecordBatch:
    with_tokens = [number for number, text_ids in enumerate(ids) if len(text_ids) > 2]  # beside [START] and [END]
    report.texts += len(with_tokens)
    rows = [ids[number][:1] + first_tokens + ids[number][1:] for number in with_tokens]
    report.tokens += sum(map(len, rows))
    report.empty += len(texts) - len(with_tokens)
    kept = [texts[number] for number in with_tokens]
    hashes = text_hashes(text for text, _ in kept)
    split_hashes = [
        hash_ if group is None else group_hash(group) for hash_, (_, group) in zip(hashes, kept, strict=True)
    ]
    return pa.record_batch([rows, hashes, split_hashes], schema=SCHEMA)


def count_tokens(tokens: Dataset, texts: np.ndarray, vocab_size: int) -> np.ndarray:
    """Count each token in the chosen rows of a dataset, (vocab_size,) int64."""
    rows, counts = TokenRows(tokens), np.zeros(vocab_size, np.int64)
    for first in range(0, len(texts), ROWS_AT_ONCE):
        ids = np.concatenate(rows[texts[first : first + ROWS_AT_ONCE]])
        counts += np.bincount(ids, minlength=vocab_size)
    return counts


def count_by_region(tokens: TokenRows, texts: np.ndarray, first_token: int, regions: int, size: int) -> np.ndarray:
    """Count each token in the texts that begin with the token of each region, (regions, size) int64."""
    counts = np.zeros((regions, size), np.int64)
    for some in np.array_split(texts, max(1, len(texts) // ROWS_AT_ONCE)):
        by_region: dict[int, list[np.ndarray]] = {}
        for ids in tokens[some]:
            if 0 <= (region := int(ids[1]) - first_token) < regions:
                by_region.setdefault(region, []).append(ids[2:])
        for region, rows in by_region.items():
            counts[region] += np.bincount(np.concatenate(rows), minlength=size)
    return counts


def hashes_of(tokens: Dataset) -> np.ndarray:
    """Return (N,) hashes of the texts themselves."""
    return tokens.data.column("text_hash").to_numpy()


def split_hashes_of(tokens: Dataset) -> np.ndarray:
    """Return (N,) hashes that decide the side of each text: its own, or its group's."""
    return tokens.data.column("split_hash").to_numpy()
