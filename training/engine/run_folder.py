"""The output folder of a run: who may write there, and where an interrupted run continues."""

import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from training.common.errors import InputError, as_input_error
from training.common.files import sync
from training.common.locks import lock_path
from training.common.progress import say
from training.engine.checkpoints import RUN_STATE, checkpoints, damage, partial_checkpoints
from training.engine.run_state import RunState

WORK_DIR = "unfinished_run"  # in the output folder, until the run has ended
RECORDS = ("loss_curve.png", "region_calibration.json", "test_guesses.json")  # of a model, beside those every run has
LOG_DIR = "logs"  # of a tracker
TEXTS = ("training texts", "validation texts")  # keys of a run's identity: lists of [file name, digest]


def is_finished(output_dir: Path) -> bool:
    """Whether the folder holds a model that no unfinished run is about to replace."""
    return (output_dir / "config.json").exists() and not checkpoints(output_dir / WORK_DIR)


def check_output_dir(output_dir: Path, resume: bool, overwrite: bool) -> None:
    """Check that a run may write to the folder without overwriting anything of the user's.

    Raises:
        InputError: if the folder holds other files, or a model or an unfinished run without a flag to continue or
            replace it.
    """
    if resume and overwrite:
        raise InputError("give --resume or --overwrite, not both")
    if output_dir.is_file():
        raise InputError(f"{output_dir} is a file: give a folder as --output_dir")
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if checkpoints(output_dir / WORK_DIR):
        if not (resume or overwrite):
            raise InputError(
                f"{output_dir} holds an unfinished run: continue it with --resume, or start over with --overwrite"
            )
    elif "config.json" in inside:
        if not overwrite:
            raise InputError(
                f"{output_dir} already holds a model: give another --output_dir, or --overwrite to replace it"
            )
    elif others := inside - {WORK_DIR, LOG_DIR, lock_path(output_dir).name}:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")


def prepare_work_dir(work_dir: Path, resume: bool, accelerator: Accelerator) -> None:
    """Create an empty folder to work in, or keep the one with the checkpoints to resume from.

    Raises:
        InputError: if the folder cannot be created, or another machine does not see it.
    """
    if accelerator.is_main_process:
        with as_input_error(OSError):
            if work_dir.exists() and not (resume and checkpoints(work_dir)):
                shutil.rmtree(work_dir)
            work_dir.mkdir(parents=True, exist_ok=True)
    accelerator.wait_for_everyone()
    if not work_dir.is_dir():
        raise InputError(f"{work_dir.parent}: not every process sees this folder: give one that all machines share")


def remove_work_dir(work_dir: Path) -> None:
    """Rename the working folder, then remove it, so that a half-removed one is not taken for an unfinished run."""
    removed = work_dir.with_name(f".{work_dir.name}.removed")
    if work_dir.exists():
        work_dir.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def find_start(work_dir: Path, identity: dict[str, Any], accelerator: Accelerator) -> tuple[Path | None, RunState]:
    """Find the checkpoint to resume from, the same one in every process, and the state of the run there.

    Args:
        identity: settings and inputs that must be unchanged.

    Returns:
        The checkpoint and its state; None and a new state if there is no checkpoint.

    Raises:
        InputError: if something in `identity` has changed, if all checkpoints are damaged, or if another version of
            this code wrote them.
    """
    found = [last_whole_checkpoint(work_dir) if accelerator.is_main_process else None]
    (checkpoint,) = broadcast_object_list(found)
    if checkpoint is None:
        return None, RunState(identity, accelerator.num_processes)
    state = RunState.read(checkpoint / RUN_STATE)
    check_same_run(checkpoint, state.identity, identity)
    if accelerator.is_main_process:
        say(f"resuming from step {state.step:,}")
        if state.processes != accelerator.num_processes:
            say(
                f"{state.processes} process(es) before, {accelerator.num_processes} now: the rest of the epoch "
                "is shared out anew, so no text is lost or seen twice; only the dropout differs"
            )
    state.processes = accelerator.num_processes
    return checkpoint, state


def last_whole_checkpoint(work_dir: Path) -> Path | None:
    """Return the newest undamaged checkpoint, or None if there are none; report damaged ones and set them aside.

    Raises:
        InputError: if every checkpoint is damaged.
    """
    for partial in partial_checkpoints(work_dir):
        say(f"{partial}: half-written, removed")
        shutil.rmtree(partial)
    damaged: list[Path] = []
    for checkpoint in reversed(checkpoints(work_dir)):
        if (fault := damage(checkpoint)) is None:
            for skipped in damaged:
                aside = skipped.with_name(f"damaged-{skipped.name}")
                shutil.rmtree(aside, ignore_errors=True)
                skipped.rename(aside)
            return checkpoint
        say(f"{checkpoint}: damaged ({fault}), skipped")
        damaged.append(checkpoint)
    if damaged:
        raise InputError(f"{work_dir}: every checkpoint is damaged: start over with --overwrite")
    return None


def check_same_run(checkpoint: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Check that a run is resumed with the settings and inputs that it started with.

    Raises:
        InputError: for the first one that has changed.
    """
    for name, value in now.items():
        if before.get(name) != value:
            if name in TEXTS:
                change = f"of the {name} {changed_file(before[name], value)}"
            else:
                change = f"{name} was {before.get(name)} and is now {value}"
            raise InputError(
                f"{checkpoint}: cannot resume, {change}: give the original one, or start over with --overwrite"
            )


def changed_file(before: list[list[str]], now: list[list[str]]) -> str:
    """Describe the first difference between two lists of files, each file a name and a digest."""
    names_before, names_now = ([name for name, _ in files] for files in (before, now))
    for name in names_before:
        if name not in names_now:
            return f"{name} is gone"
    for name in names_now:
        if name not in names_before:
            return f"{name} is new"
    for old, new in zip(before, now, strict=False):
        if old != new:
            return f"{new[0]} has changed" if old[0] == new[0] else f"{new[0]} is at another position in the list"
    return "the number of files has changed"


def put_in_place(finished: Path, output_dir: Path) -> None:
    """Move the results of a run out of its working folder; the run is finished once that folder is removed."""
    sync([*finished.iterdir()])
    for name in RECORDS:
        if not (finished / name).exists():
            (output_dir / name).unlink(missing_ok=True)  # of the model that is replaced
    for file in finished.iterdir():
        os.replace(file, output_dir / file.name)
    sync([output_dir])
    remove_work_dir(output_dir / WORK_DIR)
