"""Checkpoints of a run: whole or absent, checked before one is used, the last few kept.

A checkpoint is a folder `step-<number>`: what Accelerate saves (model, optimizer, schedule, gradient scaler, the
random states of every process), `progress.json`, the best model so far, and `manifest.json` with the SHA-256 of every
other file. It is written beside, the manifest last, brought to the disk and then renamed.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from training.common.errors import InputError, as_write_error
from training.common.files import sync, written_whole

MANIFEST, PROGRESS, BEST = "manifest.json", "progress.json", "best"
# A tied head is left out of a checkpoint, as it should be, and Accelerate warns of that at every one.
logging.getLogger("accelerate.utils.other").addFilter(lambda record: "shared tensor" not in record.getMessage())


def save_checkpoint(accelerator: Accelerator, folder: Path, progress: dict[str, Any], best: Path, keep: int) -> None:
    """Write the run as `folder/step-<number>`, the folder `best` with it, and drop all but the last `keep`.

    Raises:
        InputError: if the disk is full or cannot be written; no half checkpoint is left then.
    """
    name = f"step-{progress['step']:09d}"
    beside = folder / f".{name}.writing"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        with as_write_error(folder / name):
            accelerator.save_state(str(beside))
            accelerator.wait_for_everyone()  # every process has put its random states there
            if accelerator.is_main_process:
                (beside / PROGRESS).write_text(json.dumps(progress, allow_nan=False))
                if best.exists():
                    shutil.copytree(best, beside / BEST)
                write_manifest(beside)
                beside.rename(folder / name)
                sync([folder])
    except InputError:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if accelerator.is_main_process:
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(accelerator: Accelerator, checkpoint: Path, best: Path) -> None:
    """Put back everything that `save_checkpoint` wrote; the folder `best` is then as it was at that time."""
    accelerator.load_state(str(checkpoint))
    if accelerator.is_main_process:
        shutil.rmtree(best, ignore_errors=True)
        if (checkpoint / BEST).exists():
            with as_write_error(best), written_whole(best) as beside:
                shutil.copytree(checkpoint / BEST, beside, dirs_exist_ok=True)
    accelerator.wait_for_everyone()


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first; `damage` tells whether one is still what was written."""
    return sorted(folder.glob("step-*"))


def half_written_checkpoints(folder: Path) -> list[Path]:
    """What is left of checkpoints that a killed run was writing."""
    return sorted(folder.glob(".step-*.writing"))


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """The progress that was saved with a checkpoint."""
    return json.loads((checkpoint / PROGRESS).read_text())


def write_manifest(checkpoint: Path) -> None:
    """Write the SHA-256 of every file, and have all of it on the disk before returning."""
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file())
    sums = {file.relative_to(checkpoint).as_posix(): sha256(file) for file in files}
    (checkpoint / MANIFEST).write_text(json.dumps(sums, indent=1))
    sync([*checkpoint.rglob("*"), checkpoint])


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in a few words; None for a whole one."""
    name = MANIFEST
    try:
        for name, expected in json.loads((checkpoint / MANIFEST).read_text()).items():
            if sha256(checkpoint / name) != expected:
                return f"{name} is not what was written"
    except FileNotFoundError:
        return f"{name} is missing"
    except (OSError, ValueError, AttributeError):
        return f"{name} cannot be read"
    return None


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
