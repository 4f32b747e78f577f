import json

import pytest
import torch

from benchmarks import profile_step
from benchmarks.profile_step import shares
from tests.training.conftest import run_main, write_texts
from training.texts.synthetic import generate_texts


def test_the_operator_that_does_the_work_has_the_largest_share():
    matrix = torch.randn(400, 400)
    found = shares(lambda number: matrix @ matrix)
    assert next(iter(found["shares"])) == "aten::mm"
    assert 0.5 < found["shares"]["aten::mm"] <= sum(found["shares"].values()) <= 1.001
    assert found["milliseconds"] > 0


@pytest.mark.slow
def test_a_step_and_answers_in_both_precisions_are_profiled(tmp_path, monkeypatch):
    for name in ("WARMUP", "PROFILED", "STEPS"):
        monkeypatch.setattr(profile_step, name, 1)
    texts = write_texts(tmp_path / "mx.jsonl", generate_texts("mx", 100))
    threads = torch.get_num_threads()
    run_main(profile_step, train_file=texts, output=tmp_path / "profile.json")
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "profile.json").read_text())
    for work in ("training_step", "fill_mask_float32", "fill_mask_bfloat16"):
        assert found[work]["milliseconds"] > 0
