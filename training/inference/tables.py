"""Tables of texts with all their columns: CSV, TSV, JSONL, Parquet, and text with one text a line."""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.common.errors import InputError
from training.texts.decoding import unicode_error
from training.texts.files import check_file, json_objects, kind_of, readable
from training.texts.lines import LINE_LIMIT, STANDARD_INPUT, UTF8, FileFormat, TextFile, source_name
from training.texts.report import LeaveOut, Reason
from training.texts.tables import csv_table, open_parquet, record_batches, tsv_table

STANDARD = str(STANDARD_INPUT)  # in place of a path: standard input or output
INPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet", "txt")
OUTPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet")
TEXT = "text"  # the one column of a .txt file
# What is written: TSV as IANA has it, without quoting, as a tweet may begin with a quotation mark.
DIALECTS: dict[str, dict[str, Any]] = {
    "csv": {},
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None},
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table by path and format; the path `-` is standard input or output."""

    path: str
    format: str
    file_format: FileFormat = UTF8

    @property
    def name(self) -> str:
        return source_name(Path(self.path))


def table_at(
    path: str, flag: str, known: Sequence[str], default: str | None = None, file_format: FileFormat = UTF8
) -> Table:
    """Return the table at a path, in the format that its name says.

    Args:
        flag: flag that gave the path, for the error.
        known: formats that may be.
        default: format of standard input or output.

    Raises:
        InputError: for an unknown format.
    """
    suffix = default if path == STANDARD else kind_of(Path(path)).removeprefix(".")
    suffix = "jsonl" if suffix == "ndjson" else suffix
    if suffix not in known:
        raise InputError(f"{flag} {path}: unknown format (known: {', '.join(f'.{name}' for name in known)})")
    return Table(path, str(suffix), file_format)


def input_at(path: str, flag: str, default: str | None = None, file_format: FileFormat = UTF8) -> Table:
    """Return the table at a path that is to be read; arguments are those of `table_at`.

    Raises:
        InputError: as `table_at` and `check_file` do.
    """
    if path != STANDARD:
        check_file(Path(path))
    return table_at(path, flag, INPUT_FORMATS, default, file_format)


def read_rows(table: Table, text_column: str, leave_out: LeaveOut) -> Iterator[Row]:
    """Read a table row by row, in constant memory.

    Args:
        text_column: a column that should be there; another delimiter is recognised by it.
        leave_out: called for every line that is not decodable or too long, and for rows of Parquet that are too long.

    Raises:
        InputError: if the file cannot be read as what its name says, with the place.
    """
    path = Path(table.path)
    if table.format == "parquet":
        with open_parquet(path) as parquet:
            _check_names(parquet.schema_arrow.names, table.name)
            number = 0
            for batch in record_batches(parquet, path):
                yield from _short_rows(batch, f"{table.name}, rows from {number + 1} on", leave_out).to_pylist()
                number += len(batch)
        return
    with readable(path):
        file = TextFile(path, table.file_format.encoding, leave_out)
        if table.format == "txt":
            yield from ({TEXT: line.rstrip("\r\n")} for _, line in file.lines())
        elif table.format == "jsonl":
            yield from (record for _, record in json_objects(file, f'{{"{text_column}": "..."}}'))
        else:
            open_it = tsv_table if table.format == "tsv" else csv_table
            delimited = open_it(file, text_column, table.file_format.delimiter)
            _check_names(delimited.header, delimited.where)
            yield from (record for _, record in delimited.records(delimited.header))


def _short_rows(batch: pa.RecordBatch, where: str, leave_out: LeaveOut) -> pa.RecordBatch:
    """Leave out the rows with a string that is over the limit whatever its characters, as lines are."""
    short = np.ones(len(batch), bool)
    for column in batch.columns:
        if column.type in (pa.string(), pa.large_string()):
            lengths = pc.fill_null(pc.binary_length(column), 0)
            short &= lengths.to_numpy() <= 4 * LINE_LIMIT
    for _ in range(len(batch) - int(short.sum())):
        leave_out(Reason.TOO_LONG, f"{where}: a text of over 1 MB")
    return batch if short.all() else batch.filter(pa.array(short))


def _check_names(columns: Sequence[str], where: str) -> None:
    name, times = next(iter(Counter(columns).most_common(1)), ("", 0))
    if times > 1:
        raise InputError(f"{where}: {times} columns are named {name!r}: rename all but one")


def schema_of(table: Table) -> pa.Schema | None:
    """Return the types of the columns of a Parquet file; None for other formats, which have none."""
    if table.format != "parquet":
        return None
    with open_parquet(Path(table.path)) as parquet:
        return parquet.schema_arrow


def write_rows(file: Path, rows: list[Row], table_format: str, schema: pa.Schema, with_header: bool) -> None:
    """Write a part of a table into a file of its own.

    Args:
        schema: columns of the table in their order, with their types where these are known (Parquet, .npy).
        with_header: for CSV and TSV, whether the names of the columns come first.

    Raises:
        InputError: if a row does not fit the format.
    """
    if table_format == "parquet":
        pq.write_table(_typed_table(rows, schema), file)
    elif table_format == "npy":
        _write_matrix(file, rows, schema)
    else:
        with file.open("w", encoding="utf-8", newline="") as opened:
            write_lines(opened, rows, table_format, schema.names, with_header)


def typed_field(name: str, values: Sequence[Any], where: str) -> pa.Field:
    """Return a column of Parquet with the type of its values.

    Raises:
        InputError: if they have no type in common.
    """
    try:
        return pa.field(name, pa.array(values).type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(f"{where}: {_unfit(name, 'parquet', error)}") from error


def _typed_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        try:
            columns.append(pa.array(map(_cell, values) if field.type == pa.string() else values, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
            raise InputError(_unfit(field.name, "parquet", error)) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _unfit(column: str, table_format: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"column {column!r} cannot be written as {table_format} ({reason}): write .jsonl instead"


def write_lines(
    opened: IO[str], rows: list[Row], table_format: str, columns: Sequence[str], with_header: bool
) -> None:
    """Write rows as JSONL, CSV or TSV; lists and objects become JSON there.

    Raises:
        InputError: if a row does not fit the format.
    """
    if table_format == "jsonl":
        opened.writelines(json_text(row) + "\n" for row in rows)
        return
    writer = csv.DictWriter(opened, columns, lineterminator="\n", **DIALECTS[table_format])
    if with_header:
        writer.writeheader()
    for row in rows:
        try:
            writer.writerow({name: _cell(value) for name, value in row.items()})
        except (csv.Error, UnicodeEncodeError) as error:
            why = "a tab or line break" if isinstance(error, csv.Error) else "what is not Unicode"
            raise InputError(f"a row holds {why}, which .{table_format} cannot: write .jsonl instead") from error


def json_text(value: Any) -> str:
    """Write a value as JSON in UTF-8, or with escapes where a string is not Unicode."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(value, default=str) if unicode_error(text) else text


def _cell(value: Any) -> Any:
    return json_text(value) if isinstance(value, list | dict) else value


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
