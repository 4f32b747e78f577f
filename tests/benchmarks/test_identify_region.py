import json

import numpy as np
import pytest

from benchmarks import identify_region
from benchmarks.identify_region import Part, calibration_error, per_author, per_text, reliability
from tests.training.conftest import REGIONS, family, run_main, save_body  # noqa: F401, the fixture


def test_calibration_error_by_hand():
    """Two texts at .9 of which one is right, two at .6 of which both are: gaps of .4 and .4."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    right = np.array([0, 1, 0, 1])
    assert calibration_error(probabilities, right) == pytest.approx(0.4)
    assert [entry["texts"] for entry in reliability(probabilities, right)] == [2, 2]


def test_texts_of_an_author_are_put_together():
    test = Part(["a", "b", "c"], np.array([0, 0, 1]), ["x", "x", "y"])
    scores = np.array([[-1.0, -2], [-3.0, -2.5], [-1.0, -4]])  # x by the sum of both, y wrong
    assert per_author(test, scores) == {"accuracy": 0.5, "by_region": [1.0, 0.0], "authors": 2}


def test_regions_count_alike():
    """Nine of ten texts of one region right and none of two of the other."""
    regions = np.array([0] * 10 + [1] * 2)
    guessed = np.array([0] * 9 + [1] + [0] * 2)
    test = Part(["t"] * 12, regions, [str(number) for number in range(12)])
    args = identify_region.IdentifyArguments(model="", corpora=[], resamples=200)
    found = per_text(args, test, {"model": guessed, "tfidf": guessed})
    assert found["model"]["value"] == pytest.approx(0.45)
    assert found["model_less_tfidf"] == {"value": 0, "low": 0, "high": 0}


@pytest.mark.slow
def test_the_measurement_of_a_small_family(family, tmp_path):  # noqa: F811
    output_dir = run_main(
        identify_region,
        model=save_body(family, tmp_path / "bilma"),
        corpora=family / "corpora",
        output_dir=tmp_path / "results",
        test_fraction=0.2,
        validation_fraction=0.2,
        resamples=100,
    )
    result = json.loads((output_dir / "identify_region.json").read_text())
    assert result["regions"] == list(REGIONS)
    assert np.sum(result["confusion"]) == sum(result["test_texts"]) == sum(e["texts"] for e in result["reliability"])
    assert result["per_text"]["tfidf"]["value"] > 0.6  # the synthetic regions have words of their own
    assert (output_dir / "identify_region.png").is_file()
