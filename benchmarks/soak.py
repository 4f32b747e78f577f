"""Kill, interrupt and sabotage runs, which must end like an undisturbed one.

    make soak

Every fault is injected into a real run of `training/pretrain.py` on a tiny model, in separate processes. The run is
then resumed, and its weights and curve must equal those of the unbroken run, bit by bit. Prints a table and writes
benchmarks/results/soak.json. The tests inject the same faults with fewer kills.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks.hostile_texts import feed_hostile_texts
from benchmarks.laboratory import (
    KILLED,
    SIGINT,
    SIGKILL,
    SIGTERM,
    Fault,
    Laboratory,
    NotSurvivedError,
    PoisonedGradient,
    RecordTexts,
    kill_after,
    no_space,
    require,
    send,
    small_files_only,
    texts_by_step,
)
from benchmarks.reporting import write_result
from training.engine import checkpoints
from training.engine.signals import STOPPED

ROOT = Path(__file__).resolve().parents[1]

# A trial injects a fault, checks the output and exit code of the run, and compares the resumed run.


def die(lab: Laboratory, name: str, fault: Fault) -> None:
    lab.run(name, fault=fault).expect(KILLED)
    lab.finish(name)


def stop(lab: Laboratory, name: str, fault: Fault) -> None:
    lab.run(name, fault=fault).expect(STOPPED, says="continue with the same command and --resume")
    lab.finish(name)


def damage(lab: Laboratory, name: str, spoil: Callable[[Path], None], says: str = "step-000000008: damaged (") -> None:
    """Call `spoil` with the last checkpoint, of step 8, of a killed run, and resume it."""
    lab.copy_killed(name)
    spoil(lab.work_dir(name) / "step-000000008")
    lab.finish(name, says=says)


def damage_all(lab: Laboratory, name: str) -> None:
    lab.copy_killed(name)
    for checkpoint in checkpoints.checkpoints(lab.work_dir(name)):
        empty(checkpoint)
    lab.run(name, "--resume").expect(2, says="every checkpoint is damaged: start over with --overwrite")


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
    ended.expect(2, says="is a file")
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
    ended.expect(2, KILLED, says="error: another process of this run died")
    require("Traceback" not in ended.output, ended.output)
    lab.run(f"{name} unbroken", processes=2).expect(0, 0)
    lab.finish(name, like=f"{name} unbroken", processes=2)


def other_number_of_processes(lab: Laboratory, name: str) -> None:
    """Also check that a signal to one process stops all of them at the same step."""
    record = lab.folder / f"{name}.texts"
    sigterm = Fault("a step", 5, SIGTERM, rank=1)
    stopped = lab.run(name, fault=RecordTexts(record, sigterm), processes=2)
    stopped.expect(STOPPED, STOPPED, says="stopped after step 5")
    resumed = lab.run(name, "--resume", fault=RecordTexts(record))
    resumed.expect(0, says="2 process(es) before, 1 now")
    require(lab.unbroken and texts_by_step(record) == texts_by_step(lab.folder / "unbroken.texts"), "other texts")


def die_unsaved(lab: Laboratory, name: str) -> None:
    lab.run(name, fault=Fault("a step", 2, SIGKILL)).expect(KILLED)
    lab.finish(name, says="")


def die_at_once(lab: Laboratory, name: str) -> None:
    fault = Fault("a step", 8, partial(send, signal.SIGINT, signal.SIGINT))
    lab.run(name, fault=fault).expect(-signal.SIGINT)
    lab.finish(name)


def die_at_random(lab: Laboratory, name: str, seed: int) -> str:
    """Kill at a random moment, alternately in a checkpoint and anywhere in the loop; return a detail for the table."""
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
        ended.expect(0)  # it finished first
    work_dir = lab.work_dir(f"{name} {attempt}")
    writing = bool(checkpoints.partial_checkpoints(work_dir))
    saved = len(checkpoints.checkpoints(work_dir))
    lab.finish(f"{name} {attempt}", says="resuming from step" if saved else "")
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
    "run state missing": partial(damage, spoil=partial(unlink, file="run_state.json")),
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
    "a gradient that is NaN": no_number,
    "a bad batch to skip": bad_batch_left_out,
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
    parser.add_argument("--kills", type=int, default=20, help="number of kills at random moments")
    parser.add_argument("--hostile_texts", type=int, default=100_000, help="number of hostile texts")
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
    write_result(args.output, torch.device("cpu"), tried=len(faults), survived=survived, faults=faults)
    print(f"{survived} of {len(faults)} survived")
    sys.exit(survived < len(faults))


if __name__ == "__main__":
    main()
