"""The output folder of a run: what may be written there, and where an interrupted run goes on."""

import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from training.checkpoints import checkpoints, read_progress
from training.errors import InputError, as_input_error

WORK_DIR = "unfinished_run"  # in the output folder, until the run has ended
LOG_DIR = "logs"  # of a tracker


def is_finished(output_dir: Path) -> bool:
    """Whether the folder holds a model, and no run that would replace it is under way."""
    return (output_dir / "config.json").exists() and not checkpoints(output_dir / WORK_DIR)


def check_output_dir(output_dir: Path, resume: bool, overwrite: bool) -> None:
    """Nothing of the user's is overwritten: the folder is new, empty, or one of ours and meant to be written."""
    if resume and overwrite:
        raise InputError("give --resume or --overwrite, not both")
    if output_dir.is_file():
        raise InputError(f"{output_dir} is a file: give a folder as --output_dir")
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if checkpoints(output_dir / WORK_DIR):
        if not (resume or overwrite):
            raise InputError(
                f"{output_dir} holds an unfinished run: go on with --resume, or begin anew with --overwrite"
            )
    elif "config.json" in inside:
        if not overwrite:
            raise InputError(
                f"{output_dir} already holds a model: give another --output_dir, or --overwrite to replace it"
            )
    elif others := inside - {WORK_DIR, LOG_DIR}:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")


def prepare_work_dir(work_dir: Path, resume: bool, accelerator: Accelerator) -> None:
    """An empty folder to work in, unless there is a checkpoint to go on from."""
    if accelerator.is_main_process:
        with as_input_error(OSError):
            if work_dir.exists() and not (resume and checkpoints(work_dir)):
                shutil.rmtree(work_dir)
            work_dir.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()


def begin_or_resume(work_dir: Path, run: dict[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    """Where the run stands: at its beginning, or at its last checkpoint, which is then loaded.

    Args:
        run: what has to be the same for the run to go on.

    Raises:
        InputError: if the checkpoint is of a run with another value of something in `run`.
    """
    found = checkpoints(work_dir)
    if not found:
        return {"step": 0, "seconds": 0.0, "tokens": 0, "texts": 0, "best": None, "history": [], "run": run}
    progress = read_progress(found[-1])
    for name, value in run.items():
        if progress["run"].get(name) != value:
            raise InputError(
                f"{found[-1]}: cannot resume, {name} was {progress['run'].get(name)} and is now {value}: "
                "give what the run began with, or begin anew with --overwrite"
            )
    accelerator.load_state(str(found[-1]))
    if accelerator.is_main_process:
        tqdm.write(f"going on from step {progress['step']:,}")
    return progress
