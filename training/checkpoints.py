"""Checkpoints that are whole or absent: written beside, then renamed."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

KEEP = 2


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, progress: dict[str, Any]) -> None:
    """Write model, optimizer, schedule and `progress` as `folder/step-<number>`, and drop all but the last two."""
    beside = folder / f"writing-{step:09d}"
    if accelerator.is_main_process:
        shutil.rmtree(beside, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(beside))
    if accelerator.is_main_process:
        (beside / "progress.json").write_text(json.dumps({"step": step, **progress}))
        beside.rename(folder / f"step-{step:09d}")
        for old in checkpoints(folder)[:-KEEP]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> dict[str, Any]:
    """Restore model, optimizer and schedule, and return the progress that was saved with them."""
    accelerator.load_state(str(checkpoint))
    return json.loads((checkpoint / "progress.json").read_text())
