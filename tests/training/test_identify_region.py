"""The script as a user calls it, on a body whose regional parts prefer different words, and on a classifier."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from modeling_bilma import BilmaForSequenceClassification
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.conftest import REGIONS, save_body, write_texts
from training import identify_region
from training.evaluation.region_calibration import CALIBRATION_FILE, Calibration, fit_calibration
from training.evaluation.region_identification import deciding_words, open_identifier
from training.texts.synthetic import generate_texts


@pytest.fixture(scope="module")
def body(family, tmp_path_factory):
    return save_body(family, tmp_path_factory.mktemp("body") / "bilma")


def save_classifier(family, folder, labels):
    """Save a classifier with a random head."""
    names = dict(enumerate(labels))
    model = BilmaForSequenceClassification.from_pretrained(
        family / "bilma-mx", id2label=names, label2id={name: number for number, name in names.items()}
    )
    torch.manual_seed(0)
    for layer in (model.classifier.dense_1, model.classifier.dense_2, model.classifier.out_proj):
        torch.nn.init.normal_(layer.weight)
    model.save_pretrained(folder)
    load_tokenizer(family / "tokenizer").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(family, tmp_path_factory):
    return save_classifier(family, tmp_path_factory.mktemp("classifier") / "bilma-region", REGIONS)


@pytest.fixture(scope="module")
def identifiers(body, classifier):
    return {
        name: open_identifier(path, torch.device("cpu")) for name, path in (("parts", body), ("labels", classifier))
    }


@pytest.fixture(params=["parts", "labels"])
def identifier(identifiers, request):
    return identifiers[request.param]


@pytest.fixture
def identify(monkeypatch, capsys):
    """Run the script; returns what it prints."""

    def identify(*argv):
        monkeypatch.setattr(sys, "argv", ["identify_region.py", *map(str, argv)])
        identify_region.main()
        return capsys.readouterr().out

    return identify


def test_likelihoods_are_those_of_a_plain_loop(identifiers, body):
    """Every token masked once, together with every fourth one, behind the token of each region."""
    text = generate_texts("mx", 1)[0]
    identifier = identifiers["parts"]
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
        assert identifier.evidence([text])[0, number] == pytest.approx(total, abs=1e-3)


def test_a_word_weighs_for_a_classifier_what_is_lost_where_it_is_masked(identifiers, classifier):
    identifier, text = identifiers["labels"], "vamos a comer xolotl"
    tokenizer = identifier.folder.tokenizer
    model = AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32).eval()
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    masked = ids.clone()
    masked[0, 4:-1] = tokenizer.mask_token_id  # all of the last word
    assert ids.shape[1] > 6
    with torch.no_grad():
        whole, without = model(ids).logits.log_softmax(-1)[0], model(masked).logits.log_softmax(-1)[0]
    (found,) = identifier.evidence_by_word([text])
    assert found.words == text.split()
    np.testing.assert_allclose(found.total, whole.numpy(), atol=1e-4)
    np.testing.assert_allclose(found.by_word[-1], (whole - without).numpy(), atol=1e-4)


def test_texts_do_not_change_each_other(identifier):
    texts = [*generate_texts("mx", 3), "", "☃", "hola"]
    together, by_word = identifier.evidence(texts), identifier.evidence_by_word(texts)
    for text, found, explained in zip(texts, together, by_word, strict=True):
        np.testing.assert_allclose(identifier.evidence([text])[0], found, atol=1e-4)
        np.testing.assert_allclose(explained.total, found, atol=1e-4)
    assert not by_word[3].words and not by_word[4].words  # empty, and unknown


def test_the_prior_decides_where_nothing_is_known(identifiers):
    assert (identifiers["parts"].evidence(["", "☃"]) == 0).all()


def test_words_that_decide_are_words_of_the_text(identifier):
    text = "Vamos a comer tacos, ¡qué frío!"
    calibration = Calibration("", 1.0, dict.fromkeys(REGIONS, 0.0))
    (found,) = identifier.identify([text], calibration, most_words=10)
    assert found["region"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["words"]
    assert all(word["word"] in text and word["nats"] > 0 for word in found["words"])
    (evidence,) = identifier.evidence_by_word([text])
    for region in range(len(REGIONS)):
        words = deciding_words(evidence, region)
        assert words == sorted(words, key=lambda word: -word["nats"])
        difference = evidence.by_word[:, region] - evidence.by_word[:, 1 - region]
        assert sum(word["nats"] for word in words) == pytest.approx(difference[difference > 0].sum())


def test_words_of_a_model_with_parts_add_up_to_the_text(identifiers):
    for evidence in identifiers["parts"].evidence_by_word(generate_texts("mx", 3)):
        np.testing.assert_allclose(evidence.by_word.sum(0), evidence.total)


def test_calibration_finds_temperature_and_prior():
    """Texts drawn from known probabilities: evidence three times too sure, and mx three times as common."""
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(4000, 2))
    logits = evidence + np.log([1, 3])
    probability_of_mx = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    regions = np.where(rng.random(4000) < probability_of_mx, "mx", "ar")
    found = fit_calibration("", REGIONS, 3 * evidence, regions)
    assert found.scale == pytest.approx(1 / 3, rel=0.15)
    assert found.bias["mx"] - found.bias["ar"] == pytest.approx(np.log(3), abs=0.15)


@pytest.mark.parametrize("kind", ["body", "classifier"])
def test_fit_then_identify(identify, request, kind, family, tmp_path, refusal):
    model = shutil.copytree(request.getfixturevalue(kind), tmp_path / "bilma")
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


def test_a_model_that_tells_no_regions_apart(identify, family, tmp_path, refusal):
    classifier = save_classifier(family, tmp_path / "sentiment", ["positive", "negative"])
    for model in (family / "bilma-mx", classifier):
        assert "tells no regions apart" in refusal(
            identify_region, lambda model=model: identify("--model", model, "a")
        )


def test_a_corpus_of_a_region_that_the_model_lacks(identify, body, tmp_path, refusal):
    corpus = write_texts(tmp_path / "uy.jsonl", ["hola"])
    assert "does not know uy" in refusal(identify_region, lambda: identify("--model", body, "--fit", corpus))
