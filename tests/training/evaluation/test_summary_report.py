import pytest

from training.evaluation.results import ALL, WORDS
from training.evaluation.summary_report import summary_section


def estimate(value, low, high):
    return {"value": value, "low": low, "high": high}


def win(region, targets=WORDS, score="loss", wins=True):
    facts = {"region": region, "targets": targets, "score": score, "own": f"bilma-{region}", "closest": "bilma"}
    return facts | {"smallest_difference": estimate(0.02, 0.01, 0.03), "p_value": 0.01, "p_holm": 0.02, "wins": wins}


@pytest.fixture
def matrix():
    corpora = [
        {"region": "ar", "test_texts": 1000, "authors": 29},
        {"region": "us", "test_texts": 624, "authors": None},
    ]
    of_others = [win("ar", ALL), win("ar", score="masked_accuracy", wins=False)]
    return {"corpora": corpora, "wins": [win("ar"), win("us", wins=False), *of_others]}


@pytest.fixture
def tests():
    models = [{"name": "bilma", "region": None}, *({"name": f"bilma-{code}", "region": code} for code in ("ar", "mx"))]
    gains = {"ar": estimate(0.2, 0.1, 0.3), "mx": estimate(0.05, -0.01, 0.1)}
    cells = [
        {"region": code, "model": model["name"], "kind": kind, "count": 700, "chosen": estimate(0.5, 0.4, 0.6)}
        | {"gain": gains[code] if model["region"] else None}
        for kind in ("all", "grammar_pair")
        for code in ("ar", "mx")
        for model in models
    ]
    return {"models": models, "cells": cells}


def test_the_first_screen_says_which_models_know_their_region_how_sure_and_on_what(matrix, tests):
    heading, of_tests, by_loss, by_accuracy, table, _ = summary_section(
        {"mlm_matrix": matrix, "regional_tests": tests}
    )
    assert heading.startswith("## ")
    assert "1 of 2 own models" in of_tests and of_tests.endswith("not so `bilma-mx`.")
    assert "1 of 2 own models" in by_loss and "`bilma-ar`" in by_loss
    assert "0 of 1 own models" in by_accuracy
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    chosen, gain, less = "0.500 (0.400 to 0.600)", "0.200 (0.100 to 0.300)", "0.020 (0.010 to 0.030)"
    assert rows[2] == ["ar", "bilma-ar", "700", chosen, gain, "1,000 of 29 authors", less, "bilma", "0.0200"]
    assert rows[3][:2] + rows[3][5:] == ["mx", "bilma-mx", *["–"] * 4]
    assert rows[4] == ["us", "bilma-us", *["–"] * 3, "624", less, "bilma", "0.0200"]


def test_there_is_no_first_screen_without_own_models(matrix, tests):
    tests["cells"] = [cell | {"gain": None} for cell in tests["cells"]]
    assert summary_section({"mlm_matrix": matrix | {"wins": []}, "regional_tests": tests, "completions": {}}) == []
