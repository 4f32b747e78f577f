"""Locks of outputs: two runs that write to one place would replace each other's results."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from training.common.errors import InputError, as_input_error


@contextmanager
def only_run_in(output_dir: Path) -> Iterator[None]:
    """Lock an output folder, or file, against other runs while the block runs.

    The lock is an advisory one on a file beside the folder, and ends with the process. Of several processes that train
    together, the first one holds it.

    Raises:
        InputError: if another run holds the lock, or the file cannot be created.
    """
    if int(os.environ.get("RANK", 0)) > 0:
        yield
        return
    path = lock_path(output_dir)
    if path.parent.is_file():
        raise InputError(f"{path.parent} is a file, so {output_dir} cannot be created in it: give another place")
    with as_input_error(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(f"{output_dir}: {describe_holder(path)}: wait for it to end, or stop it") from error
        holder = {"host": socket.gethostname(), "process": os.getpid(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
        path.write_text(json.dumps(holder))
    try:
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # before the lock is released: whoever waits for it notices and creates a new file
        lock.release()


def lock_path(output_dir: Path) -> Path:
    """Return the lock file of an output folder: beside it, so that the folder itself can be replaced.

    It is inside the folder if the parent folder is not writable, as with a folder mounted into a container.
    """
    folder = output_dir.resolve()
    beside = not folder.parent.exists() or os.access(folder.parent, os.W_OK)
    return (folder.parent if beside else folder) / f".{folder.name}.lock"


def describe_holder(path: Path) -> str:
    """Describe the run that holds a lock, as far as its file says."""
    try:
        holder = json.loads(path.read_text())
        return f"another run writes there (process {holder['process']} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):  # the file exists but is not written yet
        return "another run writes there (just begun)"
