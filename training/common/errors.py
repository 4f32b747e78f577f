"""Errors that the user can mend: one clear line and exit status 2, never a traceback."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from safetensors import SafetensorError

INTERRUPTED = 130  # the exit status that shells give for SIGINT


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
        raise InputError(" ".join(str(error).split())) from error


@contextmanager
def as_write_error(path: Path) -> Iterator[None]:
    """Turn errors of writing a part of a run into an `InputError`: a full disk loses nothing that was saved before.

    Raises:
        InputError: if there is no room or no permission.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # What a full disk makes of torch.save says nothing of the disk.
        of_torch_save = "inline_container" in str(error) or "file write failed" in str(error)
        if isinstance(error, RuntimeError) and not of_torch_save:
            raise
        free = shutil.disk_usage(path.parent).free / 2**20
        reason = "the file could not be finished" if of_torch_save else " ".join(str(error).split())
        raise InputError(
            f"{path} could not be written ({reason}; {free:,.1f} MiB free on that disk): mend that and go on with "
            "--resume; what was written before is kept"
        ) from error


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's `main`; wrong input ends it with one line and status 2, Ctrl-C with one line and status 130."""
    try:
        main()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted: run the same command again", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)
