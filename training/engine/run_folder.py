"""The output folder of a run: what may be written there, and where an interrupted run goes on."""

import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from tqdm import tqdm

from training.common.errors import InputError, as_input_error
from training.common.files import sync
from training.engine.checkpoints import checkpoints, damage, half_written_checkpoints, read_progress

WORK_DIR = "unfinished_run"  # in the output folder, until the run has ended
LOG_DIR = "logs"  # of a tracker
TEXTS = ("training texts", "validation texts")  # what a run is told of its files, each a name and a digest


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
    if not work_dir.is_dir():
        raise InputError(f"{work_dir.parent}: not seen by every process: give a folder that all machines share")


def remove_work_dir(work_dir: Path) -> None:
    """The run has ended. Renamed first, so that a folder half removed is not taken for an unfinished run."""
    removed = work_dir.with_name(f".{work_dir.name}.removed")
    if work_dir.exists():
        work_dir.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def find_start(work_dir: Path, run: dict[str, Any], accelerator: Accelerator) -> tuple[Path | None, dict[str, Any]]:
    """The checkpoint to go on from, the same one in every process (None: begin), and the progress made until then.

    Args:
        run: what has to be the same for the run to go on.

    Raises:
        InputError: if the checkpoint is of a run with another value of something in `run`, or if all are damaged.
    """
    found = [None]
    if accelerator.is_main_process:
        found = [last_whole_checkpoint(work_dir)]
    (checkpoint,) = broadcast_object_list(found)
    if checkpoint is None:
        return None, {
            "step": 0,
            "evaluated_step": 0,
            "seconds": 0.0,
            "tokens": 0,
            "texts": 0,
            "bad_batches": 0,
            "unlogged": [0.0, 0.0, 0],
            "best": None,
            "history": [],
            "processes": accelerator.num_processes,
            "run": run,
        }
    progress = read_progress(checkpoint)
    check_same_run(checkpoint, progress["run"], run)
    if accelerator.is_main_process:
        tqdm.write(f"going on from step {progress['step']:,}")
        if progress["processes"] != accelerator.num_processes:
            tqdm.write(
                f"{progress['processes']} process(es) before, {accelerator.num_processes} now: what is left of the "
                "epoch is shared out anew, no text is lost or seen twice; only the dropout differs"
            )
    progress["processes"] = accelerator.num_processes
    return checkpoint, progress


def last_whole_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint that is what was written; what is damaged is named and set aside."""
    for half_written in half_written_checkpoints(work_dir):
        tqdm.write(f"{half_written}: half-written, removed")
        shutil.rmtree(half_written)
    damaged = []
    for checkpoint in reversed(checkpoints(work_dir)):
        if (fault := damage(checkpoint)) is None:
            for passed_over in damaged:
                aside = passed_over.with_name(f"damaged-{passed_over.name}")
                shutil.rmtree(aside, ignore_errors=True)
                passed_over.rename(aside)
            return checkpoint
        tqdm.write(f"{checkpoint}: damaged ({fault}), passed over")
        damaged.append(checkpoint)
    if damaged:
        raise InputError(f"{work_dir}: no checkpoint is whole: begin anew with --overwrite")
    return None


def check_same_run(checkpoint: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            if name in TEXTS:
                change = f"of the {name} {changed_file(before[name], value)}"
            else:
                change = f"{name} was {before.get(name)} and is now {value}"
            raise InputError(
                f"{checkpoint}: cannot resume, {change}: give what the run began with, or begin anew with --overwrite"
            )


def changed_file(before: list[list[str]], now: list[list[str]]) -> str:
    """The first difference between two lists of files, each a name and a digest."""
    names_before, names_now = ([name for name, _ in files] for files in (before, now))
    for name in names_before:
        if name not in names_now:
            return f"{name} is gone"
    for name in names_now:
        if name not in names_before:
            return f"{name} is new"
    for old, new in zip(before, now, strict=False):
        if old != new:
            return f"{new[0]} has changed" if old[0] == new[0] else f"{new[0]} stands at another place"
    return "the number of files has changed"


def put_in_place(finished: Path, output_dir: Path) -> None:
    """Move what a run made out of its working folder; only when that is gone the run counts as finished."""
    sync([*finished.iterdir()])
    for file in finished.iterdir():
        os.replace(file, output_dir / file.name)
    sync([output_dir])
    remove_work_dir(output_dir / WORK_DIR)
