"""Runs that end early, and go on from their checkpoints."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training.pretrain.conftest import FINISHED
from training import pretrain
from training.engine import checkpoints


@pytest.mark.parametrize("die_at", [2, 4])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(train, train_until, die_at):
    unbroken = load_file(train(name="unbroken") / "model.safetensors")
    train_until(die_at, name="broken")
    out = train("--resume", name="broken")
    resumed = load_file(out / "model.safetensors")
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["training"]["texts_seen"] == 6 * 32
    assert [point["step"] for point in metrics["history"] if "loss" in point] == [2, 4, 6]


def test_checkpoints_by_the_step_and_by_the_clock(train, monkeypatch, refused):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)
    names = [f"step-{step:09d}" for step in range(1, 7)]
    work_dir = train("--save_steps", 100, "--save_minutes", 1e-9, "--keep_checkpoints", 4) / "unfinished_run"
    assert sorted(path.name for path in work_dir.glob("step-*")) == names[2:]
    work_dir = train("--save_steps", 3, "--save_minutes", 60, name="by_step") / "unfinished_run"
    assert sorted(path.name for path in work_dir.glob("step-*")) == [names[2], names[5]]
    assert "--keep_checkpoints 0 is not 1 or more" in refused("--keep_checkpoints", 0)
    assert "--save_minutes 0.0 is not above 0" in refused("--save_minutes", 0)
    assert "--max_bad_batches -1 is not from 0" in refused("--max_bad_batches", -1)


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(train, refused, monkeypatch, texts, tmp_path):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)  # as if it died in its last moment
    train()
    assert "unfinished run: continue it with --resume, or start over with --overwrite" in refused()
    for flag, value in {"seed": 1, "learning_rate": 1e-4, "max_length": 30, "validation_fraction": 0.5}.items():
        assert f"cannot resume, {flag} was" in refused("--resume", f"--{flag}", value)
    changed = tmp_path / "mx.jsonl"
    changed.write_text(texts.read_text().replace("comer", "cenar"))
    assert "of the training texts mx.jsonl has changed" in refused("--resume", train_file=changed)
    monkeypatch.undo()


def test_an_interruption_says_resume_where_there_is_a_checkpoint(train, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    for function, advice in {"load_data": [], "finish": ["continue with the same command and --resume"]}.items():
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as interruption:
            patch.setattr(pretrain, function, interrupt)
            train()
        assert getattr(interruption.value, "__notes__", []) == advice


@pytest.mark.slow
def test_an_interrupted_overwrite_can_be_resumed(train, monkeypatch):
    before = (train() / "model.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "finish", lambda *_: None)
        out = train("--overwrite", "--seed", 1)
    assert (out / "model.safetensors").read_bytes() == before
    train("--resume", "--seed", 1)
    assert (out / "model.safetensors").read_bytes() != before
    assert {path.name for path in out.iterdir()} == FINISHED


def test_resuming_a_finished_run_changes_nothing(train, capsys):
    out = train()
    before = {path: path.read_bytes() for path in out.iterdir()}
    train("--resume")
    assert "train the model further, start another run with --init_from" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_checkpoint_of_another_version_is_named(train, refused, monkeypatch):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)
    for state in (train() / "unfinished_run").glob("step-*/run_state.json"):
        state.write_text("{}")
        (state.parent / checkpoints.MANIFEST).unlink()
        checkpoints.write_manifest(state.parent)
    assert "a checkpoint of another version of this code" in refused("--resume")
