"""Files and folders that are whole or absent: written beside, then renamed."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeling_bilma.file_modes import give_default_modes
from training.common.errors import InputError, writing_failure


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` at the end of the block, or is removed if the block fails.

    Its files get the modes that the umask gives.
    """
    beside, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("writing", "replaced"))
    _settle(folder, beside, replaced)  # after a run that was killed
    beside.mkdir(parents=True)
    try:
        yield beside
        give_default_modes(beside)
        if folder.exists():
            folder.rename(replaced)
        beside.rename(folder)
    finally:
        _settle(folder, beside, replaced)


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Write an output folder as `replace_folder` does.

    Raises:
        InputError: if it cannot be written.
    """
    with _as_output_error(folder), replace_folder(folder) as beside:
        yield beside


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = writing_failure(error)
        if reason is None and not isinstance(error, OSError):
            raise
        reason = reason or " ".join(str(error).split())
        raise InputError(f"{path} cannot be written ({reason}): make room, or give another folder") from error


def _settle(folder: Path, beside: Path, replaced: Path) -> None:
    """Keep one folder, wherever writing broke off: the new one if it is in place, else the old one."""
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    for rest in (beside, replaced):
        shutil.rmtree(rest, ignore_errors=True)


def sync(paths: Iterable[Path]) -> None:
    """Flush files and folders to the disk, so that a power cut cannot leave a name without its contents."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object as `write_text` does; numbers that are not finite are an error."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file, which is whole or as it was before.

    Raises:
        InputError: if it cannot be written.
    """
    with _as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as beside:
            # Names of files may hold bytes that are not UTF-8; their escapes are valid in JSON, too.
            beside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield the path of a new file that replaces `path` at the end of the block, or is removed if the block fails."""
    beside = path.with_name(f".{path.name}.writing")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: if it is missing, or holds no JSON object.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: missing, and the card is made from it: publish what pretrain.py or finetune.py wrote"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object")
    return content
