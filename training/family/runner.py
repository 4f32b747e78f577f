"""Run the stages of a family as child scripts."""

import fcntl
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import IO

from training.common.errors import InputError, as_input_error
from training.engine.accelerator import available_cores
from training.engine.signals import STOPPED
from training.family.stages import Stage

Numbered = tuple[int, Stage]  # a stage and its place among all


class Scripts:
    """Runs scripts and passes on to them what this process is told to stop by.

    A script runs in a process group of its own, so that Ctrl-C in a terminal does not reach it twice, which would end
    it at once.
    """

    def __init__(self, lock: IO[str]):
        self.lock = lock
        self.stopped = ""  # by which signal
        self.ending = False  # for that or another reason: nothing is begun any more
        self.children: set[subprocess.Popen] = set()

    def __enter__(self) -> "Scripts":
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self.before = {number: signal.signal(number, self._stop) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.stopped:
            say(f"stopped by {self.stopped}: go on with the same command, {own_command()}")

    def run(self, command: Sequence[str], stdout: int | IO[str] | None = None) -> tuple[int, str]:
        """The exit status, and what was written if `stdout` is a pipe; a file gets the errors too."""
        stderr = None if stdout in (None, subprocess.PIPE) else subprocess.STDOUT
        child = subprocess.Popen(
            command, stdout=stdout, stderr=stderr, text=True, process_group=0, pass_fds=[self.lock.fileno()]
        )
        self.children.add(child)
        if self.ending:  # before there was a child to tell
            child.terminate()
        written, _ = child.communicate()
        self.children.remove(child)
        return child.returncode, written

    def check_not_stopped(self) -> None:
        """End with status 75 if nothing is to be begun; what was interrupted goes on, or begins anew, another time."""
        if self.ending:
            sys.exit(STOPPED)

    def terminate(self) -> None:
        """Have what runs write its checkpoint and end, and begin nothing more."""
        self.ending = True
        for child in tuple(self.children):
            child.terminate()

    def _stop(self, number: int, _: FrameType | None) -> None:
        again = self.stopped == signal.SIGINT.name == signal.Signals(number).name
        self.stopped = signal.Signals(number).name
        if not again:
            return self.terminate()
        for child in tuple(self.children):
            child.kill()


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


def make_all(
    stages: Sequence[Numbered], scripts: Scripts, count: int, jobs: int = 1, num_threads: int | None = None
) -> None:
    """Run the stages, `jobs` at a time, each after those that it waits for; in a folder one at a time.

    Args:
        num_threads: threads of each; None for the cores that are free when it begins, shared with those that begin
            with it. (More threads than cores are much slower than fewer: each step waits for the slowest of them.)

    Raises:
        InputError: of the first that fails, once those beside it have been stopped.
    """
    waiting, running = list(stages), {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or running:
                begin = ready_stages(waiting, [stage for stage, _ in running.values()])[: jobs - len(running)]
                free = available_cores() - sum(threads for _, threads in running.values())
                threads = num_threads or max(1, free // max(1, len(begin)))
                for number, stage in begin:
                    waiting.remove((number, stage))
                    future = pool.submit(make, stage, number, count, scripts, threads, to_file=jobs > 1)
                    running[future] = (stage, threads)
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    del running[future]
                    future.result()
        except BaseException:
            scripts.terminate()
            raise


def ready_stages(waiting: Sequence[Numbered], running: Sequence[Stage]) -> list[Numbered]:
    """Those that can begin beside what runs and beside each other; as long as there are any, only finished ones."""
    unmade = [*(stage for _, stage in waiting), *running]
    busy = {stage.output_dir for stage in running}
    ready = []
    for number, stage in waiting:
        if stage.output_dir not in busy and not stage.waits_for(unmade):
            busy.add(stage.output_dir)
            ready.append((number, stage))
    return [one for one in ready if one[1].is_finished()] or ready


def make(stage: Stage, number: int, count: int, scripts: Scripts, num_threads: int, to_file: bool = False) -> None:
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
    command = stage.command(num_threads)
    in_words = shlex.join(["python", *command[1:]])
    stage.write_record(number, in_words, identity, before, finished=False)
    say(f"[{number}/{count}] {stage.name}:\n{in_words}")
    scripts.check_not_stopped()
    began = time.monotonic()
    with stage.log_file.open("a") if to_file else nullcontext() as log:
        status, _ = scripts.run(command, stdout=log)
    stage.write_record(number, in_words, identity, before + time.monotonic() - began, finished=status == 0)
    scripts.check_not_stopped()
    if status == STOPPED:
        say(f"{stage.name} was stopped: go on with the same command, {own_command()}")
        sys.exit(STOPPED)
    if status:
        reason = f"at the end of {stage.log_file}" if to_file else "above"
        failed = f"{stage.name} failed with status {status}, for the reason {reason}"
        raise InputError(f"{failed}: mend it and go on with {own_command()}")
    if to_file:
        say(f"[{number}/{count}] {stage.name}: done")


def own_command() -> str:
    return shlex.join(["python", *sys.argv])


def say(text: str) -> None:
    print(text, flush=True)
