"""Checkpoints of a run: complete or absent, verified before use, and only the last few kept.

A checkpoint is a folder `step-<number>`: what Accelerate saves (model, optimizer, schedule, gradient scaler, the
random states of every process), `run_state.json`, the best model so far, and `manifest.json` with the SHA-256 of every
other file. It is written under another name, the manifest last, flushed to the disk and then renamed.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator

from training.common.errors import InputError, as_write_error
from training.common.files import file_sha256, replace_folder, sync
from training.engine.run_state import RunState

MANIFEST, RUN_STATE, BEST = "manifest.json", "run_state.json", "best"


@contextmanager
def without_tied_warning() -> Iterator[None]:
    """Silence Accelerate's warning, at every checkpoint, that tied weights are stored once: that is intended."""
    logger = logging.getLogger("accelerate.utils.other")

    def is_other(record: logging.LogRecord) -> bool:
        return "shared tensor" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def save_checkpoint(accelerator: Accelerator, folder: Path, state: RunState, best: Path, keep: int) -> None:
    """Write the run as `folder/step-<number>`, with a copy of the best model, and remove all but the last `keep`.

    Raises:
        InputError: if the disk is full or not writable; then no partial checkpoint remains.
    """
    name = f"step-{state.step:09d}"
    partial = folder / f".{name}.writing"
    if accelerator.is_main_process:
        shutil.rmtree(partial, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with as_write_error(folder / name), without_tied_warning():
            accelerator.save_state(str(partial))
            accelerator.wait_for_everyone()  # until every process has written its random states
            if accelerator.is_main_process:
                state.write(partial / RUN_STATE)
                if best.exists():
                    shutil.copytree(best, partial / BEST)
                write_manifest(partial)
                partial.rename(folder / name)
                sync([folder])
    except InputError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if accelerator.is_main_process:
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, best: Path) -> None:
    """Restore what `save_checkpoint` wrote, the folder `best` included."""
    accelerator.load_state(str(checkpoint))
    if accelerator.is_main_process:
        shutil.rmtree(best, ignore_errors=True)
        if (checkpoint / BEST).exists():
            with as_write_error(best), replace_folder(best) as partial:
                shutil.copytree(checkpoint / BEST, partial, dirs_exist_ok=True)
    accelerator.wait_for_everyone()


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in a folder, oldest first, damaged ones included."""
    return sorted(folder.glob("step-*"))


def partial_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints that a killed run did not finish writing."""
    return sorted(folder.glob(".step-*.writing"))


def write_manifest(checkpoint: Path) -> None:
    """Write the SHA-256 of every file, and flush all of them to the disk."""
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file())
    sums = {file.relative_to(checkpoint).as_posix(): file_sha256(file) for file in files}
    (checkpoint / MANIFEST).write_text(json.dumps(sums, indent=1))
    sync([*checkpoint.rglob("*"), checkpoint])


def damage(checkpoint: Path) -> str | None:
    """Describe the damage to a checkpoint; None if every file is as it was written."""
    name = MANIFEST
    try:
        for name, expected in json.loads((checkpoint / MANIFEST).read_text()).items():
            if file_sha256(checkpoint / name) != expected:
                return f"{name} has changed since it was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, ValueError, AttributeError):
        return f"{name} cannot be read"
    return None
