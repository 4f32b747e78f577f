"""Folders that are whole or absent: written beside, then renamed."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place when the block ends well and vanishes when it does not."""
    beside, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("writing", "replaced"))
    _settle(folder, beside, replaced)  # after a run that was killed
    beside.mkdir(parents=True)
    try:
        yield beside
        if folder.exists():
            folder.rename(replaced)
        beside.rename(folder)
    finally:
        _settle(folder, beside, replaced)


def _settle(folder: Path, beside: Path, replaced: Path) -> None:
    """Back to one folder, wherever writing broke off: the new one if it is in place, else the old one."""
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    for rest in (beside, replaced):
        shutil.rmtree(rest, ignore_errors=True)


def sync(paths: Iterable[Path]) -> None:
    """Bring files and folders to the disk, so that a power cut cannot leave a name without its contents."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
