import evaluate
import pytest

from modeling_bilma.metrics import MaskedAccuracy
from tests.conftest import ROOT

GUESSES = [7, 8, 9, 4, 5, 5]
TOKENS = [7, 5, -100, 4, -100, 6]


@pytest.fixture
def loaded(tmp_path):
    path = ROOT / "modeling_bilma" / "metrics" / "masked_accuracy"
    return evaluate.load(str(path), cache_dir=str(tmp_path))


def test_share_of_the_scored_positions(tmp_path):
    metric = MaskedAccuracy(cache_dir=str(tmp_path))
    assert metric.compute(predictions=GUESSES, references=TOKENS) == {"masked_accuracy": 0.5, "count": 4}


def test_it_opens_by_path_and_counts_over_batches(loaded):
    for first in range(0, 6, 2):
        loaded.add_batch(predictions=GUESSES[first : first + 2], references=TOKENS[first : first + 2])
    assert loaded.compute() == {"masked_accuracy": 0.5, "count": 4}


def test_several_processes_give_what_one_gives(tmp_path, in_processes):
    parts = (slice(1), slice(1, None))  # of unequal size
    shares = [{"predictions": GUESSES[part], "references": TOKENS[part]} for part in parts]
    found = in_processes(MaskedAccuracy, shares, tmp_path)
    assert found == [{"masked_accuracy": 0.5, "count": 4}, None]


def test_nothing_to_score(tmp_path):
    with pytest.raises(ValueError, match="every reference is -100"):
        MaskedAccuracy(cache_dir=str(tmp_path)).compute(predictions=[1], references=[-100])
