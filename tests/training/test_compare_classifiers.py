"""The script on guesses with known properties."""

import json

import numpy as np
import pytest

from tests.training.conftest import run_main
from training import compare_classifiers
from training.finetuning.guesses import GUESSES_FILE, describe_guesses
from training.texts.labelled import LabelledTexts

LABELS = ["N", "P"]


def write_guesses(folder, name, by_seed, count=600, authors=(), regions=("mx",), average=None, folds=0):
    """Guesses about texts whose labels take turns; `by_seed` are shares guessed right, from the first text on."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = LabelledTexts()
    for number in range(count):
        texts.add(f"texto {number}", LABELS[number % 2], regions[number % len(regions)])
    right = np.arange(count) % 2

    def guessed(share):
        order = np.random.default_rng(0).permutation(count)
        return np.where(order < share * count, right, 1 - right)

    record = describe_guesses(
        "sentiment",
        name,
        LABELS,
        texts,
        {f"texto {number}": author for number, author in enumerate(authors)},
        {seed: guessed(share) for seed, share in enumerate(by_seed)},
        None if average is None else guessed(average),
        folds,
    )
    (folder / GUESSES_FILE).write_text(json.dumps(record))
    return folder


@pytest.fixture
def compare(tmp_path):
    """Write guesses of a classifier and two baselines, run the script, and return the result's one task."""

    def compare(by_seed=(0.9, 0.8), tfidf=(0.7,), average=None, **texts):
        classifier = write_guesses(tmp_path / "bilma", "bilma", by_seed, average=average, **texts)
        write_guesses(tmp_path / "baselines" / "tfidf", "tfidf", tfidf, **texts)
        write_guesses(tmp_path / "baselines" / "majority", "majority", (0.5,), **texts)
        results = run_main(
            compare_classifiers,
            "--overwrite",
            classifiers=classifier,
            baselines=tmp_path / "baselines",
            output_dir=tmp_path / "results",
            resamples=200,
        )
        result = json.loads((results / "classifiers.json").read_text())
        assert "Classifiers against simple methods" in (results / "report.md").read_text()
        return result["tasks"][0]

    return compare


def by_method(task, region="all"):
    return {cell["method"]: cell for cell in task["cells"] if cell["region"] == region}


def test_means_and_spread_over_seeds_and_the_average(compare):
    found = by_method(compare(average=0.95))
    assert found["bilma"]["accuracy"]["value"] == pytest.approx(0.85)
    assert found["bilma"]["accuracy_std"] == pytest.approx(0.1 / 2**0.5)
    assert found["bilma (average)"]["accuracy"]["value"] == pytest.approx(0.95)
    assert found["tfidf"]["accuracy_std"] is None
    # The interval spans both seeds, since they are drawn too.
    assert found["bilma"]["accuracy"]["low"] < 0.8 < 0.9 < found["bilma"]["accuracy"]["high"]


def test_each_baseline_is_compared_in_pairs(compare):
    task = compare(by_seed=(0.8,))
    found = {(entry["other"], entry["score"]): entry for entry in task["comparisons"]}
    assert set(found) == {(other, score) for other in ("tfidf", "majority") for score in ("accuracy", "macro_f1")}
    entry = found["tfidf", "accuracy"]
    assert entry["difference"]["value"] == pytest.approx(0.1)
    assert entry["difference"]["low"] > 0.05  # narrow, as the guesses are paired
    assert entry["p_mcnemar"] == pytest.approx(2 * 0.5**60)  # 60 texts, all of them for the classifier
    assert found["tfidf", "macro_f1"]["p_mcnemar"] is None
    assert [(win["region"], win["score"], win["closest"], win["wins"]) for win in task["wins"]] == [
        ("all", "accuracy", "tfidf", True),
        ("all", "macro_f1", "tfidf", True),
    ]


def test_no_gain_is_no_win(compare):
    task = compare(by_seed=(0.7,))
    assert not any(win["wins"] for win in task["wins"])
    assert all(win["p_value"] == 1 for win in task["wins"])


def test_authors_widen_the_intervals(compare):
    """All texts of an author are right or wrong together, so that there are 30 observations and not 600."""
    order = np.random.default_rng(0).permutation(600)
    by_text, by_author = compare(), compare(authors=[f"a{place // 20}" for place in order])
    widths = [
        np.subtract(*(by_method(task)["tfidf"]["accuracy"][end] for end in ("high", "low")))
        for task in (by_text, by_author)
    ]
    assert widths[1] > 2 * widths[0]
    assert (by_text["resampled"], by_author["resampled"], by_author["authors"]) == ("texts", "authors", 30)
    assert all(entry["p_mcnemar"] is None for entry in by_author["comparisons"])


def test_no_claim_on_few_texts(compare, capsys):
    task = compare(regions=["mx", "mx", "mx", "mx", "mx", "ar", "ar"], count=600)  # 171 texts of ar
    assert {cell["region"] for cell in task["cells"]} == {"all", "ar", "mx"}
    assert not task["notes"]
    few = compare(regions=["mx"] * 5 + ["ar"], count=480)  # 80 texts of ar
    assert {cell["region"] for cell in few["cells"]} == {"all", "mx"}
    assert few["notes"] == [
        "480 test texts are fewer than 500: cross-validate, with --folds 5.",
        "No figure for regions with fewer than 100 test texts: ar (80).",
    ]
    assert len(compare(count=480, folds=5)["notes"]) == 0
    (note,) = compare(count=480, folds=5, authors=[f"a{number % 20}" for number in range(480)])["notes"]
    assert note.startswith("20 authors are too few")
    assert f"sentiment: {note}" in capsys.readouterr().out


def test_guesses_that_cannot_be_compared(compare, refusal, tmp_path):
    compare()

    def refused(**flags):
        given = {
            "classifiers": tmp_path / "bilma",
            "baselines": tmp_path / "baselines",
            "output_dir": tmp_path / "new",
        }
        return refusal(compare_classifiers, lambda: run_main(compare_classifiers, **(given | flags)))

    assert "already holds classifiers.json" in refused(output_dir=tmp_path / "results")
    assert "give a folder of baselines.py" in refused(baselines=tmp_path / "bilma")
    assert "missing: train the classifier" in refused(classifiers=tmp_path / "none")
    write_guesses(tmp_path / "other", "other", (0.5,), count=599)
    assert "no classifier was tested on the same texts" in refused(classifiers=tmp_path / "other")
    write_guesses(tmp_path / "elsewhere", "tfidf", (0.5,))
    assert "two methods are called tfidf" in refused(classifiers=tmp_path / "elsewhere")
