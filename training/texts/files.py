"""The kinds of files that texts come in, and datasets of the Hub: each gives the rows of a corpus."""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset
from huggingface_hub.errors import HfHubHTTPError

from training.common.errors import InputError, as_input_error

if TYPE_CHECKING:
    from training.texts.corpus import Corpus

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
# A text, and what stands beside it in the label column and the optional ones; None where there is nothing.
Row = tuple[str | None, ...]


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


def file_rows(path: Path, corpus: "Corpus") -> Iterator[Row]:
    """The rows of a file, one after the other.

    Raises:
        InputError: if it cannot be read as what its name says, with the line.
    """
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


def _lines(path: Path, corpus: "Corpus") -> Iterator[tuple[int, str]]:
    """Numbered lines, decoded one by one so that a bad byte costs one line and not the file."""
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                byte = f"0x{raw[error.start]:02x}"
                corpus.refuse_invalid(f"{path}, line {number}: not UTF-8 (byte {byte} at {error.start})")


def _text_rows(path: Path, corpus: "Corpus") -> Iterator[Row]:
    if corpus.label_column:
        raise InputError(f"{path}: a .txt file has no labels: give .jsonl, .csv, .tsv or .parquet")
    nothing = (None,) * (len(corpus.columns) - 1)
    for _, line in _lines(path, corpus):
        yield line, *nothing


def _json_rows(path: Path, corpus: "Corpus") -> Iterator[Row]:
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


def _table_rows(path: Path, corpus: "Corpus", dialect: type[csv.Dialect]) -> Iterator[Row]:
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


def _parquet_rows(path: Path, corpus: "Corpus") -> Iterator[Row]:
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


def hub_rows(corpus: "Corpus") -> Iterator[Row]:
    """The rows of a dataset on the Hub, as they arrive.

    Raises:
        InputError: if it cannot be fetched, or lacks a column.
    """
    name = corpus.dataset_name
    with as_input_error(ValueError, OSError, HfHubHTTPError):
        commit = corpus.dataset_commit
        rows = load_dataset(name, corpus.dataset_config_name, split=corpus.split, revision=commit, streaming=True)
        for record in rows:
            yield corpus.row(record, f"dataset {name}")
