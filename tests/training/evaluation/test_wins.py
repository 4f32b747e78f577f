import numpy as np
import pytest

from training.evaluation.wins import corrected, own_differences, p_value, region_wins

REGIONS = {"mx": "mx", "mx-2": "mx", "ar": "ar", "body": None}
ACCURACIES = {"mx": 0.30, "mx-2": 0.29, "ar": 0.20, "body": 0.28}


def samples(spread=0.001):
    rng = np.random.default_rng(0)
    return {name: value + rng.normal(0, spread, 1000) for name, value in ACCURACIES.items()}


def test_own_models_are_compared_with_all_others():
    found = own_differences("mx", REGIONS, ACCURACIES, samples())
    assert {(entry.own, entry.other) for entry in found} == {
        *(("mx", other) for other in ("mx-2", "ar", "body")),
        *(("mx-2", other) for other in ("mx", "ar", "body")),
    }
    assert not own_differences("uy", REGIONS, ACCURACIES, samples())


def test_a_win_is_over_the_models_of_other_regions_and_of_none():
    """The second model of mx is closer, and no rival; the shared body is one."""
    differences = own_differences("mx", REGIONS, ACCURACIES, samples())
    win = region_wins("mx", REGIONS, differences)[0]
    assert (win["own"], win["closest"]) == ("mx", "body")
    assert win["smallest_difference"]["value"] == pytest.approx(0.02)
    assert win["p_value"] == pytest.approx(1 / 1001)


def test_the_weakest_comparison_decides():
    """Ahead of ar by far and of the body by chance: the p-value is the body's."""
    close = ACCURACIES | {"body": 0.2999}
    resampled = samples() | {"body": close["body"] + np.random.default_rng(9).normal(0, 0.001, 1000)}
    differences = own_differences("mx", REGIONS, close, resampled)
    win = region_wins("mx", REGIONS, differences)[0]
    assert win["p_value"] == max(entry.p_value for entry in differences if entry.own == "mx" and entry.other != "mx-2")
    assert 0.3 < win["p_value"] < 0.6


def test_no_win_without_a_rival():
    only = {"mx": "mx", "mx-2": "mx"}
    assert not region_wins("mx", only, own_differences("mx", only, ACCURACIES, samples()))


def test_p_values_count_samples_without_a_gain():
    assert p_value(np.array([1.0, 1, 0, -1, np.nan])) == pytest.approx(3 / 5)
    assert p_value(np.ones(999)) == pytest.approx(1 / 1000)


def test_holm_over_regions():
    """By hand, for p of .01, .02, .03 and .04: times 4, 3, 2 and 1, and never falling."""
    wins = region_wins("mx", REGIONS, own_differences("mx", REGIONS, ACCURACIES, samples()))[:1]
    found = corrected([wins[0] | {"p_value": p} for p in (0.01, 0.04, 0.03, 0.02)])
    assert [win["p_holm"] for win in found] == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert [win["wins"] for win in found] == [True, False, False, False]
    assert corrected([]) == []
