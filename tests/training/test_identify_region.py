"""The script as a user calls it, on a body whose regional parts prefer different words."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM

from tests.training.conftest import REGIONS, save_body, write_texts
from training import identify_region
from training.evaluation.region_identification import (
    CALIBRATION_FILE,
    Calibration,
    RegionIdentifier,
    fit_calibration,
    open_regional_model,
)
from training.texts.synthetic import generate_texts


@pytest.fixture(scope="module")
def body(family, tmp_path_factory):
    return save_body(family, tmp_path_factory.mktemp("body") / "bilma")


@pytest.fixture(scope="module")
def identifier(body):
    return RegionIdentifier(open_regional_model(body), device=torch.device("cpu"))


@pytest.fixture
def identify(monkeypatch, capsys):
    """Run the script; returns what it prints."""

    def identify(*argv):
        monkeypatch.setattr(sys, "argv", ["identify_region.py", *map(str, argv)])
        identify_region.main()
        return capsys.readouterr().out

    return identify


def test_likelihoods_are_those_of_a_plain_loop(identifier, body):
    """Every token masked once, together with every fourth one, behind the token of each region."""
    text = generate_texts("mx", 1)[0]
    tokenizer = identifier.folder.tokenizer
    model = AutoModelForMaskedLM.from_pretrained(body, dtype=torch.float32, trust_remote_code=True).eval()
    for number, region in enumerate(REGIONS):
        ids = tokenizer(f"[{region.upper()}] {text}", truncation=True, max_length=39, return_tensors="pt")["input_ids"]
        places = [n for n in range(2, ids.shape[1] - 1) if ids[0, n] not in tokenizer.all_special_ids]
        total = 0.0
        for first in range(4):
            masked = ids.clone()
            masked[0, places[first::4]] = tokenizer.mask_token_id
            with torch.no_grad():
                log_probabilities = model(masked).logits[0].log_softmax(-1)
            total += sum(log_probabilities[place, ids[0, place]].item() for place in places[first::4])
        assert identifier.log_likelihoods([text])[0, number] == pytest.approx(total, abs=1e-3)


def test_texts_do_not_change_each_other(identifier):
    texts = [*generate_texts("mx", 3), "", "☃", "hola"]
    together = identifier.log_likelihoods(texts)
    for text, found in zip(texts, together, strict=True):
        np.testing.assert_allclose(identifier.log_likelihoods([text])[0], found, atol=1e-4)
    assert (together[3:5] == 0).all()  # nothing is known of these, so the prior decides


def test_words_that_decide_are_words_of_the_text(identifier):
    text = "Vamos a comer tacos, ¡qué frío!"
    calibration = Calibration("", 1.0, dict.fromkeys(REGIONS, 0.0))
    (found,) = identifier.identify([text], calibration, most_words=10)
    assert found["region"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["words"]
    assert all(word["word"] in text and word["nats"] > 0 for word in found["words"])
    likelihoods = identifier.token_likelihoods([text])[0]
    for region, code in enumerate(REGIONS):
        words = identifier.deciding_words(text, likelihoods, region)
        assert words == sorted(words, key=lambda word: -word["nats"])
        difference = likelihoods.values[region] - likelihoods.values[1 - region]
        assert sum(word["nats"] for word in words) >= difference.sum() - 1e-6, code


def test_calibration_finds_temperature_and_prior(identifier):
    """Texts drawn from known probabilities: log-likelihoods three times too sure, and mx three times as common."""
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(4000, 2))
    logits = evidence + np.log([1, 3])
    probability_of_mx = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    regions = np.where(rng.random(4000) < probability_of_mx, "mx", "ar")
    found = fit_calibration(identifier.folder, 3 * evidence, regions)
    assert found.scale == pytest.approx(1 / 3, rel=0.15)
    assert found.bias["mx"] - found.bias["ar"] == pytest.approx(np.log(3), abs=0.15)


def test_fit_then_identify(identify, body, family, tmp_path, refusal):
    model = shutil.copytree(body, tmp_path / "bilma")
    assert "ar" in identify("--model", model, "Vamos a comer")
    identify("--model", model, "--fit", family / "corpora", "--validation_fraction", 0.2)
    calibration = json.loads((model / CALIBRATION_FILE).read_text())
    assert list(calibration["bias"]) == list(REGIONS)
    assert calibration["scale"] > 0
    texts = write_texts(tmp_path / "texts.jsonl", generate_texts("ar", 5))
    lines = [json.loads(line) for line in identify("--model", model, "--texts", texts).splitlines()]
    assert [line["text"] for line in lines] == generate_texts("ar", 5)
    assert all(line["region"] in REGIONS for line in lines)

    def refused(*argv):
        return refusal(identify_region, lambda: identify("--model", model, *argv))

    assert "--overwrite" in refused("--fit", family / "corpora")
    assert "one of the three" in refused()
    (model / CALIBRATION_FILE).write_text(json.dumps(calibration | {"fingerprint": "other"}))
    assert "other weights" in refused("hola")


def test_a_model_without_regional_parts(identify, family, refusal):
    said = refusal(identify_region, lambda: identify("--model", family / "bilma-mx", "hola"))
    assert "not a model with regional parts" in said


def test_a_corpus_of_a_region_that_the_model_lacks(identify, body, tmp_path, refusal):
    corpus = write_texts(tmp_path / "uy.jsonl", ["hola"])
    assert "no part for uy" in refusal(identify_region, lambda: identify("--model", body, "--fit", corpus))
