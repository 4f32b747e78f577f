"""Tables of texts with all their columns: CSV, TSV, JSONL, Parquet, and text with one text a line."""

import csv
import io
import json
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.common.errors import InputError
from training.texts.tables import PARQUET_ERRORS, first_line

STANDARD = "-"  # in place of a path: standard input or output
INPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet", "txt")
OUTPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet")
TEXT = "text"  # the one column of a .txt file
# TSV as IANA has it, without quoting: a tweet may begin with a quotation mark.
DIALECTS: dict[str, dict[str, Any]] = {
    "csv": {"strict": True},
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None},
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table by path and format; the path `-` is standard input or output."""

    path: str
    format: str

    @property
    def name(self) -> str:
        return "standard input" if self.path == STANDARD else self.path


def table_at(path: str, flag: str, known: Sequence[str], default: str | None = None) -> Table:
    """Return the table at a path, in the format that its name says.

    Args:
        flag: flag that gave the path, for the error.
        known: formats that may be.
        default: format of standard input or output.

    Raises:
        InputError: for an unknown format.
    """
    suffix = default if path == STANDARD else Path(path.removesuffix(".gz")).suffix.removeprefix(".")
    if suffix not in known:
        raise InputError(f"{flag} {path}: unknown format (known: {', '.join(f'.{name}' for name in known)})")
    return Table(path, str(suffix))


def read_rows(table: Table) -> Iterator[Row]:
    """Read a table row by row, in constant memory.

    Raises:
        InputError: if the file cannot be read as what its name says, with the place.
    """
    number = 0
    try:
        for row in _parquet_rows(table) if table.format == "parquet" else _text_rows(table):
            number += 1
            yield row
    except UnicodeDecodeError as error:
        raise InputError(f"{table.name}, after row {number}: not UTF-8 ({error.reason}): convert the file") from error
    except (csv.Error, ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
        what = f"not valid {table.format.upper()} ({' '.join(str(error).split())})"
        raise InputError(f"{table.name}, after row {number}: {what}") from error
    except (*PARQUET_ERRORS, EOFError, zlib.error) as error:
        raise InputError(f"{table.name}: cannot be read ({first_line(error)})") from error


def schema_of(table: Table) -> pa.Schema | None:
    """Return the types of the columns of a Parquet file; None for other formats, which have none."""
    if table.format != "parquet":
        return None
    try:
        return pq.read_schema(table.path)
    except PARQUET_ERRORS as error:
        raise InputError(f"{table.name}: cannot be read ({first_line(error)})") from error


def _parquet_rows(table: Table) -> Iterator[Row]:
    with pq.ParquetFile(table.path) as file:
        for batch in file.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def _text_rows(table: Table) -> Iterator[Row]:
    with _opened(table) as raw:
        if table.format in DIALECTS:
            yield from _separated_rows(raw, table)
            return
        for number, line in enumerate(io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n"), start=1):
            line = line.rstrip("\r\n")
            if table.format == "txt":
                yield {TEXT: line}
            elif line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"{table.name}, line {number}: not a JSON object")
                yield row


def _opened(table: Table) -> Any:
    if table.path == STANDARD:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    return fsspec.open(table.path, "rb", compression="infer").open()


def _separated_rows(raw: IO[bytes], table: Table) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # the default refuses a text of over 128 KiB
    rows = csv.reader(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""), **DIALECTS[table.format])
    columns = next(rows, [])
    if len(set(columns)) < len(columns):
        raise InputError(f"{table.name}, line 1: two columns have one name: rename one")
    for row in rows:
        if row and len(row) != len(columns):
            raise InputError(
                f"{table.name}, line {rows.line_num}: {len(row)} fields where the header has {len(columns)}: "
                "quote the field or mend the line"
            )
        if row:
            yield dict(zip(columns, row, strict=True))


def write_rows(file: Path, rows: list[Row], table_format: str, schema: pa.Schema, with_header: bool) -> None:
    """Write a part of a table into a file of its own.

    Args:
        schema: columns of the table in their order, with their types where these are known (Parquet, .npy).
        with_header: for CSV and TSV, whether the names of the columns come first.

    Raises:
        InputError: if a row does not fit the format.
    """
    try:
        if table_format == "parquet":
            pq.write_table(pa.Table.from_pylist([_as_typed(row, schema) for row in rows], schema), file)
        elif table_format == "npy":
            _write_matrix(file, rows, schema)
        else:
            with file.open("w", encoding="utf-8", newline="") as opened:
                write_lines(opened, rows, table_format, schema.names, with_header)
    except (pa.ArrowInvalid, pa.ArrowTypeError, csv.Error, UnicodeEncodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"a row cannot be written as {table_format} ({reason}): write .jsonl instead") from error


def write_lines(
    opened: IO[str], rows: list[Row], table_format: str, columns: Sequence[str], with_header: bool
) -> None:
    """Write rows as JSONL, CSV or TSV; lists and objects become JSON there."""
    if table_format == "jsonl":
        opened.writelines(json_text(row) + "\n" for row in rows)
        return
    writer = csv.DictWriter(opened, columns, lineterminator="\n", **DIALECTS[table_format])
    if with_header:
        writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def json_text(value: Any) -> str:
    """Write a value as JSON in UTF-8, or with escapes where a string is not Unicode."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if is_unicode(text) else json.dumps(value, default=str)


def _as_typed(row: Row, schema: pa.Schema) -> Row:
    return {
        field.name: _cell(row.get(field.name)) if field.type == pa.string() else row.get(field.name)
        for field in schema
    }


def _cell(value: Any) -> Any:
    return json_text(value) if isinstance(value, list | dict) else value


def is_unicode(text: str) -> bool:
    """Return whether a string can be encoded; half of a surrogate pair, from a JSON escape, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_matrix(file: Path, rows: list[Row], schema: pa.Schema) -> None:
    """Write the last column, of vectors; a row without one becomes NaN."""
    field = schema[-1]
    nothing = np.full(field.type.list_size, np.nan, dtype=np.float32)
    with file.open("wb") as opened:  # by its path, numpy would append the suffix .npy
        vectors = [row[field.name] for row in rows]
        np.save(opened, np.stack([nothing if vector is None else vector for vector in vectors]))


def join_parts(parts: Sequence[Path], table_format: str, joined: Path) -> None:
    """Join the parts of a table, in their order, into one file.

    Raises:
        InputError: if Parquet parts differ in the types of their columns.
    """
    if table_format == "parquet":
        with pq.ParquetWriter(joined, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
    elif table_format == "npy":
        matrices = [np.load(part, mmap_mode="r") for part in parts]
        shape = (sum(map(len, matrices)), matrices[0].shape[1])
        whole = np.lib.format.open_memmap(joined, mode="w+", dtype=np.float32, shape=shape)
        for start, matrix in zip(np.cumsum([0, *map(len, matrices)]), matrices, strict=False):
            whole[start : start + len(matrix)] = matrix
        whole.flush()
    else:
        with joined.open("wb") as opened:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, opened)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of all columns of rows, in the order of their first occurrence."""
    return list(dict.fromkeys(chain.from_iterable(rows)))
