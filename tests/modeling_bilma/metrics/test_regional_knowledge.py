import math

import evaluate
import pytest

from modeling_bilma.metrics import RegionalKnowledge, is_chosen
from tests.conftest import ROOT

OWN = [[-9.0, -2.0], [-5.0], [], [-1.0], [-4.0]]
RIVALS = [[-3.0], [-4.0, -7.0], [-1.0], [], [-4.0]]  # chosen, not chosen, one side is missing twice, a tie
FOUND = {"chosen": pytest.approx(1 / 3), "count": 3, "left_out": 2}


def test_the_best_own_form_has_to_beat_every_rival():
    assert [is_chosen(*sides) for sides in zip(OWN, RIVALS, strict=True)] == [True, False, None, None, False]


def test_share_of_the_items_with_forms_on_both_sides(tmp_path):
    assert RegionalKnowledge(cache_dir=str(tmp_path)).compute(own=OWN, rivals=RIVALS) == FOUND


def test_it_opens_by_path_and_counts_over_batches(tmp_path):
    path = ROOT / "modeling_bilma" / "metrics" / "regional_knowledge"
    measurement = evaluate.load(str(path), module_type="measurement", cache_dir=str(tmp_path))
    assert isinstance(measurement, evaluate.Measurement)
    for first in range(0, 5, 2):
        measurement.add_batch(own=OWN[first : first + 2], rivals=RIVALS[first : first + 2])
    assert measurement.compute() == FOUND


def test_several_processes_give_what_one_gives(tmp_path, in_processes):
    shares = [{"own": OWN[:1], "rivals": RIVALS[:1]}, {"own": OWN[1:], "rivals": RIVALS[1:]}]
    assert in_processes(RegionalKnowledge, shares, tmp_path) == [FOUND, None]


@pytest.mark.parametrize(
    ("own", "rivals", "message"),
    [([[]], [[-1.0]], "no item has forms on both sides"), ([[math.nan]], [[-1.0]], "is no number")],
)
def test_what_cannot_be_scored(tmp_path, own, rivals, message):
    with pytest.raises(ValueError, match=message):
        RegionalKnowledge(cache_dir=str(tmp_path)).compute(own=own, rivals=rivals)
