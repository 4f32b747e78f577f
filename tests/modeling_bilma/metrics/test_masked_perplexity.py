import math

import evaluate
import pytest

from modeling_bilma.metrics import MaskedPerplexity
from tests.conftest import ROOT

LOG_PROBABILITIES = [-1.0, -3.0, -50.0, -0.5]
TOKENS = [7, 5, -100, 4]
FOUND = {"perplexity": pytest.approx(math.exp(1.5)), "loss": pytest.approx(1.5), "count": 3}


def test_mean_over_the_scored_positions(tmp_path):
    metric = MaskedPerplexity(cache_dir=str(tmp_path))
    assert metric.compute(predictions=LOG_PROBABILITIES, references=TOKENS) == FOUND


def test_it_opens_by_path_and_takes_unequal_batches(tmp_path):
    path = ROOT / "modeling_bilma" / "metrics" / "masked_perplexity"
    metric = evaluate.load(str(path), cache_dir=str(tmp_path))
    metric.add_batch(predictions=LOG_PROBABILITIES[:3], references=TOKENS[:3])
    metric.add_batch(predictions=LOG_PROBABILITIES[3:], references=TOKENS[3:])
    assert metric.compute() == FOUND


def test_several_processes_give_what_one_gives(tmp_path, in_processes):
    parts = (slice(3), slice(3, None))
    shares = [{"predictions": LOG_PROBABILITIES[part], "references": TOKENS[part]} for part in parts]
    assert in_processes(MaskedPerplexity, shares, tmp_path) == [FOUND, None]


@pytest.mark.parametrize(
    ("log_probabilities", "message"),
    [([0.1], "above 0 or no number"), ([math.nan], "above 0 or no number")],
)
def test_what_is_no_log_probability(tmp_path, log_probabilities, message):
    with pytest.raises(ValueError, match=message):
        MaskedPerplexity(cache_dir=str(tmp_path)).compute(predictions=log_probabilities, references=[1])


def test_nothing_to_score(tmp_path):
    with pytest.raises(ValueError, match="every reference is -100"):
        MaskedPerplexity(cache_dir=str(tmp_path)).compute(predictions=[-1.0], references=[-100])


def test_a_perplexity_beyond_a_float_is_infinite(tmp_path):
    found = MaskedPerplexity(cache_dir=str(tmp_path)).compute(predictions=[-1e4], references=[1])
    assert found["perplexity"] == math.inf
