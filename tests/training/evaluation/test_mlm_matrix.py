import math

import numpy as np
import pytest

from training.evaluation.masked_scores import Answers
from training.evaluation.mlm_matrix import ALL, NOT_TRIVIAL, Asked, own_and_best_other, region_cells

TARGETS, TEXTS = 300, 40
REGIONS = {"own": "mx", "other": "ar", "foreign": None}


@pytest.fixture
def asked():
    rng = np.random.default_rng(0)
    texts = np.sort(rng.integers(TEXTS, size=TARGETS))
    return Asked("mx", rng.integers(5, 50, TARGETS), texts, TEXTS, rng.random(TARGETS) < 0.3)


def answers(asked, share, seed):
    rng = np.random.default_rng(seed)
    rank = np.where(rng.random(TARGETS) < share, 0, rng.integers(1, 20, TARGETS))
    return Answers(np.where(rank == 0, asked.targets, 4), rank, np.log(rng.uniform(0.01, 1, TARGETS)))


@pytest.fixture
def given(asked):
    models = {"own": answers(asked, 0.6, 1), "other": answers(asked, 0.3, 2), "foreign": answers(asked, 0.2, 3)}
    return models | {"guesser": Answers(models["own"].guess, models["own"].rank)}


@pytest.fixture
def cells(asked, given):
    found, _ = region_cells(asked, given, REGIONS, 300, seed=0)
    return {(cell["model"], cell["targets"]): cell for cell in found}


@pytest.mark.parametrize("targets", [ALL, NOT_TRIVIAL])
def test_scores_are_those_of_a_plain_loop(asked, given, cells, targets):
    right = first_five = count = loss = 0
    for number in range(TARGETS):
        if targets == NOT_TRIVIAL and asked.trivial[number]:
            continue
        count += 1
        right += given["own"].guess[number] == asked.targets[number]
        first_five += given["own"].rank[number] < 5
        loss -= given["own"].log_probability[number]
    cell = cells["own", targets]
    assert cell["count"] == count
    assert cell["masked_accuracy"].value == pytest.approx(right / count)
    assert cell["top_5_accuracy"].value == pytest.approx(first_five / count)
    assert cell["loss"].value == pytest.approx(loss / count)
    assert cell["perplexity"].value == pytest.approx(math.exp(loss / count))


def test_values_lie_in_their_intervals(cells):
    for cell in cells.values():
        for score in ("masked_accuracy", "top_5_accuracy", "loss", "perplexity"):
            if (found := cell[score]) is not None:
                assert found.low < found.value < found.high


def test_a_baseline_that_only_guesses_has_no_loss(cells):
    assert cells["guesser", ALL]["loss"] is None
    assert cells["guesser", ALL]["perplexity"] is None
    assert cells["guesser", ALL]["masked_accuracy"] == cells["own", ALL]["masked_accuracy"]


def test_intervals_are_over_texts_and_not_over_tokens(given):
    """Where all tokens of a text fare alike, there are only as many independent answers as texts."""
    texts = np.repeat(np.arange(TEXTS), 10)
    right = np.repeat(np.arange(TEXTS) % 2, 10)
    asked = Asked("mx", np.full(400, 5), texts, TEXTS, np.zeros(400, bool))
    answer = Answers(np.where(right, 5, 6), 1 - right)
    cells, _ = region_cells(asked, {"own": answer}, {"own": "mx"}, 1000, seed=0)
    found = cells[0]["masked_accuracy"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(TEXTS), rel=0.15)


def test_the_own_model_is_compared_with_the_best_other_one(asked, given):
    _, comparisons = region_cells(asked, given, REGIONS, 300, seed=0)
    assert [(found["own"], found["best_other"]) for found in comparisons] == [("own", "other")] * 2
    difference = comparisons[0]["masked_accuracy_difference"]
    accuracy = {name: (given[name].rank == 0).mean() for name in given}
    assert difference.value == pytest.approx(accuracy["own"] - accuracy["other"])
    assert 0 < difference.low < difference.value < difference.high


def test_ways_are_compared_in_pairs(asked, given):
    """Those that were asked, whatever their region; baselines are left out."""
    asked_here = {name: given[name] for name in ("own", "foreign", "guesser")}
    _, comparisons = region_cells(asked, asked_here, REGIONS, 300, seed=0, every_pair=True)
    assert [(found["model"], found["other"]) for found in comparisons] == [("own", "foreign")] * 2
    difference = comparisons[0]["masked_accuracy_difference"]
    accuracy = {name: (given[name].rank == 0).mean() for name in given}
    assert difference.value == pytest.approx(accuracy["own"] - accuracy["foreign"])


def test_the_difference_of_a_model_and_itself_is_exactly_nothing(asked, given):
    twins = {"own": given["own"], "other": given["own"]}
    _, comparisons = region_cells(asked, twins, {"own": "mx", "other": "ar"}, 300, seed=0)
    found = comparisons[0]["masked_accuracy_difference"]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_numbers_do_not_depend_on_the_order_of_models(asked, given):
    forwards, _ = region_cells(asked, given, REGIONS, 200, seed=0)
    backwards, _ = region_cells(asked, dict(reversed(given.items())), REGIONS, 200, seed=0)
    assert sorted(map(repr, forwards)) == sorted(map(repr, backwards))


def test_no_comparison_without_another_region():
    sums = {"a": np.array([10, 5]), "b": np.array([10, 7])}
    assert not list(own_and_best_other("mx", {"a": "mx", "b": "mx"}, sums))
    assert not list(own_and_best_other("ar", {"a": "mx", "b": "mx"}, sums))
    assert list(own_and_best_other("mx", {"a": "mx", "b": None}, sums)) == [("a", "b")]
