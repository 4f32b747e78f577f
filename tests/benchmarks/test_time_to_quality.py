"""The schedule of the BERT, when our run is stopped, and a whole measurement on a few texts."""

import json
import sys

import pytest
from transformers import AutoModelForMaskedLM

from benchmarks import time_to_quality
from benchmarks.time_to_quality import WARMUP, evaluations_until, share_of_rate
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.conftest import run_main, write_texts
from training.common.errors import InputError
from training.texts.synthetic import generate_texts

# A run that evaluates three times, as pretrain.py prints it, and then waits to be stopped.
RUN = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print("200 texts to train on", flush=True)
for step, accuracy in ((500, 0.1), (1000, 0.2), (1500, 0.3)):
    print(f"step {step:,}: validation loss 5.1234, masked accuracy {accuracy:.4f} on 99 tokens", flush=True)
signal.pause()
"""


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    assert [share_of_rate(share) for share in (0, WARMUP / 2, WARMUP, 1)] == pytest.approx([0, 0.5, 1, 0])


@pytest.mark.parametrize(("target", "limit", "steps"), [(0.15, 60, [500, 1000]), (0.9, 0, [500])])
def test_a_run_is_stopped_when_it_is_good_enough_or_the_time_is_over(target, limit, steps):
    found = evaluations_until([sys.executable, "-c", RUN], target, limit)
    assert [one.step for one in found] == steps


def test_a_run_that_fails_is_an_error():
    with pytest.raises(InputError, match="status 3"):
        evaluations_until([sys.executable, "-c", "raise SystemExit(3)"], 0.5, 60)


@pytest.mark.slow
def test_both_are_measured_on_the_same_texts(tmp_path):
    texts = write_texts(tmp_path / "mx.jsonl", generate_texts("mx", 300), author=[f"a{n % 50}" for n in range(300)])
    run_main(
        time_to_quality,
        train_file=texts,
        minutes=0.05,
        vocab_size=400,
        eval_steps=1,
        max_steps=2,
        max_validation_texts=8,
        group_column="author",
        output=tmp_path / "found.json",
        bert_output_dir=tmp_path / "bert",
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["bert"]["steps"] >= 1 and 0 <= found["bert"]["masked_accuracy"] <= 1
    assert found["bilma"]["evaluations"][0]["step"] == 1
    assert found["texts"]["training"] > 200 and found["texts"]["validation"] == 8
    bert = AutoModelForMaskedLM.from_pretrained(tmp_path / "bert")
    assert bert.config.vocab_size == len(load_tokenizer(tmp_path / "bert"))
