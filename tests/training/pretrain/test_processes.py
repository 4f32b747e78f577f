"""Runs of several processes, as users start them."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, TINY_OVERRIDES
from tests.training.pretrain.conftest import FINISHED

LAUNCHERS = {
    1: ["accelerate.commands.launch", "--quiet", "--cpu", "--num_processes", "1"],
    # `accelerate launch` starts several processes without a GPU only through MPI.
    2: ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.mark.slow
def test_one_process_or_two_end_with_the_same_scores(texts, tmp_path):
    """As users run it: two processes share the steps, and only the first one writes."""
    scores, curves = {}, {}
    for processes, launcher in LAUNCHERS.items():
        out = tmp_path / str(processes)
        command = [sys.executable, "-m", *launcher, ROOT / "training" / "pretrain.py"]
        flags = {
            "--region": "mx",
            "--train_file": texts,
            "--output_dir": out,
            "--cache_dir": tmp_path / "cache",
            "--config_overrides": f"{TINY_OVERRIDES},hidden_dropout_prob=0",
            "--max_steps": 50,
            "--max_length": 32,
            "--logging_steps": 1,
            "--texts_per_step": 31,
            "--vocab_size": 400,
            "--mixed_precision": "no",
            "--num_threads": 1,
        }
        subprocess.run(
            list(map(str, [*command, *(word for pair in flags.items() for word in pair)])),
            check=True,
            capture_output=True,
            timeout=200,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        )
        assert {path.name for path in out.iterdir()} == FINISHED
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["machine"]["processes"] == processes
        curves[processes] = [point["loss"] for point in metrics["history"] if "loss" in point]
        scores[processes] = metrics["validation"]["loss"]
    assert len(curves[1]) == 50
    assert curves[2] == pytest.approx(curves[1], abs=1e-5)
    assert scores[2] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.slow
def test_a_killed_worker_ends_the_run(texts, tmp_path):
    """As users run it: the launcher ends with an error, and the process that is left says why in one line."""
    script = tmp_path / "pretrain.py"
    script.write_text(
        "from benchmarks.laboratory import SIGKILL, Fault, pretrain, run\n"
        "Fault('a step', 4, SIGKILL, rank=1)()\n"
        "run(pretrain.main)\n"
    )
    flags = [
        "--region",
        "mx",
        "--train_file",
        texts,
        "--output_dir",
        tmp_path / "out",
        "--cache_dir",
        tmp_path / "cache",
    ]
    flags += ["--config_overrides", TINY_OVERRIDES, "--max_length", 32, "--vocab_size", 400, "--save_steps", 2]
    ended = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[2], script, *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 1
    assert "error: another process of this run died" in ended.stderr
    assert [path.name for path in (tmp_path / "out" / "unfinished_run").glob("step-*")] == ["step-000000002"]
