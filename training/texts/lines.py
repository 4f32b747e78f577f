"""Lines of text files: decoded, counted, and never more than a bounded part of one in memory."""

import codecs
import gzip
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from training.common.errors import InputError
from training.texts.decoding import SAMPLE_BYTES, DecodingCheck, unicode_error
from training.texts.report import LeaveOut, Reason

STANDARD_INPUT = Path("-")
LINE_LIMIT = 2**20  # characters of the longest line, and of the longest text
START_BYTES = 2**18  # what is looked at before a file is read
# A text compresses five to ten times; deflate's limit is about a thousand.
BOMB_RATIO, BOMB_BYTES = 500, 2**32
_MARKS = {  # those of UTF-32 first: they begin with those of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


@dataclass(frozen=True)
class FileFormat:
    """How text files are written; None: `encoding` UTF-8, or what the byte-order mark says, and the usual `delimiter`
    of a table's kind.

    Raises:
        InputError: for an encoding that Python does not know, or a delimiter that is not one character.
    """

    encoding: str | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.encoding is not None:
            try:
                "a".encode(self.encoding)
            except (LookupError, ValueError) as error:
                raise InputError(f"--encoding {self.encoding}: no encoding of this name, try latin-1") from error
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", "\t" if self.delimiter in ("\\t", "tab") else self.delimiter)
            if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0':
                raise InputError(f"--delimiter {self.delimiter!r}: give one character, such as ';', or tab")


UTF8 = FileFormat()


class TextFile:
    """A file of text, plain or packed with gzip, or standard input. It is opened once, and can be read once.

    Args:
        encoding: None for that of the byte-order mark, without one UTF-8. A byte-order mark always wins.
        leave_out: called for every line that is not decodable or too long.

    Raises:
        InputError: if the file seems to be UTF-16 or UTF-32 without a byte-order mark.
    """

    def __init__(self, path: Path, encoding: str | None, leave_out: LeaveOut):
        self.name = source_name(path)
        self.leave_out = leave_out
        self.file = open_bytes(path)
        self.start = self.file.peek()
        marked = next((name for mark, name in _MARKS.items() if self.start.startswith(mark)), None)
        self.encoding = marked or encoding or "utf-8"
        if not (marked or encoding) and (wide := _wide_encoding(self.start[:SAMPLE_BYTES])):
            raise InputError(f"{self.name}: seems to be {wide}, not UTF-8: read it with --encoding {wide}")
        self.wide = codecs.lookup(self.encoding).name.startswith(("utf-16", "utf-32"))
        self.errors = "surrogatepass" if self.wide else "surrogateescape"  # undecodable bytes: lone surrogates
        self.encoding_name = self.encoding.upper().removesuffix("-SIG")
        self.decoding = DecodingCheck(self.name, self.encoding, counts_lines=True)

    @property
    def is_longer_than_start(self) -> bool:
        return len(self.start) == START_BYTES

    def head(self) -> str:
        """Return the text of the first `START_BYTES`.

        Raises:
            InputError: if they cannot be decoded at all.
        """
        try:
            return codecs.getincrementaldecoder(self.encoding)(self.errors).decode(self.start).removeprefix("\ufeff")
        except UnicodeError as error:
            raise self.not_decodable(error, 0) from error

    def not_decodable(self, error: UnicodeError, line: int) -> InputError:
        """Return the error for a file whose rest, after this line, cannot be decoded."""
        return InputError(f"{self.name}, after line {line}: not {self.encoding_name} ({error})")

    def raw_lines(self, newline: str = "\n", quote: str | None = None) -> Iterator[tuple[int, str]]:
        """Yield numbered lines with their ends; leave out those over `LINE_LIMIT`.

        Args:
            newline: as for Python's `open`: with "" a carriage return ends a line too.
            quote: character between which a line break does not end a record.

        Raises:
            InputError: if a line over the limit ends amid quotes, or the rest of the file cannot be decoded.
        """
        number, ends = 0, ("\n",) if newline else ("\r", "\n")
        try:
            with io.TextIOWrapper(self.file, self.encoding, self.errors, newline) as file:
                while line := file.readline(LINE_LIMIT):
                    number += 1
                    if len(line) < LINE_LIMIT or line.endswith(ends):
                        yield number, line.removeprefix("\ufeff")
                        continue
                    where = f"{self.name}, line {number}"
                    if _skip_line(file, line, ends, quote):
                        raise InputError(f"{where}: over 1 MB and ends amid quotation marks: shorten or remove it")
                    self.leave_out(Reason.TOO_LONG, f"{where}: over 1 MB")
        except UnicodeError as error:
            raise self.not_decodable(error, number) from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield numbered lines with their ends; leave out those that are not decodable or too long.

        Raises:
            InputError: as `is_decoded` and `check_encoding` do.
        """
        for number, line in self.raw_lines():
            if self.is_decoded(line, f"{self.name}, line {number}"):
                yield number, line
        self.check_encoding()

    def is_decoded(self, text: str, where: str) -> bool:
        """Tell whether all of a line or record was decoded; if not, leave it out.

        Raises:
            InputError: as `DecodingCheck.count` does.
        """
        error = unicode_error(text)
        if error:
            byte = f"byte 0x{ord(text[error.start]) & 0xFF:02x} at {error.start}"
            self.leave_out(Reason.INVALID, f"{where}: not {self.encoding_name} ({byte})")
        self.decoding.count(text, error)
        return error is None

    def check_encoding(self) -> None:
        """Check that few lines so far could not be decoded.

        Raises:
            InputError: as `DecodingCheck.check` does.
        """
        self.decoding.check()


def _skip_line(file: IO[str], part: str, ends: tuple[str, ...], quote: str | None) -> bool:
    """Read to the end of a line of which a part was read; tell whether it ends amid quotes."""
    quotes = part.count(quote) if quote else 0
    while part and not part.endswith(ends):
        part = file.readline(LINE_LIMIT)
        quotes += part.count(quote) if quote else 0
    return quotes % 2 == 1


def _wide_encoding(start: bytes) -> str | None:
    """Recognise UTF-16 and UTF-32 by the bytes that are zero in every Latin character."""
    for width, order in ((4, "32"), (2, "16")):
        zeros = [start[place::width].count(0) / max(1, len(start) // width) for place in range(width)]
        for end, letters in (("le", 0), ("be", width - 1)):
            others = zeros[:letters] + zeros[letters + 1 :]
            if min(others) > 0.9 and zeros[letters] < 0.1:
                return f"utf-{order}-{end}"
    return None


class _Gzip(gzip.GzipFile):
    """A gzip file that refuses to unpack without end.

    Raises:
        InputError: after `BOMB_BYTES`, if they took less than a `BOMB_RATIO`th of that in the file.
    """

    def read(self, size: int | None = -1) -> bytes:
        unpacked = super().read(size)
        if (length := self.tell()) > BOMB_BYTES and length > BOMB_RATIO * Path(self.name).stat().st_size:
            raise InputError(f"{self.name}: unpacks to over {BOMB_RATIO} times its size: no text does, it is damaged")
        return unpacked


def open_bytes(path: Path) -> io.BufferedReader:
    """Open a file, unpacked if its name ends in .gz, or standard input; `peek` gives its first `START_BYTES`."""
    if path == STANDARD_INPUT:
        file: Any = open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115
    else:
        file = _Gzip(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
    # The inner stream is a buffered one too: it fills the buffer whole, which a raw one, of a pipe above all, may not.
    return io.BufferedReader(file, START_BYTES)


def source_name(path: Path) -> str:
    """Return the name of a file, or of standard input, for messages."""
    return "standard input" if path == STANDARD_INPUT else str(path)
