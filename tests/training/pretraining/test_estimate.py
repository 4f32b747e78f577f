import json

import pytest

from training.pretraining.estimate import Sample, take_sample
from training.texts.synthetic import generate_texts


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "mx.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in generate_texts("mx", 300)))
    return path


@pytest.mark.slow
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
    assert float(rows["peak memory"].split()[0]) > 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"mx.jsonl", "cache"}


class Steps:
    """A number of steps of 64 texts with 10 tokens each."""

    def __init__(self, steps_per_epoch):
        self.steps_per_epoch = steps_per_epoch

    def __getitem__(self, number):
        return Sample(1, 64, 640)  # has the counts of a batch


def test_small_corpora_are_counted_and_large_ones_sampled():
    small, large = take_sample(Steps(5)), take_sample(Steps(10**6))
    assert (small.steps, small.texts, small.tokens) == (5, 320, 3200)
    assert (large.steps, large.tokens) == (313, 313 * 640)  # the first that reach 20,000 texts
