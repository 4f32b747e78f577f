"""Whole words as a random BERT and a random byte-level RoBERTa predict them, beside a model of ours."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tests.training.conftest import run_main, write_texts
from tests.training.foreign_models import save_bert, save_roberta
from training import evaluate_family
from training.texts.synthetic import generate_texts

NAMES = ("bilma-mx", "bert", "roberta")


@pytest.fixture(scope="module")
def folders(family, tmp_path_factory):
    home = tmp_path_factory.mktemp("foreign")
    return [family / "bilma-mx", save_bert(home / "bert"), save_roberta(home / "roberta")]


@pytest.fixture
def settings(folders, tmp_path):
    corpus = write_texts(tmp_path / "texts-mx.jsonl", generate_texts("mx", 60, seed=1))
    sizes = {"test_fraction": 1, "max_length": 32, "resamples": 100, "mask_draws": 1, "top_k": 3}
    return {"models": folders, "corpora": corpus, "output_dir": tmp_path / "results"} | sizes


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("training.evaluation.report.draw_all", lambda results, folder: [])


def test_words_are_predicted_by_every_family(no_pictures, settings):
    run_main(evaluate_family, "--per_word", **settings)
    result = json.loads((settings["output_dir"] / "per_word_matrix.json").read_text())
    cells = {cell["model"]: cell for cell in result["cells"]}
    assert tuple(cells) == NAMES
    assert len({cell["count"] for cell in cells.values()}) == 1  # of the same words
    for name in NAMES[1:]:
        words_of_random_tokens = np.log(len(AutoTokenizer.from_pretrained(settings["models"][NAMES.index(name)])))
        assert cells[name]["loss"]["value"] > 0.9 * words_of_random_tokens
        assert cells[name]["masked_accuracy"]["value"] < cells["bilma-mx"]["masked_accuracy"]["value"]
    completions = json.loads((settings["output_dir"] / "completions.json").read_text())
    assert [column["model"] for column in completions["phrases"][0]["by_model"]] == list(NAMES)


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_loss_of_a_word_is_that_of_a_plain_loop(no_pictures, settings, folders, tmp_path, name):
    """Ten texts of one word each, which is masked whatever is drawn."""
    folder = folders[NAMES.index(name)]
    texts = [f"tacos {'.' * number}".strip() for number in range(10)]
    corpus = write_texts(tmp_path / "one-mx.jsonl", texts)
    run_main(evaluate_family, "--per_word", **(settings | {"models": [folder], "corpora": corpus}))
    (cell,) = json.loads((settings["output_dir"] / "per_word_matrix.json").read_text())["cells"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    losses = []
    for text in texts:
        encoding = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        places = [place for place, (start, end) in enumerate(encoding["offset_mapping"][0]) if start < 5 and end > 0]
        ids = encoding["input_ids"]
        masked = ids.clone()
        masked[0, places] = tokenizer.mask_token_id
        with torch.no_grad():
            log_probabilities = model(masked).logits[0].log_softmax(-1)
        losses.append(-sum(log_probabilities[place, ids[0, place]].item() for place in places))
    assert cell["count"] == 10
    assert cell["loss"]["value"] == pytest.approx(np.mean(losses), abs=1e-4)


def test_accuracies_over_different_tokens_are_refused(refusal, settings):
    assert "compare them by whole words" in refusal(evaluate_family, lambda: run_main(evaluate_family, **settings))
