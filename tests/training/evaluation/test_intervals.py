import itertools

import numpy as np
import pytest

from training.evaluation import intervals
from training.evaluation.intervals import (
    clusters_of,
    interval,
    mean_over_seeds,
    notes_on_few,
    resampled_sums,
    spread,
    sums_of_clusters,
)


def test_every_sample_has_as_many_clusters_as_there_are():
    sums = resampled_sums(np.ones((7, 1)), 50, seed=0)
    assert sums.shape == (50, 1)
    assert (sums == 7).all()


def test_the_samples_are_those_of_the_plain_bootstrap():
    """Three texts have 27 samples: drawn often enough, each is met as often as it should be."""
    per_cluster = np.array([[1.0, 1], [10, 2], [100, 4]])
    exact = [sum(per_cluster[i] for i in drawn)[0] for drawn in itertools.product(range(3), repeat=3)]
    found = resampled_sums(per_cluster, 40_000, seed=1)[:, 0]
    for value in set(exact):
        assert (found == value).mean() == pytest.approx(exact.count(value) / 27, abs=0.01)


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=400)
    means = resampled_sums(values[:, None], 4000, seed=0)[:, 0] / 400
    found = interval(values.mean(), means)
    expected = 1.96 * values.std() / np.sqrt(400)
    assert found["value"] == values.mean()
    assert found["high"] - found["value"] == pytest.approx(expected, rel=0.1)
    assert found["value"] - found["low"] == pytest.approx(expected, rel=0.1)


def test_quantities_of_several_calls_are_paired(monkeypatch):
    per_cluster = np.random.default_rng(0).integers(0, 9, (20, 3))
    together = resampled_sums(per_cluster, 30, seed=5)
    assert (resampled_sums(per_cluster[:, :1], 30, seed=5) == together[:, :1]).all()
    assert (resampled_sums(per_cluster, 30, seed=6) != together).any()
    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", 100)  # five samples at a time
    assert (resampled_sums(per_cluster, 30, seed=5) == together).all()


def test_a_sample_in_which_there_is_no_target_is_left_out():
    assert interval(0.5, np.array([0.5, np.nan, 0.5]))["high"] == 0.5


def test_an_interval_from_few_texts_has_a_note():
    assert notes_on_few(30, "test texts of mx") == []
    (note,) = notes_on_few(29, "test texts of mx")
    assert note.startswith("29 test texts of mx are too few")


def test_texts_without_an_author_are_clusters_of_their_own():
    clusters = clusters_of(["b", None, "a", "b", None])
    assert clusters.tolist() == [0, 1, 2, 0, 3]
    assert sums_of_clusters(np.array([[1], [2], [4], [8], [16]]), clusters).tolist() == [[9], [2], [4], [16]]


def test_samples_draw_seeds_too():
    """Two seeds that score 0 and 1: a sample draws one of them twice, or both."""
    by_seed = np.stack([np.zeros(4000), np.ones(4000)])
    found = mean_over_seeds(by_seed, np.random.default_rng(0))
    np.testing.assert_allclose([(found == value).mean() for value in (0, 0.5, 1)], [0.25, 0.5, 0.25], atol=0.03)
    assert (mean_over_seeds(by_seed[1:], np.random.default_rng(0)) == 1).all()
    two_scores = np.stack([by_seed, 10 * by_seed], axis=-1)
    assert (mean_over_seeds(two_scores, np.random.default_rng(0)) == np.stack([found, 10 * found], axis=-1)).all()


def test_one_seed_has_no_spread():
    assert spread([0.5]) is None
    assert spread([0.0, 1.0]) == pytest.approx(np.sqrt(0.5))
