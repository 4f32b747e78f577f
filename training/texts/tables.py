"""Rows of tables: delimited text, whatever its delimiter and quotes, and Parquet."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from training.common.errors import InputError
from training.texts.columns import Columns, Row, likely_delimiter
from training.texts.lines import LINE_LIMIT, FileFormat, TextFile
from training.texts.report import LeaveOut

ROWS_PER_BATCH = 256  # of a Parquet file in memory; each may be a text of `LINE_LIMIT`
HEAD = 2**18  # characters from which the quoting of a .tsv file is recognised
# What pyarrow raises for damaged files; OverflowError, IndexError and UnicodeDecodeError come out of its bindings.
PARQUET_ERRORS = (pa.ArrowException, OSError, OverflowError, IndexError, UnicodeDecodeError, MemoryError)


class _Csv(csv.excel):
    """Strict, so that a quotation mark that is never closed is an error and does not swallow the file."""

    strict = True


class _QuotedTsv(_Csv):
    """As pandas writes it: quotation marks inside a quoted field are doubled."""

    delimiter = "\t"


class _EscapedTsv(_QuotedTsv):
    """As R writes it: a backslash precedes quotation marks inside a quoted field."""

    doublequote = False
    escapechar = "\\"


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
    yield from _Table(file, columns, _Csv, file_format.delimiter or ",").rows()


def tsv_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a tab-separated table, with or without quotes; of a `.csv` table with another delimiter."""
    if file_format.delimiter:
        yield from csv_rows(path, columns, file_format, leave_out)
        return
    file = TextFile(path, file_format.encoding, leave_out)
    head = file.head(HEAD)
    dialects = (dialect for dialect in _QUOTED if _is_written_in(head, dialect))
    yield from _Table(file, columns, next(dialects, _PlainTsv), "\t").rows()


def _is_written_in(head: str, dialect: type[csv.Dialect]) -> bool:
    """Tell whether the beginning of a table parses with the quotes of a dialect, and shows them."""
    if not (head.startswith('"') or _QUOTED[dialect].search(head)):
        return False
    lines = list(io.StringIO(head, newline=""))
    cut = len(head) == HEAD  # perhaps amid the last record
    rows = csv.reader(lines, dialect)
    widths = []
    try:
        widths += [len(row) for row in rows if row]
    except csv.Error:
        if not cut or rows.line_num < len(lines):
            return False
    return len(set(widths[: -1 if cut else None])) == 1


class _Table:
    """A table of delimited text, whose first line names the columns."""

    def __init__(self, file: TextFile, columns: Columns, dialect: type[csv.Dialect], delimiter: str):
        csv.field_size_limit(sys.maxsize)  # records are bounded in `_lines`; the default refuses 128 KiB
        self.file, self.columns, self.delimiter = file, columns, delimiter
        self.quote = None if dialect.quoting == csv.QUOTE_NONE else dialect.quotechar
        self.line = self.record_length = self.width = 0
        self.first_line = ""
        self.reader = csv.reader(self._lines(), dialect, delimiter=delimiter)

    def _lines(self) -> Iterator[str]:
        """Yield the lines of the records.

        Raises:
            InputError: if a record grows over the limit.
        """
        for number, line in self.file.raw_lines(newline="", quote=self.quote):
            amid_record, skipped = self.record_length > 0, number > self.line + 1
            self.line = number
            self.first_line = self.first_line or line
            self.record_length += len(line)
            if self.record_length > LINE_LIMIT or (amid_record and skipped):
                raise InputError(f"{self.where}: a record of over 1 MB: is a quotation mark never closed before it?")
            yield line

    @property
    def where(self) -> str:
        return f"{self.file.path}, line {self.line}"

    def _next(self) -> list[str] | None:
        """Return the fields of the next record; None at the end."""
        self.record_length = 0
        return next(self.reader, None)

    def rows(self) -> Iterator[Row]:
        """Yield the row of every record that could be decoded.

        Raises:
            InputError: if a column is missing or there twice, a record has another number of fields than the header,
                or the quotes are damaged.
        """
        try:
            places = self._places(self._header())
            while (record := self._next()) is not None:
                if record and len(record) != self.width:
                    raise InputError(
                        f"{self.where}: {len(record)} fields where the header has {self.width}: {self._advice()}"
                    )
                values = {column: record[place] if record else None for column, place in places.items()}
                if self.file.is_decoded("\n".join(filter(None, values.values())), self.where):
                    yield self.columns.row(values, self.where)
        except csv.Error as error:
            raise InputError(f"{self.where}: not a valid table ({error})") from error
        self.file.check_encoding()

    def _header(self) -> list[str]:
        """Return the names of the columns; without the text column, look for what may be wrong with the first line."""
        try:
            header = self._next() or []
        except csv.Error:  # another separator behind a quoted name
            self._check_delimiter([self.first_line.replace('"', "")])
            raise
        if self.columns.text not in header:
            self._check_delimiter(header)
            self.file.is_decoded(self.first_line, self.where)
            self.file.check_encoding()
        return header

    def _check_delimiter(self, header: list[str]) -> None:
        """Check that the columns do not seem to be separated by another character.

        Raises:
            InputError: if they do.
        """
        delimiter = likely_delimiter(header, self.columns.text)
        if delimiter not in (None, self.delimiter):
            raise InputError(
                f"{self.where}: no column {self.columns.text!r}: the separator of the columns seems to be "
                f"{delimiter!r}, not {self.delimiter!r}: give --delimiter {delimiter!r}"
            )

    def _places(self, header: list[str]) -> dict[str, int]:
        """Return the place in a record of each column that is wanted and there."""
        self.columns.check(header, self.where)
        self.width = len(header)
        return {column: header.index(column) for column in self.columns.names if column in header}

    def _advice(self) -> str:
        if self.quote:
            return "put the field in quotation marks or mend the line"
        return "a text with a tab or line break cannot be written in a table without quotes: write .jsonl or .csv"


def parquet_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a few in memory at a time.

    Raises:
        InputError: if it is damaged, a column is missing or there twice, or a column holds another type than texts or
            categories.
    """
    try:
        with pq.ParquetFile(path) as table:
            columns.check(table.schema_arrow.names, str(path))
            wanted = [column for column in columns.names if column in table.schema_arrow.names]
            first = 1
            for batch in table.iter_batches(ROWS_PER_BATCH, columns=wanted):
                values = [_values(batch[column], f"{path}: column {column!r}") for column in wanted]
                for number, row in enumerate(zip(*values, strict=True), start=first):
                    yield columns.row(dict(zip(wanted, row, strict=True)), f"{path}, row {number}")
                first += len(batch)
            if first - 1 != table.metadata.num_rows:
                raise InputError(f"{path}: damaged: {first - 1} of {table.metadata.num_rows} rows are there")
    except PARQUET_ERRORS as error:
        raise InputError(f"{path}: not a readable Parquet file ({first_line(error)})") from error


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

    Raises:
        InputError: if the column holds anything but strings.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if values.type not in (pa.null(), pa.string(), pa.large_string(), pa.string_view()):
        raise InputError(f"{where} holds values of type {values.type}, not strings")
    return values.cast(pa.large_binary())


def decoded(values: pa.LargeBinaryArray) -> Iterator[str | None]:
    """Yield the strings as Python's; bytes that are not UTF-8 become lone surrogates."""
    for raw in values.to_pylist():
        yield None if raw is None else raw.decode(errors="surrogateescape")
