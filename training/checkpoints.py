"""Checkpoints of a run: whole or absent, the last two kept."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

KEEP = 2
# A tied head is left out of a checkpoint, as it should be, and Accelerate warns of that at every one.
logging.getLogger("accelerate.utils.other").addFilter(lambda record: "shared tensor" not in record.getMessage())


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, progress: dict[str, Any]) -> None:
    """Write model, optimizer, schedule and `progress` as `folder/step-<number>`, and drop all but the last two."""
    beside = folder / f".step-{step:09d}.writing"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside))
    if accelerator.is_main_process:
        (beside / "progress.json").write_text(json.dumps({"step": step, **progress}, allow_nan=False))
        beside.rename(folder / f"step-{step:09d}")
        for old in checkpoints(folder)[:-KEEP]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*"))


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """The progress that was saved with a checkpoint."""
    return json.loads((checkpoint / "progress.json").read_text())
