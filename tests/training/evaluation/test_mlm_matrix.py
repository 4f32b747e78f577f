import math

import numpy as np
import pytest

from training.evaluation.mlm_matrix import RegionScores, Targets, matrix_of, score_region, seed_groups
from training.evaluation.predictions import Predictions
from training.evaluation.results import ALL, WORDS

TARGETS, CLUSTERS = 300, 40
REGIONS = {"own": "mx", "other": "ar", "body": None}


def targets_of(ids, clusters, is_word) -> Targets:
    return Targets("mx", ids, clusters, CLUSTERS, {WORDS: is_word, ALL: np.ones(len(ids), bool)})


@pytest.fixture
def targets():
    rng = np.random.default_rng(0)
    clusters = np.sort(rng.integers(CLUSTERS, size=TARGETS))
    return targets_of(rng.integers(5, 50, TARGETS), clusters, rng.random(TARGETS) < 0.7)


def predictions(targets, share, seed):
    rng = np.random.default_rng(seed)
    rank = np.where(rng.random(TARGETS) < share, 0, rng.integers(1, 20, TARGETS))
    return Predictions(np.where(rank == 0, targets.ids, 4), rank, np.log(rng.uniform(0.01, 1, TARGETS)))


@pytest.fixture
def given(targets):
    models = {
        "own": predictions(targets, 0.6, 1),
        "other": predictions(targets, 0.3, 2),
        "body": predictions(targets, 0.2, 3),
    }
    return models | {"guesser": Predictions(models["own"].guess, models["own"].rank)}


@pytest.fixture
def cells(targets, given):
    found = score_region(targets, given, REGIONS, 300, seed=0).cells
    return {(cell["model"], cell["targets"]): cell for cell in found}


@pytest.mark.parametrize("target_set", [ALL, WORDS])
def test_scores_are_those_of_a_plain_loop(targets, given, cells, target_set):
    right = first_five = count = loss = 0
    for number in range(TARGETS):
        if not targets.sets[target_set][number]:
            continue
        count += 1
        right += given["own"].guess[number] == targets.ids[number]
        first_five += given["own"].rank[number] < 5
        loss -= given["own"].log_probability[number]
    cell = cells["own", target_set]
    assert cell["count"] == count
    assert cell["masked_accuracy"]["value"] == pytest.approx(right / count)
    assert cell["top_5_accuracy"]["value"] == pytest.approx(first_five / count)
    assert cell["loss"]["value"] == pytest.approx(loss / count)
    assert cell["perplexity"]["value"] == pytest.approx(math.exp(loss / count))


def test_values_lie_in_their_intervals(cells):
    for cell in cells.values():
        for score in ("masked_accuracy", "top_5_accuracy", "loss", "perplexity"):
            if (found := cell[score]) is not None:
                assert found["low"] < found["value"] < found["high"]


def test_a_baseline_that_only_guesses_has_no_loss(cells):
    assert cells["guesser", ALL]["loss"] is None
    assert cells["guesser", ALL]["perplexity"] is None
    assert cells["guesser", ALL]["masked_accuracy"] == cells["own", ALL]["masked_accuracy"]


def test_intervals_are_over_clusters_and_not_over_tokens():
    """Where all tokens of an author fare alike, there are only as many independent observations as authors."""
    clusters = np.repeat(np.arange(CLUSTERS), 10)
    right = np.repeat(np.arange(CLUSTERS) % 2, 10)
    targets = targets_of(np.full(400, 5), clusters, np.ones(400, bool))
    found = Predictions(np.where(right, 5, 6), 1 - right)
    accuracy = score_region(targets, {"own": found}, {"own": "mx"}, 1000, seed=0).cells[0]["masked_accuracy"]
    assert accuracy["high"] - accuracy["low"] == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(CLUSTERS), rel=0.15)


def test_the_own_model_is_compared_with_every_other_and_with_no_baseline(targets, given):
    scores = score_region(targets, given, REGIONS, 300, seed=0)
    pairs = [(entry["targets"], entry["own"], entry["other"]) for entry in scores.comparisons]
    assert pairs == [(kind, "own", other) for kind in (WORDS, ALL) for other in ("other", "body")]
    accuracy = {name: (given[name].rank == 0).mean() for name in given}
    for entry in scores.comparisons[2:]:
        difference = entry["masked_accuracy_difference"]
        assert difference["value"] == pytest.approx(accuracy["own"] - accuracy[entry["other"]])
        assert 0 < difference["low"] < difference["value"] < difference["high"]
    by_score = [(win["targets"], win["score"]) for win in scores.wins]
    assert by_score == [(kind, score) for kind in (WORDS, ALL) for score in ("masked_accuracy", "loss")]
    assert [win["closest"] for win in scores.wins if win["score"] == "masked_accuracy"] == ["other", "other"]


def test_a_lower_loss_is_a_gain(targets, given):
    """Where the guesses are the same, the own model wins by its probabilities alone."""
    unsure = Predictions(given["own"].guess, given["own"].rank, given["own"].log_probability - 0.5)
    scores = score_region(targets, {"own": given["own"], "other": unsure}, {"own": "mx", "other": "ar"}, 300, seed=0)
    for entry in scores.comparisons:
        assert entry["masked_accuracy_difference"]["value"] == 0
        assert entry["loss_reduction"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})
    p_values = {win["score"]: win["p_value"] for win in scores.wins}
    assert p_values == {"masked_accuracy": 1, "loss": pytest.approx(1 / 301)}


def test_the_difference_of_a_model_and_itself_is_exactly_nothing(targets, given):
    twins = {"own": given["own"], "other": given["own"]}
    scores = score_region(targets, twins, {"own": "mx", "other": "ar"}, 300, seed=0)
    assert scores.comparisons[0]["masked_accuracy_difference"] == {"value": 0, "low": 0, "high": 0}
    assert scores.wins[0]["p_value"] == 1


def test_numbers_do_not_depend_on_the_order_of_models(targets, given):
    forwards = score_region(targets, given, REGIONS, 200, seed=0)
    backwards = score_region(targets, dict(reversed(given.items())), dict(reversed(REGIONS.items())), 200, seed=0)
    for name in ("cells", "comparisons", "wins"):
        assert sorted(map(repr, getattr(forwards, name))) == sorted(map(repr, getattr(backwards, name)))


def test_no_words_to_score(targets, given):
    targets.sets[WORDS][:] = False
    assert {cell["targets"] for cell in score_region(targets, given, REGIONS, 100, seed=0).cells} == {ALL}


def test_wins_are_corrected_over_the_regions_of_each_score_and_set_of_targets(targets, given):
    scores = score_region(targets, given, REGIONS, 300, seed=0)
    matrix = matrix_of([scores, RegionScores(scores.cells, scores.comparisons, scores.wins)])
    assert len(matrix.cells) == 2 * len(scores.cells)
    assert [win["targets"] for win in matrix.wins] == [WORDS] * 4 + [ALL] * 4
    for win in matrix.wins:
        assert win["p_holm"] == pytest.approx(min(1, 2 * win["p_value"]))
        assert win["wins"] or win["score"] == "loss"


def test_models_of_one_name_and_region_are_seeds_of_each_other():
    regions = {"bilma": None, "bilma-mx": "mx", "bilma-seed1": None, "bilma-seed1-mx": "mx", "bilma-mx-seed2": "mx"}
    groups = [["bilma", "bilma-seed1"], ["bilma-mx", "bilma-seed1-mx", "bilma-mx-seed2"], ["bilma-ar"]]
    assert seed_groups(regions | {"bilma-ar": "ar"}) == groups


def test_seeds_are_compared_by_their_mean(targets, given):
    models = {
        "own": given["own"],
        "own-seed1": predictions(targets, 0.4, 4),
        "body": given["body"],
        "body-seed1": predictions(targets, 0.25, 5),
    }
    regions = {"own": "mx", "own-seed1": "mx", "body": None, "body-seed1": None}
    scores = score_region(targets, models, regions, 400, seed=0)
    alone = {(cell["model"], cell["targets"]): cell["masked_accuracy"] for cell in scores.cells}
    means = {(entry["models"][0], entry["targets"]): entry for entry in scores.seeds}
    assert set(means) == {(name, kind) for name in ("own", "body") for kind in (WORDS, ALL)}
    for (_, kind), entry in means.items():
        of_seeds = [alone[model, kind] for model in entry["models"]]
        mean = entry["masked_accuracy"]
        assert mean["value"] == pytest.approx(np.mean([seed["value"] for seed in of_seeds]))
        assert entry["masked_accuracy_std"] == pytest.approx(np.std([seed["value"] for seed in of_seeds], ddof=1))
    # Drawing one seed twice leaves the accuracies as far apart as the seeds are.
    assert means["own", ALL]["masked_accuracy"]["low"] < alone["own-seed1", ALL]["value"]
    assert means["own", ALL]["masked_accuracy"]["high"] > alone["own", ALL]["value"]
    (entry,) = [entry for entry in scores.comparisons if entry["targets"] == ALL]
    assert (entry["own"], entry["other"]) == ("own", "body")
    difference = means["own", ALL]["masked_accuracy"]["value"] - means["body", ALL]["masked_accuracy"]["value"]
    assert entry["masked_accuracy_difference"]["value"] == pytest.approx(difference)
    assert [(win["own"], win["closest"]) for win in scores.wins] == [("own", "body")] * 4
