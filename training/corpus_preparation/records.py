"""Records of raw dumps: lines of the Twitter API, CSV, TSV and Parquet, and what is where in them."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PosixPath
from typing import Any

import pyarrow as pa

from training.common.errors import InputError
from training.inference.tables import Table, read_rows
from training.texts.files import NOTICES, find_files, readable
from training.texts.lines import BOMB_BYTES, BOMB_RATIO, FileFormat, TextFile
from training.texts.report import LeaveOut

Record = dict[str, Any]
MOST_UNREADABLE = 0.02  # share of the lines of a file that are no JSON objects; with more of them, it is no JSONL
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".csv", ".tsv", ".parquet")
# Where the Twitter API keeps the whole text, the author and the program that posted, in its versions 1.1 and 2.
TWEET_TEXTS = ("extended_tweet.full_text", "full_text", "text")
TWEET_AUTHORS = ("user.id_str", "user.id", "author_id")
TWEET_RETWEETS = ("retweeted_status", "retweeted_status_id", "retweeted_status_id_str")


def find_dumps(paths: Sequence[str]) -> tuple[Path, ...]:
    """Find the dumps that paths name, sorted by path, so that a file always has the same number.

    Raises:
        InputError: if a path does not exist or is of an unknown kind, a folder holds no dump, or no path is given.
    """
    if not paths:
        raise InputError("--input: give the files or folders of the dumps")
    files = sorted(find_files(paths, (*_JSON, *_TABLES, ".zst")))
    for file in files:
        if file.suffix.lower() == ".zst" and _format(file) != "jsonl":
            raise InputError(f"{file}: .zst is known for JSON lines only: unpack it, or pack it with gzip")
    return tuple(files)


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return "jsonl" if name.endswith(_JSON) else Path(name).suffix.removeprefix(".")


def read_records(
    path: Path, text_column: str, file_format: FileFormat, leave_out: LeaveOut
) -> Iterator[Record | None]:
    """Yield the records of a dump in constant memory; None for a line that is no JSON object.

    Args:
        text_column: column of a table that should be there.
        leave_out: called for every line that is not decodable or too long.

    Raises:
        InputError: if the file is damaged or in another encoding, or over `MOST_UNREADABLE` of its lines are no JSON
            objects.
    """
    if _format(path) == "jsonl":
        return _json_records(path, file_format.encoding, leave_out)
    return read_rows(Table(str(path), _format(path), file_format), text_column, leave_out)


def _json_records(path: Path, encoding: str | None, leave_out: LeaveOut) -> Iterator[Record | None]:
    number = unreadable = 0
    with readable(path):
        file = TextFile(_ZstPath(path) if path.suffix.lower() == ".zst" else path, encoding, leave_out)
        if file.head().lstrip().startswith("["):
            raise InputError(f"{path}: a JSON list: write one object a line, as `jq -c '.[]'` does")
        for _, line in file.lines():
            if line.strip():
                record = _parsed(line)
                number, unreadable = number + 1, unreadable + (record is None)
                yield record
    if unreadable > max(1, MOST_UNREADABLE * number):  # a download that broke off damages one line
        raise InputError(
            f"{path}: {unreadable:,} of {number:,} lines are no JSON objects: write one a line, as `jq -c .` does"
        )


class _ZstPath(PosixPath):
    """The path of a file packed with zstd, which opens unpacked."""

    def open(self, *_: Any) -> io.BufferedReader:  # type: ignore[override]
        return io.BufferedReader(_Zst(self))


class _Zst(io.RawIOBase):
    """The content of a file packed with zstd.

    Raises:
        InputError: if the file is damaged, or unpacks without end.
    """

    def __init__(self, path: Path):
        self.path, self.unpacked = path, 0
        self.file = pa.input_stream(str(path), compression="zstd")  # knows a truncated stream from its end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            length = self.file.readinto(buffer)
        except OSError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path}: damaged zst file ({reason}): fetch or pack it again") from error
        self.unpacked += length
        if self.unpacked > BOMB_BYTES and self.unpacked > BOMB_RATIO * self.path.stat().st_size:
            raise InputError(f"{self.path}: unpacks to over {BOMB_RATIO} times its size: no text does, it is damaged")
        return length


def _parsed(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # ValueError also for a number of thousands of digits
        return None
    return _unwrapped(record) if isinstance(record, dict) else None


def _unwrapped(record: Record) -> Record:
    """Return the tweet of a line of version 2's stream, with its author and place under the names of version 1.1."""
    tweet = record.get("data")
    if not isinstance(tweet, dict):
        return record
    included = {
        "user": _included(record, "includes.users", tweet.get("author_id")),
        "place": _included(record, "includes.places", value_at(tweet, "geo.place_id")),
    }
    return tweet | {name: value for name, value in included.items() if value is not None}


def _included(record: Record, path: str, number: Any) -> Any:
    listed = value_at(record, path)
    objects = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return next((one for one in objects if one.get("id") == number), None)


def value_at(record: Any, path: str) -> Any:
    """Return the value of a column, or of a field inside fields, such as `user.location`; None if there is none."""
    if isinstance(record, Mapping) and path in record:
        return record[path]
    value = record
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


def first_value(record: Mapping[str, Any], paths: Sequence[str]) -> Any:
    """Return the first value that is there among several fields."""
    return next((value for path in paths if (value := value_at(record, path)) not in (None, "")), None)


def is_notice(record: Record) -> bool:
    """Tell whether a record of the Twitter API is no tweet but a notice, such as of a deletion."""
    return len(record) == 1 and not NOTICES.isdisjoint(record)


def is_retweet(record: Record, text: str) -> bool:
    """Tell whether a record repeats another one, by its fields or by the beginning of its text."""
    references = record.get("referenced_tweets")
    types = [value_at(one, "type") for one in references] if isinstance(references, list) else []
    return first_value(record, TWEET_RETWEETS) is not None or "retweeted" in types or text.startswith("RT @")
