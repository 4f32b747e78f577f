"""Train the whole family: vocabulary, base, a model of each region, Emoji-15 models, and the comparisons.

    python training/train_family.py --corpora corpora --labelled emoji15.jsonl.gz --output_dir runs/family --estimate
    python training/train_family.py --corpora corpora --labelled emoji15.jsonl.gz --output_dir runs/family
    python training/train_family.py --corpora corpora --ways adapted scratch one_model --output_dir runs/ways

Everything is decided by one recipe, training/recipes/family.yaml, and those that it names. Each stage is one of the
other scripts, run with a command that is printed and can be given alone. The same command goes on after an
interruption: stages whose result is there are skipped, and an unfinished training is resumed. A stage that was begun
with another recipe, corpus or base is refused, never taken. SIGTERM or Ctrl-C reaches the script that runs, which
writes a checkpoint; the exit status is then 75.
"""

import fcntl
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from training import family_estimate, family_texts
from training.arguments import parse_arguments
from training.errors import InputError, as_input_error, run
from training.family_arguments import TrainFamilyArguments, check_arguments
from training.family_plan import plan
from training.family_stages import Stage
from training.regions import REGIONS
from training.signals import STOPPED


def main() -> None:
    args = parse_arguments(TrainFamilyArguments, __doc__.splitlines()[0])
    check_arguments(args)
    regions = family_texts.read_regions(args.corpora, args.labelled)
    for line in family_texts.describe(regions, sorted(REGIONS)):
        say(line)
    family_texts.check_enough(regions, args.test_fraction)
    stages = plan(args, regions)
    for stage in stages:
        stage.resolved()  # a recipe that is wrong is said now, and not after hours
    with the_only_run_in(Path(args.output_dir)) as lock, Scripts(lock) as scripts:
        vocabulary, *others = stages
        make(vocabulary, 1, len(stages), scripts)
        estimate([stage for stage in others if not stage.is_finished()], scripts)
        if args.estimate:
            return
        for number, stage in enumerate(others, start=2):
            make(stage, number, len(stages), scripts)


@contextmanager
def the_only_run_in(home: Path) -> Iterator[IO[str]]:
    """The file whose lock this run holds, and whatever script it started, even if it outlives it.

    Raises:
        InputError: if another run holds it.
    """
    with as_input_error(OSError):
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{home}: another run is at work there, or a script that it started: wait, or end it"
            ) from error
        yield lock


class Scripts:
    """Runs one script at a time and passes on to it what this process is told to stop by.

    A script runs in a process group of its own, so that Ctrl-C in a terminal does not reach it twice, which would end
    it at once.
    """

    def __init__(self, lock: IO[str]):
        self.lock = lock
        self.stopped = ""
        self.child: subprocess.Popen | None = None

    def __enter__(self) -> "Scripts":
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self.before = {number: signal.signal(number, self._stop) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str], stdout: int | None = None) -> tuple[int, str]:
        """The exit status, and what was written if `stdout` is a pipe."""
        self.child = subprocess.Popen(
            command, stdout=stdout, text=True, process_group=0, pass_fds=[self.lock.fileno()]
        )
        if self.stopped:  # before there was a child to tell
            self.child.terminate()
        written, _ = self.child.communicate()
        status, self.child = self.child.returncode, None
        return status, written

    def check_not_stopped(self) -> None:
        """End with status 75 if a signal came; what was interrupted goes on, or begins anew, another time."""
        if self.stopped:
            say(f"stopped by {self.stopped}: go on with the same command, {own_command()}")
            sys.exit(STOPPED)

    def _stop(self, number: int, _: FrameType | None) -> None:
        again = self.stopped == signal.SIGINT.name == signal.Signals(number).name
        self.stopped = signal.Signals(number).name
        if self.child:
            (self.child.kill if again else self.child.terminate)()


def make(stage: Stage, number: int, count: int, scripts: Scripts) -> None:
    """Run the stage, or go on with it, unless its result is there.

    Raises:
        InputError: if it was begun with something else, or its script fails.
    """
    identity = stage.identity()
    stage.check_unchanged(identity)
    if stage.is_finished():
        say(f"[{number}/{count}] {stage.name}: is there")
        return
    before = stage.record()["seconds"] if stage.has_begun() else 0.0
    stage.write_record(number, identity, before, finished=False)
    say(f"[{number}/{count}] {stage.name}:\n{stage.in_words()}")
    scripts.check_not_stopped()
    began = time.monotonic()
    status, _ = scripts.run(stage.command())
    stage.write_record(number, identity, before + time.monotonic() - began, finished=status == 0)
    scripts.check_not_stopped()
    if status == STOPPED:
        say(f"{stage.name} was stopped: go on with the same command, {own_command()}")
        sys.exit(STOPPED)
    if status:
        raise InputError(
            f"{stage.name} failed with status {status}, for the reason above: mend it and go on with {own_command()}"
        )


def estimate(stages: Sequence[Stage], scripts: Scripts) -> None:
    """Say what is left to do, if there is a pretraining among it to measure."""
    measured = family_estimate.stage_to_measure(stages)
    if measured is None:
        return
    say(f"measuring some steps of {measured.name}")
    status, report = scripts.run([*measured.command(), "--estimate"], stdout=subprocess.PIPE)
    scripts.check_not_stopped()
    if status:
        raise InputError(f"{measured.name} cannot be estimated, for the reason above: mend it first")
    say(family_estimate.describe(stages, measured, report))


def own_command() -> str:
    return shlex.join(["python", *sys.argv])


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    run(main)
