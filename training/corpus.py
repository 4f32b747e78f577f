"""Texts from files or a Hub dataset, and their tokens in a memory-mapped cache; no corpus is held in memory."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HOME
from huggingface_hub.errors import HfHubHTTPError
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import normalize, normalize_all
from training.arguments import CorpusArguments
from training.corpus_files import Row, file_rows, find_files, hub_rows
from training.encoding import encode, groups_of
from training.errors import InputError, as_input_error

CACHE_VERSION = 2  # raise it when what is written below changes
SCHEMA = pa.schema({"input_ids": pa.list_(pa.int32()), "text_hash": pa.int64()})
TEXTS_PER_BATCH = 2048
BATCHES_AHEAD = 2
BATCHES_PER_CHUNK = 64  # in the file the hashes of so many stand together, apart from tokens, and can be read so


@dataclass
class ReadingReport:
    """What was met while a corpus was read; `invalid` texts are not UTF-8, `empty` ones hold no token."""

    texts: int = 0
    tokens: int = 0
    invalid: int = 0
    empty: int = 0


@dataclass
class Corpus:
    """Texts by name: local files, or a dataset on the Hub. One text is one example.

    With `label_column` every text has to have a label; `optional_columns` may be missing.
    """

    files: tuple[Path, ...] = ()
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    dataset_revision: str | None = None
    split: str = "train"
    text_column: str = "text"
    label_column: str | None = None
    optional_columns: tuple[str, ...] = ()
    strict: bool = False
    report: ReadingReport = field(default_factory=ReadingReport)

    def __iter__(self) -> Iterator[str]:
        """Every usable text, stripped.

        Raises:
            InputError: for a file that cannot be read as what its name says (with the line), for a missing text
                column, and with `strict` for text that is not UTF-8.
        """
        for text, *_ in self.rows():
            yield text

    def rows(self) -> Iterator[Row]:
        """Every usable text with its label, if there is a label column, and its values in the optional columns.

        Raises:
            InputError: as iterating does, and for a missing label column or label.
        """
        self.report.invalid = self.report.empty = 0
        if self.dataset_name:
            yield from self.usable(hub_rows(self), self.dataset_name)
        for path in self.files:
            yield from self.usable(file_rows(path, self), str(path))

    def usable(self, rows: Iterable[Row], source: str) -> Iterator[Row]:
        """Those whose text is text, stripped; the others are counted in the report."""
        for text, *values in rows:
            if text is None or not (text := text.strip()):
                self.report.empty += 1
            elif _is_unicode(text):
                yield text, *values
            else:
                self.refuse_invalid(
                    f"{source}: a text is not Unicode ({text.encode(errors='replace').decode()[:40]!r})"
                )

    def refuse_invalid(self, message: str) -> None:
        if self.strict:
            raise InputError(f"{message}: mend it, or leave out --strict to skip such texts")
        self.report.invalid += 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that a row is made of, in its order."""
        return (self.text_column, *([self.label_column] if self.label_column else []), *self.optional_columns)

    def check_columns(self, there: Iterable[str], where: str) -> None:
        """Raise `InputError` if the text column or the label column is missing."""
        for flag, column in (("--text_column", self.text_column), ("--label_column", self.label_column)):
            if column and column not in there:
                names = ", ".join(there) or "none"
                raise InputError(f"{where}: no column {column!r}; there are: {names}; name the right one with {flag}")

    def row(self, record: Mapping[str, Any], where: str) -> Row:
        """The row of a record that may hold more; a label may be a whole number too."""
        self.check_columns(record, where)
        text = record[self.text_column]
        if not isinstance(text, str | None):
            raise InputError(f"{where}: {self.text_column!r} holds a {type(text).__name__}, not a string")
        values = []
        for column in self.columns[1:]:
            value = record.get(column)
            if not isinstance(value, str | int | None):
                raise InputError(f"{where}: {column!r} holds a {type(value).__name__}, not a string or whole number")
            values.append(None if value is None else str(value).strip() or None)
        if self.label_column and text and not values[0]:
            raise InputError(f"{where}: no label in column {self.label_column!r}: fill it in or remove the text")
        return text, *values

    @cached_property
    def dataset_commit(self) -> str:
        """The commit of the Hub dataset that is read, asked for once, so that what is recorded is what is read."""
        with as_input_error(OSError, ValueError, HfHubHTTPError):
            return HfApi().dataset_info(self.dataset_name, revision=self.dataset_revision).sha

    @cached_property
    def sources(self) -> list[tuple[str, bytes]]:
        """Every file's name and the SHA-256 of its content; of a Hub dataset, its name and what says which texts."""
        if self.dataset_name:
            version = repr((self.dataset_name, self.dataset_config_name, self.split, self.dataset_commit)).encode()
            return [(self.dataset_name, version)]
        digests = []
        for path in self.files:
            with path.open("rb") as file:
                digests.append((path.name, hashlib.file_digest(file, "sha256").digest()))
        return digests

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents (of a Hub dataset, over its name and commit): the same texts, the same value."""
        columns = "".join(filter(None, (self.text_column, self.label_column)))
        return hashlib.sha256(b"".join([digest for _, digest in self.sources] + [columns.encode()])).hexdigest()

    def names(self) -> list[str]:
        """What a report may call the sources: no folders of the user's machine."""
        return [self.dataset_name] if self.dataset_name else [path.name for path in self.files]


def open_corpus(args: CorpusArguments) -> Corpus:
    """The corpus that flags name.

    Raises:
        InputError: as `find_files` does.
    """
    return Corpus(
        files=find_files(args.train_file),
        dataset_name=args.dataset_name,
        dataset_config_name=args.dataset_config_name,
        dataset_revision=args.dataset_revision,
        text_column=args.text_column,
        strict=args.strict,
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a JSON escape or a byte that is no UTF-8
        return False
    return True


def text_hash(text: str) -> int:
    """63 bits that depend on what a model sees of the text alone: what a split by hash compares.

    A text keeps its value when the corpus grows, so it never changes sides, nor do its duplicates, which may differ
    in what the text rules take away, such as case, accents or the address of a link.
    """
    return _hash_of_normalized(normalize(text).strip())


def text_hashes(texts: Iterable[str]) -> np.ndarray:
    """`text_hash` of each text, (number of texts,) int64; for many texts in half the time."""
    normalized = chain.from_iterable(map(normalize_all, groups_of(texts)))
    return np.fromiter(map(_hash_of_normalized, normalized), np.int64)


def _hash_of_normalized(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def load_tokens(
    corpus: Corpus,
    tokenizer: TokenizersBackend,
    max_length: int,
    cache_dir: str | Path | None = None,
    first_tokens: Mapping[Path, int | None] | None = None,
) -> tuple[Dataset, ReadingReport]:
    """The corpus as a memory-mapped dataset of `input_ids` (int32) and `text_hash` (int64), one row per text.

    Made once and found again as long as the texts, the tokenizer and `max_length` are the same. Longer texts are
    cut at `max_length`, `[END]` kept. `first_tokens` are the ids that follow `[START]` in the texts of a file, if any;
    the hashes are those of the texts without them.

    Raises:
        InputError: as reading the corpus does, and if no usable text was found.
    """
    rules = (
        CACHE_VERSION,
        corpus.fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        max_length,
        corpus.strict,
        *([[first_tokens[file] for file in corpus.files]] if first_tokens else []),
    )
    folder = Path(cache_dir or Path(HF_HOME) / "bilma") / hashlib.sha256(repr(rules).encode()).hexdigest()[:32]
    if not folder.is_dir():
        parts = [(corpus, None)]
        if first_tokens:
            parts = [
                (replace(corpus, files=(file,), report=ReadingReport()), first_tokens[file]) for file in corpus.files
            ]
        _write_tokens(parts, tokenizer, max_length, folder)
    report = ReadingReport(**json.loads((folder / "report.json").read_text()))
    if not report.texts:
        names = ", ".join(corpus.names())
        raise InputError(f"{names}: no usable text ({report.empty} empty, {report.invalid} not UTF-8)")
    return Dataset.from_file(str(folder / "tokens.arrow")), report


def _write_tokens(
    parts: Sequence[tuple[Corpus, int | None]], tokenizer: TokenizersBackend, max_length: int, folder: Path
) -> None:
    """Write beside and rename: a cache is whole or absent, also when two runs make the same one."""
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


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while batch := list(islice(texts, TEXTS_PER_BATCH)):
        yield batch


def _encoded_ahead(
    batches: Iterable[list[str]], tokenizer: TokenizersBackend, max_length: int
) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Each batch with its token ids, made on all cores but one while the batch before it is hashed and written."""
    waiting: deque[tuple[list[str], Future]] = deque()
    with ThreadPoolExecutor(max_workers=1) as executor:
        for texts in batches:
            waiting.append((texts, executor.submit(encode, texts, tokenizer, max_length)))
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
    for texts, ids in _encoded_ahead(_batches(corpus), tokenizer, room):
        yield _token_batch(texts, ids, corpus.report, [] if first_token is None else [first_token])


def _token_batch(
    texts: list[str], ids: list[list[int]], report: ReadingReport, first_tokens: list[int]
) -> pa.RecordBatch:
    with_tokens = [number for number, text_ids in enumerate(ids) if len(text_ids) > 2]  # beside [START] and [END]
    report.texts += len(with_tokens)
    rows = [ids[number][:1] + first_tokens + ids[number][1:] for number in with_tokens]
    report.tokens += sum(map(len, rows))
    report.empty += len(texts) - len(with_tokens)
    columns = [rows, text_hashes(texts[number] for number in with_tokens)]
    return pa.record_batch(columns, schema=SCHEMA)
