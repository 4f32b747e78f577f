import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import identify_region
from benchmarks.identify_region import IdentifyArguments, read_news, read_parts
from benchmarks.region_scores import (
    Method,
    Part,
    Resampling,
    calibration_error,
    reliability,
    score_authors,
    score_news,
    score_texts,
)
from tests.training.conftest import REGIONS, family, run_main, save_body, write_texts  # noqa: F401, the fixture
from tests.training.test_identify_region import save_classifier
from training.evaluation.region_calibration import Calibration
from training.texts.corpus import open_corpora
from training.texts.synthetic import generate_texts

RESAMPLING = Resampling(200, 0)
EQUAL = Calibration("", 1.0, {"ar": 0.0, "mx": 0.0})


def part(regions, authors=None, texts=None) -> Part:
    found = Part()
    for number, region in enumerate(regions):
        found.add(texts[number] if texts else f"texto {number}", authors[number] if authors else None, region)
    return found


def method(evidence, places=None, name="test") -> Method:
    """A method that gives this evidence for the texts at `places` (default: all)."""
    every = np.arange(len(evidence))
    return Method({name: every if places is None else np.array(places)}, {name: np.array(evidence, float)}, EQUAL)


def guesses(numbers) -> list[list[float]]:
    return [[5.0, 0.0] if number == 0 else [0.0, 5.0] for number in numbers]


def test_calibration_error_by_hand():
    """Two texts at .9 of which one is right, two at .6 of which both are: gaps of .4 and .4."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    right = np.array([0, 1, 0, 1])
    assert calibration_error(probabilities, right) == pytest.approx(0.4)
    assert [entry["texts"] for entry in reliability(probabilities, right)] == [2, 2]


def test_texts_of_an_author_are_put_together():
    test = part([0, 0, 1, 1], ["x", "x", "y", "z"])
    scores = np.log([[0.8, 0.2], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])  # x by both together, y wrong, z right
    found = score_authors(test, scores, np.zeros((4, 2)), RESAMPLING)
    assert (found["authors"], found["texts_of_author"]) == (3, pytest.approx(4 / 3))
    assert found["by_region"] == [1.0, 0.5]
    assert found["accuracy"]["value"] == 0.75
    assert found["less_tfidf"]["value"] == 0.25  # which says the first region of everybody


def test_regions_count_alike():
    """Nine of ten texts of one region right and none of two of the other."""
    test = part([0] * 10 + [1] * 2)
    same = method(guesses([0] * 9 + [1] + [0] * 2))
    found = score_texts(same, same, test, RESAMPLING)
    assert found["per_text"]["accuracy"]["value"] == pytest.approx(0.45)
    assert found["per_text"]["less_tfidf"] == {"value": 0, "low": 0, "high": 0}
    assert found["confusion"] == [[9, 1], [2, 0]]


def test_a_method_is_compared_on_its_own_texts():
    test = part([0, 0, 1, 1], texts=["a", "b " * 9, "c", "d " * 9])
    baseline = method(guesses([0, 1, 1, 0]))
    found = score_texts(method(guesses([0, 0]), places=[1, 2]), baseline, test, RESAMPLING)
    assert found["texts"] == [1, 1]
    assert found["per_text"]["accuracy"]["value"] == 0.5  # of the second text and the third
    assert found["per_text"]["less_tfidf"]["value"] == 0  # whose third is right and second is not
    assert {name: entry["texts"] for name, entry in found["by_length"].items()} == {"0 to 7": 1, "8 to 11": 1}
    assert found["by_length"]["8 to 11"]["less_tfidf"]["value"] == 1


def test_news_are_of_their_own_regions_only():
    """The third region is the likeliest for all, but no text is of it."""
    news = part([0, 1])
    calibration = Calibration("", 1.0, {"ar": 0.0, "es": 0.0, "mx": 9.0})
    found = replace(method([[2, 1, 0], [1, 2, 0]], name="news"), calibration=calibration)
    assert score_news(found, found, news, RESAMPLING)["accuracy"]["value"] == 1


@pytest.fixture
def arguments(tmp_path):
    for region in REGIONS:
        write_texts(tmp_path / f"{region}.jsonl", generate_texts(region, 300))
    paths = {"model": "", "corpora": [str(tmp_path)], "news": None}
    return IdentifyArguments(**paths, test_fraction=0.2, max_training_texts=50, max_test_texts=9)


def test_texts_are_drawn_by_the_seed(arguments):
    corpora = open_corpora(arguments.corpora, "text")
    first, again, other = (read_parts(replace(arguments, seed=seed), corpora) for seed in (0, 0, 1))
    assert first["training"].texts == again["training"].texts
    assert set(first["training"].texts) != set(other["training"].texts)
    assert np.bincount(first["test"].regions).tolist() == [9, 9]
    assert not {*first["training"].texts} & {*first["test"].texts}
    beginning = list(corpora["ar"])[:150]
    assert not {*first["training"].texts[:50]} <= {*beginning}


def test_news_of_no_single_region_are_left_out(arguments, tmp_path, capsys):
    path = write_texts(tmp_path / "news.jsonl", ["uno", "dos", "tres"], label=["ES-AR", "ES", "ES-PE"])
    news = read_news(replace(arguments, news=str(path)), list(REGIONS))
    assert (news.texts, news.regions.tolist()) == (["uno"], [0])
    assert "2 of 3 texts" in capsys.readouterr().out


@pytest.mark.slow
def test_the_measurement_of_a_small_family(family, tmp_path):  # noqa: F811
    news = write_texts(tmp_path / "news.jsonl", ["vamos a comer", "el subio de precio"], label=["ES-MX", "ES-AR"])
    output_dir = run_main(
        identify_region,
        model=save_body(family, tmp_path / "bilma"),
        classifier=save_classifier(family, tmp_path / "bilma-region", REGIONS),
        corpora=family / "corpora",
        news=news,
        output_dir=tmp_path / "results",
        test_fraction=0.2,
        validation_fraction=0.2,
        max_likelihood_texts=20,
        resamples=100,
    )
    result = json.loads((output_dir / "identify_region.json").read_text())
    assert result["regions"] == list(REGIONS)
    assert list(result["methods"]) == ["tfidf", "likelihoods", "classifier"]
    assert result["methods"]["likelihoods"]["texts"] == [20, 20]
    for scores in result["methods"].values():
        assert np.sum(scores["confusion"]) == sum(scores["texts"]) == sum(e["texts"] for e in scores["reliability"])
        assert scores["news"]["texts"] == 2
    assert result["methods"]["tfidf"]["per_text"]["accuracy"]["value"] > 0.6  # synthetic regions have their own words
    for name in ("confusion", "reliability"):
        assert (output_dir / f"identify_region_{name}.png").is_file()
