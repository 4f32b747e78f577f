import json

import pytest
import torch

from modeling_bilma import BilmaConfig
from training.pretraining import estimate
from training.pretraining.arguments import PretrainArguments
from training.pretraining.estimate import Sample, Speed, on_gpus, recorded_gpu_speed, take_sample
from training.texts.synthetic import generate_texts


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "mx.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in generate_texts("mx", 300)))
    return path


def test_an_estimate_is_printed_and_nothing_but_the_cache_is_written(run_script, corpus, tmp_path):
    flags = {
        "--region": "mx",
        "--train_file": corpus,
        "--output_dir": tmp_path / "out",
        "--cache_dir": tmp_path / "cache",
        "--config_overrides": "hidden_size=32,head_dim=16,intermediate_size=24",
        "--max_steps": 30,
        "--vocab_size": 400,
        "--max_length": 32,
        "--test_fraction": 0.1,
    }
    said = run_script("pretrain.py", "--estimate", *(word for pair in flags.items() for word in pair)).stdout
    rows = dict(
        line.strip().split("  ", 1) for line in said.splitlines() if line.startswith("  ") and "  " in line[2:]
    )
    assert "30 of 64 texts" in rows["steps"]
    texts = int(rows["texts to train on"].split("(")[0])
    assert 220 < texts < 280 and "(counted)" in rows["texts to train on"]
    assert "(measured)" in rows["speed"]
    assert float(rows["most memory"].split()[0]) > 0.1
    assert "234.22 million tweets, 2,888 million tokens, 1 epoch" in said
    assert [line.split()[0] for line in said.splitlines() if line.endswith(("the GPUs", "the making of batches"))] == [
        "1",
        "8",
        "64",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"mx.jsonl", "cache"}


class Steps:
    """As many steps of 64 texts of 10 tokens as asked for."""

    def __init__(self, steps_per_epoch):
        self.steps_per_epoch = steps_per_epoch

    def __getitem__(self, number):
        return Sample(1, 64, 640, 0.0)  # has the counts of a batch


def test_small_corpora_are_counted_and_large_ones_sampled():
    small, large = take_sample(Steps(5)), take_sample(Steps(10**6))
    assert (small.steps, small.texts, small.tokens) == (5, 320, 3200)
    assert (large.steps, large.tokens) == (313, 313 * 640)  # the first that reach 20,000 texts


def table(**changes) -> list[list[str]]:
    args = PretrainArguments(region="ar", output_dir="x", **changes)
    sample, speed = Sample(10, 1000, 10_000_000, 1.0), Speed(1.0, 5.0, 0.1, None)
    lines = on_gpus(args, BilmaConfig(), torch.device("cpu"), sample, speed)
    return [line.split(maxsplit=3) for line in lines]


def test_hours_on_gpus_follow_from_the_stated_assumptions(monkeypatch, tmp_path):
    file = tmp_path / "pretraining.json"
    monkeypatch.setattr(estimate, "BENCHMARK", file)
    monkeypatch.setattr(estimate, "SCALING", {1: 1.0, 8: 0.5})
    assert recorded_gpu_speed(file) is None
    training = {"tokens_per_second": {"bilma": {"median": 2_000_000}}}
    file.write_text(json.dumps({"training": training, "machine": {"device": "x86_64 CPU"}}))
    assert recorded_gpu_speed(file) is None
    file.write_text(json.dumps({"training": training, "machine": {"device": "NVIDIA H100"}}))
    rows = table()[2:4]
    assert rows[0] == ["1", "2,000,000", "0.40", "the GPUs"]  # 2,887.92 million tokens / 2 million / 3600
    assert rows[1] == ["8", "8,000,000", "0.10", "the GPUs"]
    monkeypatch.setattr(estimate, "SCALING", {64: 1.0})
    assert table()[2] == ["64", "10,000,000", "0.08", "the making of batches"]
    assert table(streaming=True)[2] == ["64", "80,000,000", "0.01", "the making of batches"]
