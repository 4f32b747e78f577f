"""Files that hold texts, and datasets of the Hub: finding them, and the rows of each kind."""

import gzip
import json
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from datasets import load_dataset
from huggingface_hub.errors import HfHubHTTPError

from training.common.errors import InputError, as_input_error
from training.texts.columns import Columns, Row
from training.texts.lines import FileFormat, TextFile, source_name
from training.texts.report import LeaveOut, Reason
from training.texts.tables import csv_rows, parquet_rows, tsv_rows

Reader = Callable[[Path, Columns, FileFormat, LeaveOut], Iterator[Row]]
# The one field of lines of the Twitter API that are no tweets.
NOTICES = {"delete", "scrub_geo", "limit", "status_withheld", "user_withheld", "disconnect", "warning", "friends"}


def text_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield a row for each line of a text file."""
    if columns.label:
        raise InputError(f"{path}: a .txt file has no labels: give .jsonl, .csv, .tsv or .parquet")
    no_values = (None,) * (len(columns.names) - 1)
    for _, line in TextFile(path, file_format.encoding, leave_out).lines():
        yield line, *no_values


def json_rows(path: Path, columns: Columns, file_format: FileFormat, leave_out: LeaveOut) -> Iterator[Row]:
    """Yield a row for each JSON object, one a line; notices of the Twitter API are left out."""
    file = TextFile(path, file_format.encoding, leave_out)
    for where, record in json_objects(file, f'{{"{columns.text}": "..."}}'):
        if columns.text not in record and len(record) == 1 and not NOTICES.isdisjoint(record):
            leave_out(Reason.NOTICE, where)
        else:
            yield columns.row(record, where)


def json_objects(file: TextFile, example: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of every line that is not empty, and the JSON object that it holds.

    Raises:
        InputError: if a line holds anything else.
    """
    for number, line in file.lines():
        if not line.strip():
            continue
        where = f"{file.name}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError also for a number of thousands of digits
            raise InputError(f"{where}: not valid JSON ({error}): mend or remove the line") from error
        if not isinstance(record, dict):
            raise InputError(f"{where}: not a JSON object; a line looks like {example}")
        yield where, record


READERS: dict[str, Reader] = {
    ".txt": text_rows,
    ".jsonl": json_rows,
    ".ndjson": json_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".parquet": parquet_rows,
}


def find_files(paths: Sequence[str | Path], suffixes: Collection[str] = tuple(READERS)) -> tuple[Path, ...]:
    """Find the files that paths name, in order, each once; of a folder, all with a known suffix, sorted.

    Links to folders are followed. Hidden files, editors' backups and what is in hidden folders are not looked for in a
    folder; other files there are counted in a message.

    Args:
        suffixes: kinds of files that are known; each but .parquet may be packed with gzip, with .gz behind.

    Raises:
        InputError: if a path does not exist or cannot be read, is neither file nor folder, is of an unknown kind, or
            is a folder without any such file.
    """
    files: list[Path] = []
    others: dict[Path, list[Path]] = {}
    with as_input_error(OSError):  # a name too long, a folder that may not be entered
        for path in map(Path, paths):
            if path.is_dir():
                visible = sorted(_visible_files(path))
                inside = [file for file in visible if _is_known(file, suffixes)]
                if not inside:
                    raise InputError(
                        f"{path}: no corpus file in this folder (looked for {_known(suffixes)}; not hidden ones)"
                    )
                for file in inside:
                    _check_regular(file)
                files += inside
                others[path] = [file for file in visible if not _is_known(file, suffixes)]
            elif not path.exists() and not path.is_symlink():
                hint = " (for a dataset on the Hub use --dataset_name)" if suffixes == tuple(READERS) else ""
                raise InputError(f"{path}: no such file or folder{hint}")
            else:
                check_file(path, suffixes)
                files.append(path)
    _say_others({folder: unread for folder, unread in others.items() if unread})
    once = {file.resolve(): file for file in reversed(files)}  # of a file that is named twice, the first name
    if len(once) < len(files):
        _tell(f"named more than once, by links too, and read once: {len(files) - len(once):,}")
    return tuple(file for file in dict.fromkeys(files) if once[file.resolve()] == file)


def check_file(path: Path, suffixes: Collection[str] = tuple(READERS)) -> None:
    """Check that a path names a file of a known kind, which can be opened.

    Raises:
        InputError: if it does not.
    """
    with as_input_error(OSError):  # a name too long
        if path.is_dir():
            raise InputError(f"{path}: a folder: give a file")
        if not path.exists() and not path.is_symlink():
            raise InputError(f"{path}: no such file")
        if not _is_known(path, suffixes):
            raise InputError(f"{path}: unknown kind of file (known: {_known(suffixes)})")
        _check_regular(path)


def _known(suffixes: Collection[str]) -> str:
    return f"{', '.join(suffixes)}, each but .parquet also with .gz"


def _visible_files(folder: Path) -> Iterator[Path]:
    entered = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        visible = sorted(name for name in folders if not name.startswith("."))
        folders.clear()
        for name in sorted(visible, key=lambda name: Path(parent, name).is_symlink()):
            if (real := os.path.realpath(Path(parent, name))) not in entered:  # else a link leads back
                entered.add(real)
                folders.append(name)
        yield from (Path(parent, name) for name in names if not name.startswith((".", "~", "#")))


def _tell(message: str) -> None:
    """Print a line of the first process beside what a script writes to standard output."""
    if int(os.environ.get("RANK", 0)) == 0:
        print(message, file=sys.stderr)


def _say_others(others: dict[Path, list[Path]]) -> None:
    """Say how many files of folders are not read."""
    if others:
        kinds = Counter(file.suffix or "no suffix" for unread in others.values() for file in unread)
        named = ", ".join(kind for kind, _ in kinds.most_common(5)) + " ..." * (len(kinds) > 5)
        _tell(f"{', '.join(map(str, others))}: files of other kinds, which are not read: {kinds.total():,} ({named})")


def _refuse_folder(error: OSError) -> NoReturn:
    raise InputError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error


def _check_regular(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path}: a link to {os.readlink(path)}, which does not exist: mend or remove it")
    if not path.is_file():
        raise InputError(f"{path}: a pipe or device, not a file: write the texts to a file first")


def kind_of(path: Path) -> str:
    """Return the suffix that says the kind of a file, in lower case and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _is_known(path: Path, suffixes: Collection[str]) -> bool:
    return kind_of(path) in suffixes and not path.name.lower().endswith(".parquet.gz")


def file_rows(path: Path, columns: Columns, file_format: FileFormat, on_left_out: LeaveOut) -> Iterator[Row]:
    """Yield the rows of a file, one after the other, in bounded memory.

    Args:
        on_left_out: called with the reason and the place of each text that cannot be given.

    Raises:
        InputError: if the file cannot be read as what its name says, with the line.
    """
    with readable(path):
        yield from READERS[kind_of(path)](path, columns, file_format, on_left_out)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the errors of a file that cannot be read, or not be unpacked, into an `InputError`.

    Raises:
        InputError: for each of them, in one line.
    """
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}): fetch or pack it again") from error
    except OSError as error:
        raise InputError(f"{source_name(path)}: cannot be read ({error.strerror or error})") from error


def hub_rows(name: str, config: str | None, split: str, commit: str, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a dataset on the Hub at a commit, as they arrive.

    Raises:
        InputError: if it cannot be fetched, or lacks a column.
    """
    with as_input_error(ValueError, OSError, HfHubHTTPError):
        for record in load_dataset(name, config, split=split, revision=commit, streaming=True):
            yield columns.row(record, f"dataset {name}")
