import numpy as np
import pytest

from training.evaluation.similarity import classical_scaling, similarity


@pytest.fixture
def log_probabilities():
    rng = np.random.default_rng(0)
    shared = rng.normal(-5, 1, 600)
    return {name: shared + noise * rng.normal(size=600) for name, noise in (("mx", 0.3), ("ar", 0.3), ("es", 2))}


TEXTS = np.arange(600) // 6


def test_correlations_are_those_of_numpy(log_probabilities):
    found = similarity(log_probabilities, TEXTS, 200, seed=0)
    for pair in found["correlations"]:
        a, b = (log_probabilities[name] for name in pair["models"])
        estimate = pair["correlation"]
        assert estimate.value == pytest.approx(np.corrcoef(a, b)[0, 1])
        assert estimate.low < estimate.value < estimate.high
    assert [pair["models"] for pair in found["correlations"]] == [["mx", "ar"], ["mx", "es"], ["ar", "es"]]


def test_alike_models_are_near_on_the_map(log_probabilities):
    found = similarity(log_probabilities, TEXTS, 200, seed=0)
    points = {point["model"]: np.array([point["x"], point["y"]]) for point in found["map"]}
    assert np.linalg.norm(points["mx"] - points["ar"]) < np.linalg.norm(points["mx"] - points["es"])
    assert found["share_shown"] == pytest.approx(1)  # three points lie in a plane


def test_texts_without_a_position_change_nothing(log_probabilities):
    assert similarity(log_probabilities, TEXTS * 3, 50, 0) == similarity(log_probabilities, TEXTS, 50, 0)


def test_a_plane_is_found_again():
    points = np.random.default_rng(0).normal(size=(6, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found, share_shown = classical_scaling(distances)
    np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=-1), distances, atol=1e-9)
    assert share_shown == pytest.approx(1)


def test_a_tetrahedron_does_not_fit_into_a_plane():
    tetrahedron = 1 - np.eye(4)
    assert classical_scaling(tetrahedron)[1] == pytest.approx(2 / 3)


def test_two_models():
    found, share_shown = classical_scaling(np.array([[0, 2.0], [2, 0]]))
    assert abs(found[0, 0] - found[1, 0]) == pytest.approx(2)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-7)
    assert share_shown == pytest.approx(1)
