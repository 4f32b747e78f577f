"""Errors that the user can mend: one clear line and exit status 2, never a traceback."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError

from training.common.beginning import AGAIN, INTERRUPTED, end_of_imports, tell
from training.common.progress import keep_bars_out_of_logs

UNREAD = 141  # the exit status that shells give for SIGPIPE
# What the system says of a disk or folder that takes no more; libraries in C++ and Rust repeat its words.
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
# What torch and numpy make of it.
_UNFINISHED = ("inline_container", "file write failed", "requested and")


class InputError(Exception):
    """What is wrong with the input, where, and what to do, in one line."""


@contextmanager
def as_input_error(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors into an `InputError`: for code that opens what the user named.

    Raises:
        InputError: for each of them, in one line.
    """
    try:
        yield
    except errors as error:
        raise InputError(writing_failure(error) or " ".join(str(error).split())) from error


@contextmanager
def as_write_error(path: Path) -> Iterator[None]:
    """Turn errors of writing a part of a run into an `InputError`: a full disk loses nothing that was saved before.

    Raises:
        InputError: if there is no room or no permission.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = writing_failure(error)
        if reason is None and isinstance(error, RuntimeError):
            raise
        reason = reason or " ".join(str(error).split())
        free = shutil.disk_usage(path.parent).free / 2**20
        raise InputError(
            f"{path} could not be written ({reason}; {free:,.1f} MiB free on that disk): make room, or permit it"
        ) from error


@contextmanager
def resumable(is_begun: Callable[[], object]) -> Iterator[None]:
    """Have Ctrl-C or a full disk in the block end with the advice to use --resume, if there is something to continue.

    Args:
        is_begun: whether there is.
    """
    try:
        yield
    except BaseException as error:
        if (isinstance(error, KeyboardInterrupt) or _reason(error)) and is_begun():
            instead = " in place of --overwrite" if "--overwrite" in sys.argv else ""
            error.add_note(f"continue with the same command and --resume{instead}")
        raise


def writing_failure(error: BaseException) -> str | None:
    """Say why a file could not be written, if an error is about that; None if not."""
    text = " ".join(str(error).split())
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of copytree, for every file
        text = str(error.args[0][0][-1])
    if any(part in text for part in _UNFINISHED):
        return "a file could not be finished: is the disk full?"
    in_words = any(os.strerror(code) in text for code in _NOT_WRITABLE)
    if in_words or (isinstance(error, OSError) and error.errno in _NOT_WRITABLE):
        return f"{text}; for another cache folder, set HF_HOME" if HF_HOME in text else text
    return None


def _reason(error: BaseException) -> str | None:
    """Say why a file could not be written, if that led to an error; None if not."""
    return next(filter(None, map(writing_failure, _causes(error))), None)


def _notes(error: BaseException) -> list[str]:
    """Return the advice of `resumable`."""
    return getattr(error, "__notes__", [])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's `main`, which ends with one line where the user can mend what went wrong.

    Wrong input, a full disk and a folder that is not writable have status 2, Ctrl-C 130, and a reader of the output
    that has gone, such as `head`, 141.
    """
    keep_bars_out_of_logs()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files may hold bytes that are not UTF-8
            stream.reconfigure(errors="backslashreplace")
    try:
        end_of_imports()
        main()
        sys.stdout.flush()
    except InputError as error:
        _end(2, "; ".join([f"error: {error}", *_notes(error)]))
    except KeyboardInterrupt as error:
        _end(INTERRUPTED, f"interrupted: {'; '.join(_notes(error)) or AGAIN}")
    except BrokenPipeError:
        _end(UNREAD)
    except Exception as error:
        if (reason := _reason(error)) is None:
            raise
        advice = "; ".join(_notes(error)) or AGAIN
        _end(2, f"error: {reason}: make room or give another folder, and {advice}")
    _end(0)


def _end(status: int, message: str | None = None) -> NoReturn:
    if message:
        tell(message)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try it once more at its end, and take another status
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
