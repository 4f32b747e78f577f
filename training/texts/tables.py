"""Rows of tables: delimited text, whatever its delimiter and quotes, and Parquet."""

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.common.errors import InputError
from training.texts.columns import Columns, Row, likely_delimiter
from training.texts.lines import BOMB_RATIO, LINE_LIMIT, FileFormat, TextFile
from training.texts.report import LeaveOut

ROWS_PER_BATCH = 256  # of a Parquet file in memory; each may be a text of `LINE_LIMIT`
BOMB_BYTES = 2**27  # of a column of a row group, unpacked; pyarrow may hold four times as much
# What pyarrow raises for damaged files; OverflowError, IndexError and ValueError come out of its bindings.
PARQUET_ERRORS = (pa.ArrowException, OSError, OverflowError, IndexError, ValueError, MemoryError)


class _Csv(csv.excel):
    """Strict, so that a quotation mark that is never closed is an error and does not swallow the file."""

    strict = True


class _EscapedCsv(_Csv):
    """As R's write.table has it: a backslash precedes quotation marks inside a quoted field."""

    doublequote = False
    escapechar = "\\"


class _QuotedTsv(_Csv):
    """As pandas writes it: quotation marks inside a quoted field are doubled."""

    delimiter = "\t"


class _EscapedTsv(_EscapedCsv):
    delimiter = "\t"


class _PlainTsv(csv.excel_tab):
    """As IANA registers it, without quoting: a tweet may begin with a quotation mark."""

    quoting = csv.QUOTE_NONE
    quotechar = None


# A quoted field with a quotation mark, a tab or a line break in it: no plain field looks like that.
_QUOTED: dict[type[csv.Dialect], re.Pattern[str]] = {
    _QuotedTsv: re.compile(r'(?:^|\t)"[^"\t\n]*(?:""|[\t\n])', re.MULTILINE),
    _EscapedTsv: re.compile(r'(?:^|\t)"[^"\t\n\\]*(?:\\"|[\t\n])', re.MULTILINE),
}


def csv_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a table with `,` or the given delimiter between its columns, and quotes where needed."""
    file = TextFile(path, file_format.encoding, leave_out)
    yield from _rows(csv_table(file, columns.text, file_format.delimiter), columns)


def tsv_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a tab-separated table, with or without quotes; of a `.csv` table with another delimiter."""
    file = TextFile(path, file_format.encoding, leave_out)
    yield from _rows(tsv_table(file, columns.text, file_format.delimiter), columns)


def _rows(table: "DelimitedTable", columns: Columns) -> Iterator[Row]:
    columns.check(table.header, table.where)
    for where, record in table.records(columns.names):
        yield columns.row(record, where)


def csv_table(file: TextFile, text_column: str, delimiter: str | None = None) -> "DelimitedTable":
    """Open a table with `,` or the given delimiter between its columns, and quotes where needed; see its class."""
    delimiter = delimiter or ","
    is_escaped = '\\"' in file.head() and not _parses(file, _Csv, delimiter) and _parses(file, _EscapedCsv, delimiter)
    return DelimitedTable(file, _EscapedCsv if is_escaped else _Csv, delimiter, text_column)


def tsv_table(file: TextFile, text_column: str, delimiter: str | None = None) -> "DelimitedTable":
    """Open a tab-separated table, with or without quotes; with another delimiter, one as of `csv_table`."""
    if delimiter:
        return csv_table(file, text_column, delimiter)
    head = file.head()
    seen = (dialect for dialect, pattern in _QUOTED.items() if head.startswith('"') or pattern.search(head))
    dialects = (dialect for dialect in seen if _parses(file, dialect, "\t"))
    return DelimitedTable(file, next(dialects, _PlainTsv), "\t", text_column)


def _parses(file: TextFile, dialect: type[csv.Dialect], delimiter: str) -> bool:
    """Tell whether the beginning of a table parses with the quotes of a dialect, to records of one width."""
    lines = list(io.StringIO(file.head(), newline=""))
    cut = file.is_longer_than_start  # perhaps amid the last record
    rows = csv.reader(lines, dialect, delimiter=delimiter)
    widths = []
    try:
        widths += [len(row) for row in rows if row]
    except csv.Error:
        if not cut or rows.line_num < len(lines):
            return False
    header, *records = widths[: -1 if cut else None] or [0]
    return len(set(records)) <= 1 and (not records or records[0] in (header, header + 1))  # R may add row names


def _has_row_names(file: TextFile, dialect: type[csv.Dialect], delimiter: str) -> bool:
    """Tell whether a table begins as R writes it: with quoted numbers of rows, for which the header has no name."""
    lines = list(io.StringIO(file.head(), newline=""))
    rows = csv.reader(lines, dialect, delimiter=delimiter)
    try:
        width = len(next(rows, []))
        start = rows.line_num
        first = next(rows, [])
    except csv.Error:
        return False
    quoted = all(line.startswith('"') for line in (lines[0], lines[start])) if first else False
    padded = lines[rows.line_num - 1].rstrip("\r\n").endswith(delimiter) if first else False
    return quoted and not padded and len(first) == width + 1 and first[0].isdigit()


class DelimitedTable:
    """A table of delimited text; its first line, the `header`, names the columns.

    R's numbers of rows, which have no name there, are the column `row.names`.

    Args:
        text_column: a column that should be there.

    Raises:
        InputError: if the header is damaged, or lacks that column and seems to have another delimiter.
    """

    def __init__(self, file: TextFile, dialect: type[csv.Dialect], delimiter: str, text_column: str):
        csv.field_size_limit(sys.maxsize)  # records are bounded in `_lines`; the default refuses 128 KiB
        self.file, self.delimiter = file, delimiter
        self.quote = None if dialect.quoting == csv.QUOTE_NONE else dialect.quotechar
        self.line = self.record_length = 0
        self.first_line = ""
        self.reader = csv.reader(self._lines(), dialect, delimiter=delimiter)
        self.header = self._header(text_column)
        if self.quote and _has_row_names(file, dialect, delimiter):
            self.header.insert(0, "row.names")

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the records.

        Raises:
            InputError: if the first line is over the limit, or a record grows over it.
        """
        for number, line in self.file.raw_lines(newline="", quote=self.quote):
            if not self.line and number > 1:
                break
            amid_record, skipped = self.record_length > 0, number > self.line + 1
            self.line = number
            self.first_line = self.first_line or line
            self.record_length += len(line)
            if self.record_length > LINE_LIMIT or (amid_record and skipped):
                raise InputError(f"{self.where}: a record of over 1 MB: is a quotation mark never closed before it?")
            yield line
        if not self.line and self.file.head():
            raise InputError(f"{self.file.name}, line 1: over 1 MB, where the columns are named: shorten it")

    @property
    def where(self) -> str:
        return f"{self.file.name}, line {self.line}"

    def _next(self) -> list[str] | None:
        """Return the fields of the next record; None at the end.

        Raises:
            InputError: if the quotes are damaged.
        """
        self.record_length = 0
        try:
            return next(self.reader, None)
        except csv.Error as error:
            raise InputError(f"{self.where}: not a valid table ({error})") from error

    def records(self, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str | None]]]:
        """Yield the place of every record that could be decoded, and its values in those of these columns that are
        there; None in an empty line.

        Raises:
            InputError: if a record has another number of fields than the header, or the quotes are damaged.
        """
        width = len(self.header)
        places = {column: self.header.index(column) for column in columns if column in self.header}
        while (record := self._next()) is not None:
            if record and len(record) != width:
                raise InputError(
                    f"{self.where}: {len(record)} fields where the header has {width}: {self._advice(record)}"
                )
            values = {column: record[place] if record else None for column, place in places.items()}
            if self.file.is_decoded("\n".join(filter(None, values.values())), self.where):
                yield self.where, values
        self.file.check_encoding()

    def _header(self, text_column: str) -> list[str]:
        """Return the names of the columns; without the text column, look for what may be wrong with the first line."""
        try:
            header = self._next() or []
        except InputError:  # another separator behind a quoted name
            self._check_delimiter([self.first_line.replace('"', "")], text_column)
            raise
        if text_column not in header:
            self._check_delimiter(header, text_column)
            self.file.is_decoded(self.first_line, self.where)
            self.file.check_encoding()
        return header

    def _check_delimiter(self, header: list[str], text_column: str) -> None:
        """Check that the columns do not seem to be separated by another character.

        Raises:
            InputError: if they do.
        """
        delimiter = likely_delimiter(header, text_column)
        if delimiter not in (None, self.delimiter):
            raise InputError(
                f"{self.where}: no column {text_column!r}: the separator of the columns seems to be "
                f"{delimiter!r}, not {self.delimiter!r}: give --delimiter {delimiter!r}"
            )

    def _advice(self, record: list[str]) -> str:
        if self.quote:
            advice = "put the field in quotation marks or mend the line"
        else:
            advice = (
                "a text with a tab or line break cannot be written in a table without quotes: write .jsonl or .csv"
            )
        return f"{advice}; if R wrote it, use row.names=FALSE" if len(record) == len(self.header) + 1 else advice


def parquet_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a few in memory at a time.

    Raises:
        InputError: if it is damaged, a column is missing or there twice, or a column holds another type than texts or
            categories.
    """
    with open_parquet(path) as table:
        columns.check(table.schema_arrow.names, str(path))
        wanted = [column for column in columns.names if column in table.schema_arrow.names]
        number = 0
        for batch in record_batches(table, path, wanted):
            values = [_values(batch[column], f"{path}: column {column!r}") for column in wanted]
            for row in zip(*values, strict=True):
                number += 1
                yield columns.row(dict(zip(wanted, row, strict=True)), f"{path}, row {number}")


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file.

    Raises:
        InputError: if it is found damaged, here or while the block runs.
    """
    try:
        with pq.ParquetFile(path) as table:
            yield table
    except PARQUET_ERRORS as error:
        raise InputError(f"{path}: not a readable Parquet file ({first_line(error)})") from error


def record_batches(
    table: pq.ParquetFile, path: Path, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file in their order, `ROWS_PER_BATCH` at a time, with these columns or all.

    Raises:
        InputError: as `check_unpacked` does, and at the end, if rows were missing.
    """
    for number in range(table.num_row_groups):
        check_unpacked(table.metadata.row_group(number), columns, path)
    rows = 0
    for batch in table.iter_batches(ROWS_PER_BATCH, columns=columns):
        rows += len(batch)
        yield batch
    if rows != table.metadata.num_rows:
        raise InputError(f"{path}: damaged: {rows} of {table.metadata.num_rows} rows are there")


def check_unpacked(row_group: pq.RowGroupMetaData, columns: Sequence[str] | None, path: Path | str) -> None:
    """Check that these columns of a row group, or all, do not unpack without end: pyarrow unpacks a page as a whole.

    Raises:
        InputError: for one of over `BOMB_BYTES`, if they take less than a `BOMB_RATIO`th of that in the file.
    """
    if row_group.total_byte_size <= BOMB_BYTES:
        return
    for column in map(row_group.column, range(row_group.num_columns)):
        name, size = column.path_in_schema, column.total_uncompressed_size
        is_read = columns is None or any(f"{name}.".startswith(f"{wanted}.") for wanted in columns)
        if is_read and size > max(BOMB_BYTES, BOMB_RATIO * column.total_compressed_size):
            raise InputError(
                f"{path}: column {name!r} unpacks to over {BOMB_RATIO} times its size: no text does, it is damaged"
            )


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the error's name if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _values(values: pa.Array, where: str) -> Iterator[Any]:
    if pa.types.is_dictionary(values.type):  # what pandas calls a category
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        yield from values.to_pylist()
    else:
        yield from decoded(strings_as_bytes(values, where))


def strings_as_bytes(values: pa.Array, where: str) -> pa.LargeBinaryArray:
    """Return the strings of a column, undecoded: Arrow does not promise that they are UTF-8.

    Of a string over `LINE_LIMIT` only as much is returned as shows that it is.

    Raises:
        InputError: if the column holds anything but strings.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.type not in (pa.null(), pa.string(), pa.large_string(), pa.string_view()):
        raise InputError(f"{where} holds values of type {values.type}, not strings")
    raw = values.cast(pa.large_binary())
    enough = 4 * (LINE_LIMIT + 1)  # a character is at most four bytes
    is_long = (pc.max(pc.binary_length(raw)).as_py() or 0) > enough
    return pc.binary_slice(raw, 0, enough) if is_long else raw


def decoded(values: pa.LargeBinaryArray) -> Iterator[str | None]:
    """Yield the strings as Python's; bytes that are not UTF-8 become lone surrogates."""
    for raw in values.to_pylist():
        yield None if raw is None else raw.decode(errors="surrogateescape")
