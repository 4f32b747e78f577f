"""Runs that are killed, interrupted and sabotaged, and have to end as the run that was left in peace.

    make soak

Every fault happens to a real run of `training/pretrain.py` on a tiny model, in processes of its own. The run is then
resumed, and its weights and its curve must be those of the unbroken run, bit by bit. A table and
benchmarks/results/soak.json say what was tried and what was survived. The tests run the same faults with fewer kills.
"""

import argparse
import datetime
import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file

from benchmarks.hostile_texts import feed_hostile_texts
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training import checkpoints, loop, pretrain, run_folder
from training.batching import IGNORED, MaskedSteps
from training.errors import run
from training.provenance import commit, machine, versions
from training.run_folder import WORK_DIR
from training.signals import STOPPED
from training.synthetic_corpus import generate_texts

ROOT = Path(__file__).resolve().parents[1]
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
# The children are forked from a process that has imported everything and run nothing: a start costs little.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["training.pretrain", "benchmarks.hostile_texts"])


class NotSurvivedError(Exception):
    """What a run should have stood, and did not."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise NotSurvivedError(message)


@dataclass
class Ended:
    """How the processes of a run ended: their exit codes, and all that they said."""

    codes: list[int | None]
    output: str

    def expect(self, *codes: int, says: str = "") -> None:
        require(self.codes == list(codes), f"exit codes {self.codes} instead of {list(codes)}: {self.output[-1500:]}")
        require(says in self.output, f"{says!r} was not said: {self.output[-1500:]}")


@dataclass
class Laboratory:
    """A folder with a corpus and a tokenizer, and the ways to run the script there."""

    folder: Path

    def __post_init__(self) -> None:
        texts = generate_texts("mx", 200)
        self.corpus = self.folder / "mx.jsonl"
        self.corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        build_tokenizer(train_vocabulary(texts, 400)).save_pretrained(self.folder / "tokenizer")

    def run(self, name: str, *flags: object, fault: Callable[[], None] | None = None, processes: int = 1) -> Ended:
        """Run the script to its end; `fault` is called first in every process and can read the rank from RANK."""
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
        """The name of a run that nothing happens to."""
        self.run("unbroken", fault=RecordTexts(self.folder / "unbroken.texts")).expect(0)
        return "unbroken"

    @cached_property
    def killed(self) -> str:
        """The name of a run that was killed in step 10; its last two checkpoints are those of steps 6 and 8."""
        self.run("killed", fault=Fault("a step", 10, SIGKILL)).expect(KILLED)
        return "killed"

    def copy_killed(self, name: str) -> None:
        shutil.copytree(self.folder / self.killed, self.folder / name)

    def finish(self, name: str, like: str = "", says: str = "going on from step", processes: int = 1) -> None:
        """Resume a run: it has to end with the weights and the curve of the run `like`, of the unbroken one."""
        self.run(name, "--resume", processes=processes).expect(*[0] * processes, says=says)
        (weights, curve), (other_weights, other_curve) = self.result(name), self.result(like or self.unbroken)
        same = all(torch.equal(weights[key], other_weights[key]) for key in other_weights)
        require(same, "the weights differ from those of the unbroken run")
        require(curve == other_curve, "the curve differs from that of the unbroken run")
        require(not self.work_dir(name).exists(), "the working folder is still there")

    def result(self, name: str) -> tuple[dict[str, torch.Tensor], list[dict]]:
        """The weights and the curve of a finished run."""
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
    pretrain.draw_loss_curve = lambda *_: None  # a picture costs as much as such a run
    if fault:
        fault()
    run(pretrain.main)


# Faults that happen inside a run. Each is called in its process before the script begins, and lies in wait there.

PLACES = {
    "the loop": (loop.TrainingLoop, "begin"),
    "a step": (loop, "forward_backward"),
    "an evaluation": (loop, "evaluate"),
    "writing the best model": (loop, "save_best"),
    "a checkpoint": (loop, "save_checkpoint"),
    "a checkpoint without its manifest": (checkpoints, "write_manifest"),
    "a checkpoint, just before and just after it is renamed": (checkpoints, "sync"),
    "making the output folder": (pretrain, "draw_loss_curve"),
    "removing the working folder": (run_folder, "remove_work_dir"),
}


@dataclass
class Fault:
    """Something that a process does when it comes by a place of PLACES for the `call`-th time."""

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
    """Let the system refuse to write a file beyond this size, in the middle of it, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@dataclass
class PoisonedGradient:
    """A gradient that is no number in the step of that number."""

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
    """Write down the texts of every step of training that this process takes part in."""

    path: Path
    fault: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self.fault:
            self.fault()
        original = MaskedSteps.__getitem__

        def recording(steps: MaskedSteps, step: int):
            batch = original(steps, step)
            if steps.shuffle:  # else of an evaluation
                texts = [text for micro_batch in batch.micro_batches for text in texts_of(micro_batch)]
                with self.path.open("a") as file:
                    file.write(json.dumps({"step": step, "texts": texts}) + "\n")
            return batch

        MaskedSteps.__getitem__ = recording


def texts_of(micro_batch: dict[str, torch.Tensor]) -> list[list[int]]:
    """The texts of packed rows, unmasked again; padding, which is a text of its own, left out."""
    texts = []
    ids = torch.where(micro_batch["labels"] == IGNORED, micro_batch["input_ids"], micro_batch["labels"])
    for row, positions in zip(ids.tolist(), micro_batch["position_ids"], strict=True):
        starts = [*torch.nonzero(positions == 0).flatten().tolist(), len(row)]
        texts += [row[a:b] for a, b in pairwise(starts) if row[a] != 0]
    return texts


# Trials: a fault, what the run has to say and how it has to end, and the resumed run as the unbroken one.


def die(lab: Laboratory, name: str, fault: Fault) -> None:
    lab.run(name, fault=fault).expect(KILLED)
    lab.finish(name)


def stop(lab: Laboratory, name: str, fault: Fault) -> None:
    lab.run(name, fault=fault).expect(STOPPED, says="go on with the same command and --resume")
    lab.finish(name)


def damage(lab: Laboratory, name: str, spoil: Callable[[Path], None], says: str = "step-000000008: damaged (") -> None:
    """`spoil` is called with the last checkpoint, of step 8, of a run that was killed."""
    lab.copy_killed(name)
    spoil(lab.work_dir(name) / "step-000000008")
    lab.finish(name, says=says)


def damage_all(lab: Laboratory, name: str) -> None:
    lab.copy_killed(name)
    for checkpoint in checkpoints.checkpoints(lab.work_dir(name)):
        empty(checkpoint)
    lab.run(name, "--resume").expect(2, says="no checkpoint is whole: begin anew with --overwrite")


def truncate(checkpoint: Path, file: str) -> None:
    os.truncate(checkpoint / file, (checkpoint / file).stat().st_size // 2)


def flip(checkpoint: Path, file: str) -> None:
    content = bytearray((checkpoint / file).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (checkpoint / file).write_bytes(content)


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def unlink(checkpoint: Path, file: str) -> None:
    (checkpoint / file).unlink()


def unrename(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.with_name(f".{checkpoint.name}.writing"))


def full_disk(lab: Laboratory, name: str, fault: Fault) -> None:
    ended = lab.run(name, fault=fault)
    ended.expect(2, says="step-000000006 could not be written")
    require("Traceback" not in ended.output, ended.output)
    there = {path.name for path in lab.work_dir(name).iterdir() if "step" in path.name}
    require(there == {"step-000000002", "step-000000004"}, f"left are {there}")
    lab.finish(name)


def no_folder(lab: Laboratory, name: str) -> None:
    (lab.folder / name).write_text("a file")
    ended = lab.run("out", "--output_dir", lab.folder / name / "out")
    ended.expect(2, says="Not a directory")
    require("Traceback" not in ended.output, ended.output)


def no_number(lab: Laboratory, name: str) -> None:
    ended = lab.run(name, fault=PoisonedGradient(7))
    ended.expect(2, says="error: step 7: the loss is ")
    lab.finish(name)


def bad_batch_left_out(lab: Laboratory, name: str) -> None:
    lab.run(name, "--max_bad_batches", 1, fault=PoisonedGradient(7)).expect(0, says="left out (1 so far)")
    metrics = json.loads((lab.folder / name / "metrics.json").read_text())
    require(metrics["training"]["bad_batches"] == 1, "the batch was not counted")
    weights, _ = lab.result(name)
    require(all(tensor.isfinite().all() for tensor in weights.values()), "a weight is not finite")


def changed_corpus(lab: Laboratory, name: str) -> None:
    lab.copy_killed(name)
    changed = lab.folder / name / lab.corpus.name
    changed.write_text(lab.corpus.read_text().replace("a", "e", 1))
    refused = lab.run(name, "--resume", "--train_file", changed)
    refused.expect(2, says=f"of the training texts {changed.name} has changed")
    changed.unlink()
    lab.finish(name)


def lost_worker(lab: Laboratory, name: str) -> None:
    fault = Fault("a step", 10, SIGKILL, rank=1)
    ended = lab.run(name, fault=fault, processes=2)
    ended.expect(2, KILLED, says="error: another process of this run is gone")
    require("Traceback" not in ended.output, ended.output)
    lab.run(f"{name} unbroken", processes=2).expect(0, 0)
    lab.finish(name, like=f"{name} unbroken", processes=2)


def other_number_of_processes(lab: Laboratory, name: str) -> None:
    """Also: a signal that reaches one process alone stops them all, at the same step."""
    record = lab.folder / f"{name}.texts"
    sigterm = Fault("a step", 5, SIGTERM, rank=1)
    stopped = lab.run(name, fault=RecordTexts(record, sigterm), processes=2)
    stopped.expect(STOPPED, STOPPED, says="stopped after step 5")
    resumed = lab.run(name, "--resume", fault=RecordTexts(record))
    resumed.expect(0, says="2 process(es) before, 1 now")
    require(lab.unbroken and texts_by_step(record) == texts_by_step(lab.folder / "unbroken.texts"), "other texts")


def texts_by_step(record: Path) -> dict[int, list[list[int]]]:
    steps: dict[int, list[list[int]]] = {}
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        steps[entry["step"]] = sorted(steps.get(entry["step"], []) + entry["texts"])
    return steps


def die_unsaved(lab: Laboratory, name: str) -> None:
    lab.run(name, fault=Fault("a step", 2, SIGKILL)).expect(KILLED)
    lab.finish(name, says="")


def die_at_once(lab: Laboratory, name: str) -> None:
    fault = Fault("a step", 8, partial(send, signal.SIGINT, signal.SIGINT))
    lab.run(name, fault=fault).expect(-signal.SIGINT)
    lab.finish(name)


def die_at_random(lab: Laboratory, name: str, seed: int) -> str:
    """kill -9 at a random moment: by turns while a checkpoint is written and anywhere in the loop; returns when."""
    draw = random.Random(seed)
    seconds = lab.seconds_of_the_loop()
    for attempt in range(20):
        if seed % 2:
            fault = Fault("a checkpoint", draw.randint(1, 6), partial(kill_after, draw.uniform(0, 0.05)))
        else:
            fault = Fault("the loop", 1, partial(kill_after, draw.uniform(0, seconds)))
        ended = lab.run(f"{name} {attempt}", fault=fault)
        if ended.codes == [KILLED]:
            break
        ended.expect(0)  # it was faster than its death
    work_dir = lab.work_dir(f"{name} {attempt}")
    writing = bool(checkpoints.half_written_checkpoints(work_dir))
    saved = len(checkpoints.checkpoints(work_dir))
    lab.finish(f"{name} {attempt}", says="going on from step" if saved else "")
    return "a checkpoint was half-written" if writing else ""


RENAMING = "a checkpoint, just before and just after it is renamed"
# Checkpoints are written after every second step, evaluations after every fourth.
TRIALS: dict[str, Callable[[Laboratory, str], str | None]] = {
    "SIGTERM during training": partial(stop, fault=Fault("a step", 8, SIGTERM)),
    "SIGTERM during an evaluation": partial(stop, fault=Fault("an evaluation", 2, SIGTERM)),
    "SIGTERM during the last evaluation": partial(stop, fault=Fault("an evaluation", 3, SIGTERM)),
    "SIGTERM during checkpointing": partial(stop, fault=Fault("a checkpoint without its manifest", 3, SIGTERM)),
    "SIGINT during training": partial(stop, fault=Fault("a step", 9, SIGINT)),
    "a second SIGINT": die_at_once,
    "kill -9 before the first checkpoint": die_unsaved,
    "kill -9 before the best model is written": partial(die, fault=Fault("writing the best model", 2, SIGKILL)),
    "kill -9 after the best model is written": partial(die, fault=Fault("a checkpoint", 4, SIGKILL)),
    "kill -9 before the manifest": partial(die, fault=Fault("a checkpoint without its manifest", 3, SIGKILL)),
    "kill -9 before a checkpoint is renamed": partial(die, fault=Fault(RENAMING, 5, SIGKILL)),
    "kill -9 after a checkpoint is renamed": partial(die, fault=Fault(RENAMING, 6, SIGKILL)),
    "kill -9 while the output folder is made": partial(die, fault=Fault("making the output folder", 1, SIGKILL)),
    "kill -9 before the working folder is removed": partial(
        die, fault=Fault("removing the working folder", 1, SIGKILL)
    ),
    "weights truncated": partial(damage, spoil=partial(truncate, file="model.safetensors")),
    "weights with a flipped byte": partial(damage, spoil=partial(flip, file="model.safetensors")),
    "optimizer with a flipped byte": partial(damage, spoil=partial(flip, file="optimizer.bin")),
    "manifest truncated": partial(damage, spoil=partial(truncate, file="manifest.json")),
    "manifest with a flipped byte": partial(damage, spoil=partial(flip, file="manifest.json")),
    "best model truncated": partial(damage, spoil=partial(truncate, file="best/model.safetensors")),
    "progress missing": partial(damage, spoil=partial(unlink, file="progress.json")),
    "an empty folder for a checkpoint": partial(damage, spoil=empty),
    "a checkpoint half-renamed": partial(damage, spoil=unrename, says=".step-000000008.writing: half-written"),
    "every checkpoint damaged": damage_all,
    "no space left while a checkpoint is written": partial(
        full_disk, fault=Fault("a checkpoint without its manifest", 3, no_space)
    ),
    "weights that the system writes half": partial(
        full_disk, fault=Fault("a checkpoint", 3, partial(small_files_only, 60_000))
    ),
    "an optimizer that the system writes half": partial(
        full_disk, fault=Fault("a checkpoint", 3, partial(small_files_only, 120_000))
    ),
    "an output folder that cannot be made": no_folder,
    "a gradient that is no number": no_number,
    "a bad batch to be left out": bad_batch_left_out,
    "a corpus file changed": changed_corpus,
    "one of two workers killed": lost_worker,
    "two processes stopped, resumed as one": other_number_of_processes,
}


def attempt(trial: Callable[[], object]) -> dict[str, object]:
    try:
        return {"survived": True, "detail": trial()}
    except (NotSurvivedError, ArithmeticError) as error:
        return {"survived": False, "detail": str(error)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kill -9 at so many random moments")
    parser.add_argument("--hostile_texts", type=int, default=100_000, help="how many of them go through the model")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    args = parser.parse_args()
    random_kills = {f"kill -9 at random moment {n}": partial(die_at_random, seed=n) for n in range(1, args.kills + 1)}
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder))
        trials = {name: partial(trial, lab, name) for name, trial in (TRIALS | random_kills).items()}
        trials[f"{args.hostile_texts:,} hostile texts"] = partial(
            feed_hostile_texts, lab.folder, args.hostile_texts, long_lines=args.hostile_texts // 10_000
        )
        faults = {}
        for name, trial in trials.items():
            faults[name] = attempt(trial)
            verdict = "survived" if faults[name]["survived"] else "NOT SURVIVED"
            print(f"{name:<50} {verdict}  {faults[name]['detail'] or ''}", flush=True)
    survived = sum(fault["survived"] for fault in faults.values())
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(torch.device("cpu")),
        "versions": versions(),
        "tried": len(faults),
        "survived": survived,
        "faults": faults,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{survived} of {len(faults)} survived")
    sys.exit(survived < len(faults))


if __name__ == "__main__":
    main()
