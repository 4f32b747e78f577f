"""Texts from files or a Hub dataset, and their tokens in a memory-mapped cache; no corpus is held in memory."""

import csv
import gzip
import hashlib
import io
import json
import os
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, load_dataset
from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HOME
from huggingface_hub.errors import HfHubHTTPError
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import normalize
from training.arguments import CorpusArguments
from training.errors import InputError, as_input_error

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
CACHE_VERSION = 2  # raise it when what is written below changes
SCHEMA = pa.schema({"input_ids": pa.list_(pa.int32()), "text_hash": pa.int64()})
TEXTS_PER_BATCH = 2048
BATCHES_AHEAD = 2
# A text, and what stands beside it in the label column and the optional ones; None where there is nothing.
Row = tuple[str | None, ...]


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
            yield from self.usable(_hub_rows(self), self.dataset_name)
        for path in self.files:
            yield from self.usable(_file_rows(path, self), str(path))

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
    def sources(self) -> list[tuple[str, bytes]]:
        """Every file's name and the SHA-256 of its content; of a Hub dataset, its name and what says which texts."""
        if self.dataset_name:
            with as_input_error(OSError, HfHubHTTPError):
                commit = HfApi().dataset_info(self.dataset_name).sha
            version = repr((self.dataset_name, self.dataset_config_name, self.split, commit)).encode()
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
        text_column=args.text_column,
        strict=args.strict,
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a JSON escape or a byte that is no UTF-8
        return False
    return True


def find_files(paths: Sequence[str | Path]) -> tuple[Path, ...]:
    """The corpus files that the paths name, in order; of a folder, all with a known suffix, sorted.

    Raises:
        InputError: for a path that does not exist, a kind of file not known, or a folder without corpus files.
    """
    known = f"{', '.join(SUFFIXES)}, each but .parquet also with .gz"
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file))
            if not inside:
                raise InputError(f"{path}: no corpus file in this folder (looked for {known})")
            files += inside
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder (for a dataset on the Hub use --dataset_name)")
        elif not _kind(path):
            raise InputError(f"{path}: unknown kind of file (known: {known})")
        else:
            files.append(path)
    return tuple(dict.fromkeys(files))  # a file named twice is read once


def _kind(path: Path) -> str | None:
    zipped = path.name.endswith(".gz")
    suffix = Path(path.name.removesuffix(".gz")).suffix
    return suffix if suffix in SUFFIXES and not (zipped and suffix == ".parquet") else None


def _file_rows(path: Path, corpus: Corpus) -> Iterator[Row]:
    readers = {
        ".txt": lambda: _text_rows(path, corpus),
        ".jsonl": lambda: _json_rows(path, corpus),
        ".csv": lambda: _table_rows(path, corpus, _Csv),
        ".tsv": lambda: _table_rows(path, corpus, _PlainTsv),
        ".parquet": lambda: _parquet_rows(path, corpus),
    }
    try:
        yield from readers[_kind(path)]()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}): fetch or pack it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open(path: Path) -> IO[bytes]:
    return (gzip.open if path.suffix == ".gz" else open)(path, "rb")


def _lines(path: Path, corpus: Corpus) -> Iterator[tuple[int, str]]:
    """Numbered lines, decoded one by one so that a bad byte costs one line and not the file."""
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = f"0x{raw[error.start]:02x}"
                corpus.refuse_invalid(f"{path}, line {number}: not UTF-8 (byte {byte} at {error.start})")


def _text_rows(path: Path, corpus: Corpus) -> Iterator[Row]:
    if corpus.label_column:
        raise InputError(f"{path}: a .txt file has no labels: give .jsonl, .csv, .tsv or .parquet")
    nothing = (None,) * len(corpus.optional_columns)
    for _, line in _lines(path, corpus):
        yield line, *nothing


def _json_rows(path: Path, corpus: Corpus) -> Iterator[Row]:
    for number, line in _lines(path, corpus):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
            raise InputError(f"{where}: not valid JSON ({error}): mend or remove the line") from error
        if not isinstance(record, dict):
            raise InputError(f'{where}: not a JSON object; a line looks like {{"{corpus.text_column}": "..."}}')
        yield corpus.row(record, where)


class _Csv(csv.excel):
    """Strict, so that a quotation mark that is never closed is an error and does not swallow the file."""

    strict = True


class _PlainTsv(csv.excel_tab):
    """Tab-separated as IANA has it, without quoting: a tweet may begin with a quotation mark."""

    quoting = csv.QUOTE_NONE


def _table_rows(path: Path, corpus: Corpus, dialect: type[csv.Dialect]) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default refuses a text of over 128 KiB
    # A record may go over several lines, so a bad byte is not judged here: as a lone surrogate it makes its own
    # text, and no other, one that is not Unicode.
    file = io.TextIOWrapper(_open(path), encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(file, dialect)
    try:
        columns = next(rows, [])
        corpus.check_columns(columns, f"{path}, line 1")
        wanted = {column: columns.index(column) for column in corpus.columns if column in columns}
        for row in rows:
            if row and len(row) != len(columns):
                raise InputError(
                    f"{path}, line {rows.line_num}: {len(row)} fields where the header has {len(columns)}: "
                    "quote the field or mend the line"
                )
            record = {column: row[place] if row else None for column, place in wanted.items()}
            yield corpus.row(record, f"{path}, line {rows.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not a valid table ({error})") from error
    finally:
        file.close()


def _parquet_rows(path: Path, corpus: Corpus) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path) as table:
            corpus.check_columns(table.schema_arrow.names, str(path))
            wanted = [column for column in corpus.columns if column in table.schema_arrow.names]
            first = 1
            for batch in table.iter_batches(columns=wanted):
                columns = [_values(batch[column], f"{path}: column {column!r}") for column in wanted]
                for number, values in enumerate(zip(*columns, strict=True), start=first):
                    yield corpus.row(dict(zip(wanted, values, strict=True)), f"{path}, row {number}")
                first += len(batch)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error


def _values(values: pa.Array, where: str) -> Iterator[str | int | None]:
    if pa.types.is_dictionary(values.type):  # what pandas calls a category
        values = values.dictionary_decode()
    if pa.types.is_integer(values.type):
        yield from values.to_pylist()
    else:
        yield from decoded(strings_as_bytes(values, where))


def strings_as_bytes(values: pa.Array, where: str) -> pa.LargeBinaryArray:
    """The strings of a column, undecoded: Arrow does not promise that its own are UTF-8.

    Raises:
        InputError: if the column holds something else.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.type not in (pa.null(), pa.string(), pa.large_string(), pa.string_view()):
        raise InputError(f"{where} holds {values.type}, not strings")
    return values.cast(pa.large_binary())


def decoded(values: pa.LargeBinaryArray) -> Iterator[str | None]:
    """Python strings; what is not UTF-8 makes its own text one that is not Unicode, and no other."""
    for raw in values.to_pylist():
        yield None if raw is None else raw.decode(errors="surrogateescape")


def _hub_rows(corpus: Corpus) -> Iterator[Row]:
    name = corpus.dataset_name
    with as_input_error(ValueError, OSError, HfHubHTTPError):
        rows = load_dataset(name, corpus.dataset_config_name, split=corpus.split, streaming=True)
        for record in rows:
            yield corpus.row(record, f"dataset {name}")


def text_hash(text: str) -> int:
    """63 bits that depend on what a model sees of the text alone: what a split by hash compares.

    A text keeps its value when the corpus grows, so it never changes sides, nor do its duplicates, which may differ
    in what the text rules take away, such as case, accents or the address of a link.
    """
    digest = hashlib.blake2b(normalize(text).strip().encode(), digest_size=8)
    return int.from_bytes(digest.digest()) >> 1


def load_tokens(
    corpus: Corpus,
    tokenizer: TokenizersBackend,
    max_length: int,
    cache_dir: str | Path | None = None,
) -> tuple[Dataset, ReadingReport]:
    """The corpus as a memory-mapped dataset of `input_ids` (int32) and `text_hash` (int64), one row per text.

    Made once and found again as long as the texts, the tokenizer and `max_length` are the same. Longer texts are
    cut at `max_length`, `[END]` kept.

    Raises:
        InputError: as reading the corpus does, and if no usable text was found.
    """
    rules = (
        CACHE_VERSION,
        corpus.fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        max_length,
        corpus.strict,
    )
    folder = Path(cache_dir or Path(HF_HOME) / "bilma") / hashlib.sha256(repr(rules).encode()).hexdigest()[:32]
    if not folder.is_dir():
        _write_tokens(corpus, tokenizer, max_length, folder)
    report = ReadingReport(**json.loads((folder / "report.json").read_text()))
    if not report.texts:
        names = ", ".join(corpus.names())
        raise InputError(f"{names}: no usable text ({report.empty} empty, {report.invalid} not UTF-8)")
    return Dataset.from_file(str(folder / "tokens.arrow")), report


def _write_tokens(corpus: Corpus, tokenizer: TokenizersBackend, max_length: int, folder: Path) -> None:
    """Write beside and rename: a cache is whole or absent, also when two runs make the same one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    report = corpus.report
    report.texts = report.tokens = 0
    with TemporaryDirectory(prefix="writing-", dir=folder.parent) as temporary:
        beside = Path(temporary) / folder.name
        beside.mkdir()
        with (
            pa.OSFile(str(beside / "tokens.arrow"), "wb") as file,
            pa.ipc.new_stream(file, SCHEMA) as writer,
        ):
            for texts, ids in _encoded_ahead(_batches(corpus), tokenizer, max_length):
                writer.write_batch(_token_batch(texts, ids, report))
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


def _token_batch(texts: list[str], ids: list[list[int]], report: ReadingReport) -> pa.RecordBatch:
    with_tokens = [number for number, text_ids in enumerate(ids) if len(text_ids) > 2]  # beside [START] and [END]
    report.texts += len(with_tokens)
    report.tokens += sum(len(ids[number]) for number in with_tokens)
    report.empty += len(texts) - len(with_tokens)
    columns = [[ids[number] for number in with_tokens], [text_hash(texts[number]) for number in with_tokens]]
    return pa.record_batch(columns, schema=SCHEMA)


def encode(texts: Sequence[str], tokenizer: TokenizersBackend, max_length: int) -> list[list[int]]:
    """Token ids of each text, with `[START]` and `[END]`, at most `max_length` of them.

    Goes to the `tokenizers` pipeline itself: calling the tokenizer with truncation would leave that setting in
    the `tokenizer.json` that is saved later.
    """
    end = tokenizer.sep_token_id
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(list(texts))
    return [
        ids if len(ids) <= max_length else [*ids[: max_length - 1], end]
        for ids in (encoding.ids for encoding in encodings)
    ]
