"""What of a text could not be decoded, how much of a file that is, and in which encoding it seems to be."""

from contextlib import suppress
from dataclasses import dataclass, field

from charset_normalizer import from_bytes

from training.common.errors import InputError

MOST_UNDECODABLE = 0.02  # share of the lines or texts of a file; with more of them, the file is in another encoding
FIRST_CHECK = 1000  # lines or texts after which that share is looked at for the first time
SAMPLE_BYTES = 2**16  # what an encoding is guessed from
# Encodings in which Spanish is found; others differ from them in the letters of other languages.
_CANDIDATES = ["cp1252", "latin_1", "cp850", "mac_roman"]
_WIDE_CANDIDATES = ["utf_16_le", "utf_16_be"]  # a byte of every Latin character is zero


def unicode_error(text: str) -> UnicodeEncodeError | None:
    """Return the error of the first character that is no Unicode: half a surrogate pair, or an undecodable byte."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error
    return None


@dataclass
class DecodingCheck:
    """Counts what is read of a file, and refuses the file if more than a small share of that could not be decoded.

    Attributes:
        encoding: what the texts were decoded from, with lone surrogates for the bytes that could not be.
        counts_lines: whether lines of a text file are counted, whose encoding a flag may give, not texts.
    """

    name: str
    encoding: str = "utf-8"
    counts_lines: bool = False
    checked: int = 0
    undecodable: int = 0
    sample: bytearray = field(default_factory=bytearray)

    def count(self, text: str, error: UnicodeEncodeError | None) -> None:
        """Count a line or text with its `unicode_error`.

        Raises:
            InputError: as `check` does, once, after the first `FIRST_CHECK` of them.
        """
        self.checked += 1
        if error:
            self.undecodable += 1
            if len(self.sample) < SAMPLE_BYTES:
                with suppress(UnicodeEncodeError):  # of half a surrogate pair, which no byte stands for
                    self.sample += text[:SAMPLE_BYTES].encode(self.encoding, "surrogateescape") + b"\n"
        if self.checked == FIRST_CHECK:
            self.check()

    def check(self) -> None:
        """Check that little so far could not be decoded.

        Raises:
            InputError: if its share is over `MOST_UNDECODABLE`, with the encoding that the file seems to have.
        """
        if self.undecodable <= MOST_UNDECODABLE * self.checked:
            return
        found = likely_encoding(bytes(self.sample)) if self.sample else None
        if self.counts_lines:
            advice = f"it seems to be {found}: read it with --encoding {found}" if found else "convert it to UTF-8"
        elif self.sample:
            advice = f"they seem to be {found}: write them as UTF-8" if found else "write them as UTF-8"
        else:
            advice = "they hold halves of surrogate pairs, as of an emoji that was cut in two: mend or remove them"
        raise InputError(
            f"{self.name}: {self.undecodable:,} of {self.checked:,} {'lines' if self.counts_lines else 'texts'} are "
            f"not {self.encoding.upper().removesuffix('-SIG') if self.counts_lines else 'Unicode'}: {advice}"
        )


def likely_encoding(sample: bytes) -> str | None:
    """Guess the encoding of bytes that are not UTF-8; None if it is none that is used for Spanish."""
    candidates = _WIDE_CANDIDATES + _CANDIDATES if 0 in sample else _CANDIDATES
    best = from_bytes(sample, cp_isolation=candidates).best()
    if best is None:
        return None
    if best.encoding == "cp1252" and not any(0x80 <= byte < 0xA0 for byte in sample):
        return "latin-1"  # the two differ in these bytes only
    return best.encoding.replace("_", "-")
