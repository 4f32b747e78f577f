"""The columns that make a row of a corpus, and the names of labels, the same from every kind of file."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.common.errors import InputError

# A text, then its values in the label column, the optional ones and the group column; None where there is no value.
Row = tuple[str | None, ...]
MISSING = ("", "nan", "<na>", "na", "n/a")  # as pandas, R and spreadsheets write missing values
_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+(?=e))(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
# Fields in which the Twitter API keeps the text of a tweet that has no field `text`.
_TWEET_FIELDS = {
    "full_text": "the text of these tweets is in full_text: give --text_column full_text",
    "extended_tweet": "the text of these tweets is in full_text inside extended_tweet: copy it to a field of its own",
}


@dataclass(frozen=True)
class Columns:
    """Names of the columns that a row holds.

    Files must have the columns `text` and `label`; they may lack the `optional` ones and `group`.
    """

    text: str = "text"
    label: str | None = None
    optional: tuple[str, ...] = ()
    group: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in the order of a row."""
        return (self.text, *filter(None, (self.label, *self.optional, self.group)))

    def check(self, present: Iterable[str], where: str) -> None:
        """Check that the columns of a file or record are those that a row needs.

        Raises:
            InputError: if the text column or the label column is missing, or a column of a row is there twice.
        """
        present = list(present)
        for flag, column in (("--text_column", self.text), ("--label_column", self.label)):
            if column and column not in present:
                names = ", ".join(" ".join(name.split()) for name in present) or "none"
                hint = f"name the right one with {flag}"
                if column == "text":
                    hint = next((_TWEET_FIELDS[name] for name in present if name in _TWEET_FIELDS), hint)
                raise InputError(f"{where}: no column {column!r}; there are: {names}; {hint}")
        counts = Counter(present)
        for column in self.names:
            if counts[column] > 1:
                raise InputError(f"{where}: {counts[column]} columns are named {column!r}: rename all but one")

    def row(self, record: Mapping[str, Any], where: str) -> Row:
        """Make the row of a record, which may hold more fields.

        Raises:
            InputError: if a required field is missing, the text is not a string, or another value is no category.
        """
        if self.text not in record or (self.label and self.label not in record):
            self.check(record, where)
        text = record[self.text]
        if not isinstance(text, str | None):
            raise InputError(f"{where}: {self.text!r} is of type {type(text).__name__}, not a string")
        values = []
        for column in self.names[1:]:
            try:
                values.append(category(record.get(column)))
            except ValueError as error:
                raise InputError(f"{where}: {column!r} {error}") from error
        return text, *values


def category(value: Any) -> str | None:
    """Return the name of a label or another category; None for a missing value.

    The name does not depend on the kind of file: 1, 1.0, "1" and "1.0" are "1"; True, "True" and "TRUE" are "true".

    Raises:
        ValueError: for a fraction, or a value that is no string, number or boolean.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        value = value.strip()
        lower = value.lower()
        if lower in MISSING:
            return None
        if not _DECIMAL.fullmatch(value):
            return lower if lower in ("true", "false") else value
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"holds a float, not a string or whole number: {value}")
        value = int(value)
    if isinstance(value, int):
        return str(value)
    raise ValueError(f"holds a {type(value).__name__}, not a string or whole number")


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sort the distinct names: as numbers if all are whole numbers, else as strings."""
    distinct = set(names)
    whole = all(re.fullmatch(r"-?\d{1,18}", name, re.ASCII) for name in distinct)
    return sorted(distinct, key=lambda name: (int(name), name)) if whole else sorted(distinct)


def likely_delimiter(header: Sequence[str], text_column: str) -> str | None:
    """Return the character that seems to separate the columns of a header that was split at another one."""
    for delimiter in ";\t|,":
        joined = [name for name in header if delimiter in name]
        if any(text_column in name.split(delimiter) for name in joined) or (joined and len(header) == 1):
            return delimiter
    return None
