"""Run the stages one after another, each in a child process that receives the signals of this one."""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from training.common.errors import InputError
from training.engine.signals import STOPPED
from training.family.stages import Stage


def run_all(stages: Sequence[Stage], num_threads: int | None) -> None:
    """Run every unfinished stage.

    Raises:
        InputError: for a stage that was started with other flags or inputs, and for one that fails.
    """
    for number, stage in enumerate(stages, start=1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        identity = stage.identity()
        stage.check_unchanged(identity)
        if stage.is_finished():
            say(f"{title}: finished before")
            continue
        command = shlex.join(stage.command(num_threads))
        say(f"{title}: {command}")
        before = stage.record()
        spent = before["seconds"] if before else 0.0
        stage.write_record(command, identity, spent, finished=False)
        start = time.monotonic()
        status = run_script(stage.command(num_threads))
        seconds = spent + time.monotonic() - start
        finished = status == 0 and stage.proof.is_file()
        stage.write_record(command, identity, seconds, finished)
        if status in (STOPPED, 130) or status < 0:
            say(f"stopped during {stage.name}: the same command continues, {own_command()}")
            sys.exit(STOPPED)
        if not finished:
            raise InputError(f"{stage.name} failed (exit status {status}, reason above): the same command continues")


def run_script(command: Sequence[str]) -> int:
    """Run a script, forward each signal that this process receives, and return the exit status of the script.

    The script has its own process group: otherwise, Ctrl-C in a terminal would reach it twice, and the second signal
    would end a training without a checkpoint.
    """
    child: subprocess.Popen | None = None
    received: list[int] = []

    def forward(number: int, _: object) -> None:
        received.append(number)
        if child:
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        child = subprocess.Popen(command, process_group=0)
        for number in received:  # received before the child existed
            child.send_signal(number)
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def own_command() -> str:
    return shlex.join([sys.executable, *sys.argv])


def say(text: str) -> None:
    print(text, flush=True)
