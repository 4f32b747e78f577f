"""Run `training/pretrain.py` on a tiny model in separate processes, and inject faults into it."""

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.packed_rows import unmasked
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training import pretrain
from training.common.errors import run
from training.engine import checkpoints, run_folder
from training.engine.run_folder import WORK_DIR
from training.pretraining import loop, outcome
from training.pretraining.steps import MaskedSteps
from training.texts.synthetic import generate_texts

STEPS = 12  # of a run: one epoch and a half
KILLED = -signal.SIGKILL
PATIENCE = 120  # seconds after which a run counts as hanging
FLAGS = {
    "--region": "mx",
    "--config_overrides": "hidden_size=32,head_dim=16,num_attention_heads=2,intermediate_size=24",
    "--max_steps": STEPS,
    "--max_length": 32,
    "--texts_per_step": 24,
    "--tokens_per_micro_batch": 256,  # two micro-batches a step, of packed rows
    "--learning_rate": 5e-3,
    "--test_fraction": 0,
    "--mixed_precision": "no",
    "--num_threads": 1,
    "--logging_steps": 3,
    "--eval_steps": 4,
    "--save_steps": 2,
}
# The children are forked from a process that has imported everything, so that they start quickly.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training.pretrain", "benchmarks.hostile_texts"])


class NotSurvivedError(Exception):
    """A run that did not survive its fault."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise NotSurvivedError(message)


@dataclass
class Ended:
    """The exit codes and the output of all processes of a run."""

    codes: list[int | None]
    output: str

    def expect(self, *codes: int, says: str = "") -> None:
        require(self.codes == list(codes), f"exit codes {self.codes} instead of {list(codes)}: {self.output[-1500:]}")
        require(says in self.output, f"{says!r} is not in the output: {self.output[-1500:]}")


@dataclass
class Laboratory:
    """A folder with a corpus and a tokenizer, in which to run the script."""

    folder: Path

    def __post_init__(self) -> None:
        texts = generate_texts("mx", 200)
        self.corpus = self.folder / "mx.jsonl"
        self.corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        build_tokenizer(train_vocabulary(texts, 400)).save_pretrained(self.folder / "tokenizer")

    def run(self, name: str, *flags: object, fault: Callable[[], None] | None = None, processes: int = 1) -> Ended:
        """Run the script until it ends; `fault` is first called in every process, with the rank in RANK."""
        paths = {
            "--train_file": self.corpus,
            "--tokenizer": self.folder / "tokenizer",
            "--output_dir": self.folder / name,
            "--cache_dir": self.folder / "cache",
        }
        argv = [str(word) for pair in (FLAGS | paths).items() if pair[0] not in flags for word in pair]
        log = self.folder / f"{name}.log"
        log.write_text("")
        children = [
            CONTEXT.Process(target=_child, args=([*argv, *map(str, flags)], log, environment, fault))
            for environment in _environments(processes)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(PATIENCE)
            child.kill()
        for child in children:
            child.join()
        return Ended([child.exitcode for child in children], log.read_text(errors="replace"))

    @cached_property
    def unbroken(self) -> str:
        """Name of a run without a fault."""
        self.run("unbroken", fault=RecordTexts(self.folder / "unbroken.texts")).expect(0)
        return "unbroken"

    @cached_property
    def killed(self) -> str:
        """Name of a run that was killed in step 10, with checkpoints of steps 6 and 8."""
        self.run("killed", fault=Fault("a step", 10, SIGKILL)).expect(KILLED)
        return "killed"

    def copy_killed(self, name: str) -> None:
        shutil.copytree(self.folder / self.killed, self.folder / name)

    def finish(self, name: str, like: str = "", says: str = "resuming from step", processes: int = 1) -> None:
        """Resume a run, and require the weights and the curve of the run `like` (default: the unbroken one)."""
        self.run(name, "--resume", processes=processes).expect(*[0] * processes, says=says)
        (weights, curve), (other_weights, other_curve) = self.result(name), self.result(like or self.unbroken)
        same = all(torch.equal(weights[key], other_weights[key]) for key in other_weights)
        require(same, "the weights differ from those of the unbroken run")
        require(curve == other_curve, "the curve differs from that of the unbroken run")
        require(not self.work_dir(name).exists(), "the working folder is still there")

    def result(self, name: str) -> tuple[dict[str, torch.Tensor], list[dict]]:
        """Read the weights and the curve of a finished run."""
        metrics = json.loads((self.folder / name / "metrics.json").read_text())
        return load_file(self.folder / name / "model.safetensors"), [*metrics["history"], metrics["validation"]]

    def seconds_of_the_loop(self) -> float:
        return json.loads((self.folder / self.unbroken / "metrics.json").read_text())["training"]["seconds"]

    def work_dir(self, name: str) -> Path:
        return self.folder / name / WORK_DIR


def _environments(processes: int) -> list[dict[str, str]]:
    shared = {"ACCELERATE_USE_CPU": "true"}
    if processes == 1:
        return [shared]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(processes)}
    ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes))
    return [shared | rank | {"WORLD_SIZE": str(processes)} for rank in ranks]


def _child(argv: list[str], log: Path, environment: dict[str, str], fault: Callable[[], None] | None) -> None:
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["pretrain.py", *argv]
    outcome.draw_loss_curve = lambda *_: None  # a picture takes as long as such a run
    if fault:
        fault()
    run(pretrain.main)


# Faults inside a run. Each is called in its process before the script starts, and patches a function.

PLACES = {
    "the loop": (loop.TrainingLoop, "run"),
    "a step": (loop, "forward_backward"),
    "an evaluation": (loop, "evaluate"),
    "writing the best model": (loop, "save_best"),
    "a checkpoint": (loop, "save_checkpoint"),
    "a checkpoint without its manifest": (checkpoints, "write_manifest"),
    "a checkpoint, just before and just after it is renamed": (checkpoints, "sync"),
    "making the output folder": (outcome, "draw_loss_curve"),
    "removing the working folder": (run_folder, "remove_work_dir"),
}


@dataclass
class Fault:
    """An action of a process when it reaches a place of PLACES for the `call`-th time."""

    place: str
    call: int
    act: Callable[[], None]
    rank: int = 0

    def __call__(self) -> None:
        if int(os.environ.get("RANK", 0)) != self.rank:
            return
        owner, name = PLACES[self.place]
        original, calls = getattr(owner, name), 0

        def watched(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == self.call:
                self.act()
            return original(*args, **kwargs)

        setattr(owner, name, watched)


def send(*signals: int) -> None:
    for number in signals:
        os.kill(os.getpid(), number)


SIGTERM, SIGINT, SIGKILL = (partial(send, number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL))


def kill_after(seconds: float) -> None:
    threading.Timer(seconds, SIGKILL).start()


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def small_files_only(size: int) -> None:
    """Make the system stop writing a file at this size, as with a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass
class PoisonedGradient:
    """A gradient that is NaN in one step."""

    step: int

    def __call__(self) -> None:
        original, calls = loop.forward_backward, 0

        def poisoned(accelerator, model, batch):
            nonlocal calls
            calls += 1
            sums = original(accelerator, model, batch)
            if calls == self.step:
                next(model.parameters()).grad[0] = float("nan")
            return sums

        loop.forward_backward = poisoned


@dataclass
class RecordTexts:
    """Record the texts of every training step of this process."""

    path: Path
    fault: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.fault:
            self.fault()
        original = MaskedSteps.__getitem__

        def recording(steps: MaskedSteps, step: int):
            batch = original(steps, step)
            if steps.shuffle:  # evaluations do not
                with self.path.open("a") as file:
                    file.write(json.dumps({"step": step, "texts": unmasked(batch.micro_batches)}) + "\n")
            return batch

        MaskedSteps.__getitem__ = recording


def texts_by_step(record: Path) -> dict[int, list[list[int]]]:
    steps: dict[int, list[list[int]]] = {}
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        steps[entry["step"]] = sorted(steps.get(entry["step"], []) + entry["texts"])
    return steps
