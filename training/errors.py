"""Errors that are the user's to mend: one clear line and exit status 2, never a traceback."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class InputError(Exception):
    """What is wrong with the input, where, and what to do, in one line."""


@contextmanager
def as_input_error(*errors: type[Exception]) -> Iterator[None]:
    """Around the opening of something the user named: these errors are about the input, not about our code."""
    try:
        yield
    except errors as error:
        raise InputError(" ".join(str(error).split())) from error


def run(main: Callable[[], None]) -> NoReturn:
    """Run a script's `main`, and end with status 2 and one line on stderr where the input was wrong."""
    try:
        main()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)
