"""Where the stages run: in processes of this machine, as jobs of SLURM, or on a Ray cluster, by datatrove."""

import os
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor, SlurmPipelineExecutor
from datatrove.utils.stats import PipelineStats
from loguru import logger

from training.common.errors import InputError
from training.common.progress import say
from training.corpus_preparation.stages import Stage


class _Local(LocalPipelineExecutor):
    """Keeps datatrove's log in its files: an error is shown once, as one line."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
            try:
                return super()._run_for_rank(rank, local_rank, node_rank)
            finally:
                silence_log()


def silence_log() -> None:
    """Keep what datatrove logs off standard error, as it does when it is imported and after each task."""
    logger.remove()


def run_locally(stages: Sequence[Stage], logs: Path, workers: int) -> None:
    """Run the stages one after the other, each in several processes.

    Raises:
        InputError: as the steps do.
    """
    multiprocess.set_forkserver_preload([Stage.__module__])  # import the libraries once, not in every process
    for number, stage in enumerate(stages, start=1):
        say(f"{number} of {len(stages)}: {stage.name}, {stage.tasks:,} tasks")
        _Local(list(stage.steps), stage.tasks, min(workers, stage.tasks), logging_dir=str(logs / stage.name)).run()


def check_executor(name: str) -> None:
    """Raise `InputError` if what an executor needs is not here."""
    if name == "ray" and find_spec("ray") is None:
        raise InputError("--executor ray needs Ray: pip install 'ray[default]'")
    folders = os.get_exec_path()
    if name == "slurm" and not any(os.access(Path(folder, "sbatch"), os.X_OK) for folder in folders):
        raise InputError("--executor slurm: no sbatch here: start this script where jobs are submitted")


def run_on_ray(stages: Sequence[Stage], logs: Path, workers: int) -> None:
    """Run the stages one after the other on the Ray cluster that is connected.

    Raises:
        InputError: as the steps do.
    """
    for stage in stages:
        executor = RayPipelineExecutor(
            list(stage.steps), stage.tasks, min(workers, stage.tasks), logging_dir=str(logs / stage.name)
        )
        executor.run()


def submit_to_slurm(stages: Sequence[Stage], logs: Path, workers: int, settings: dict[str, Any]) -> None:
    """Submit the stages as job arrays, each of which waits for the one before it, and return.

    Args:
        settings: arguments of `SlurmPipelineExecutor`.
    """
    executor: SlurmPipelineExecutor | None = None
    for stage in stages:
        executor = SlurmPipelineExecutor(
            list(stage.steps),
            stage.tasks,
            workers=min(workers, stage.tasks),
            job_name=f"prepare-{stage.name}",
            logging_dir=str(logs / stage.name),
            depends=executor,
            **settings,
        )
    if executor is not None:
        executor.run()  # submits those that it depends on first
