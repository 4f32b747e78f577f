"""The card as a whole, what the Hub reads of it, what it says of other models, and what it cannot be made from."""

import copy
import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index
from huggingface_hub.utils import validate_repo_id

from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from tests.training.publishing.trained_folder import (
    CORPUS,
    EXPECTED_CARD,
    FIGURES,
    change_json,
    emoji_results,
    mlm_results,
    publication,
)
from training.common.errors import InputError
from training.common.provenance import weights_fingerprint
from training.publishing import card
from training.publishing.card import render_card
from training.publishing.eval_results import model_index
from training.publishing.facts import read_facts
from training.texts.regions import REGIONS, get_region


@pytest.fixture
def own(tmp_path):
    return publication(tmp_path / "run-7")


@pytest.fixture
def emoji(tmp_path):
    return publication(tmp_path / "run-7", emoji=True)


def of_both_kinds(tmp_path, region):
    own = publication(tmp_path / "mlm", region=region)
    emoji = publication(tmp_path / "emoji", emoji=True, region=region)
    return (own, mlm_results(own)), (emoji, emoji_results(emoji))


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_whole_card(own):
    assert render_card(own, mlm_results(own), FIGURES) == EXPECTED_CARD.read_text(encoding="utf-8")


@pytest.mark.parametrize("region", REGIONS)
def test_cards_of_all_regions_are_complete(tmp_path, region):
    for own, results in of_both_kinds(tmp_path, region):
        text = render_card(own, results, FIGURES)
        assert ModelCard(text).data.to_dict() == front_matter(text)
        assert text.count(read_facts(get_region(region))["variety"]["es"]) >= 2
        body = text.split("---\n", 2)[2]
        assert not re.search(r"None|TODO|Undefined|\{[{%]|[}%]\}", body)
        assert not re.search(r"\n#+ [^\n]*\n\n#", body), "a heading without a text"
        assert "\n\n\n" not in body
        assert body.count("«") == body.count("»")
        assert body.count("```") % 2 == 0


def test_what_the_hub_reads(own):
    data = ModelCard(render_card(own, mlm_results(own), FIGURES)).data
    assert (data.language, data.license, data.library_name) == ("es", "mit", "transformers")
    assert data.pipeline_tag == "fill-mask"
    assert "es-MX" in data.tags
    assert [phrase["text"].count("[MASK]") for phrase in data.widget] == [1, 1, 1]
    assert data.base_model is None and data.datasets is None
    assert data.model_name == "bilma-mx"
    assert eval_results_to_model_index(data.model_name, data.eval_results) == eval_results_to_model_index(
        "bilma-mx", model_index(own, mlm_results(own))
    )


def test_a_classifier_names_its_base_and_is_tried_with_whole_texts(emoji):
    text = render_card(emoji, emoji_results(emoji), [])
    data = ModelCard(text).data
    assert (data.pipeline_tag, data.base_model, data.base_model_relation) == (
        "text-classification",
        "org/bilma-mx",
        "finetune",
    )
    assert data.metrics == ["accuracy", "f1"]
    assert not any("[MASK]" in phrase["text"] for phrase in data.widget)
    assert "| **bilma-mx-emoji** | 0.280 (0.200 a 0.360) | 0.140 (0.090 a 0.190) | 0.431 |" in text
    assert "No se distinguen." in text and "They cannot be told apart." in text
    assert "[MASK]" not in text
    assert "Figuras" not in text


@pytest.mark.parametrize(
    ("init_from", "fingerprint", "base"),
    [
        (None, None, None),
        ("bilma-ar", "f" * 64, None),  # a local folder, whatever it is called
        ("run-3", "0" * 64, "org/bilma-ar"),  # the weights of one of the family
        ("org/bilma-mx", None, None),  # an earlier state of itself
        ("someone/bilma-latam", None, "someone/bilma-latam"),
        ("not an/id", None, None),
    ],
)
def test_only_what_is_on_the_hub_is_a_base_model(own, init_from, fingerprint, base):
    change_json(own.folder / "training_args.json", init_from=init_from)
    change_json(own.folder / "metrics.json", base_fingerprint=fingerprint)
    text = render_card(own, mlm_results(own), [])
    assert ModelCard(text).data.base_model == base
    assert (f"`{base or init_from}`" in text) == (init_from is not None)
    assert ("Se entrenó desde cero." in text) == (init_from is None)
    if base:
        validate_repo_id(base)


def test_the_first_part_of_the_training_is_told(own):
    """Of a base that lies beside the model and has the weights that it started from, and of no other."""
    base = publication(own.folder.parent / "base").folder
    change_json(base / "metrics.json", training={"texts_seen": 201664, "steps": 3151, "seconds": 1791.7})
    change_json(own.folder / "training_args.json", init_from="base")
    change_json(own.folder / "metrics.json", base_fingerprint=weights_fingerprint(base))
    text = render_card(own, mlm_results(own), [])
    assert "began from nothing and read 201,664 texts of `mx.jsonl.gz`" in text
    assert "in 3,151 steps and 29.9 min" in text and "en 3,151 pasos y 29.9 min" in text
    change_json(own.folder / "metrics.json", base_fingerprint="9" * 64)
    assert "a local folder called `base`" in render_card(own, mlm_results(own), [])


@pytest.mark.parametrize(("name", "ids"), [("someone/tweets", ["someone/tweets"]), ("/data/tweets", None)])
def test_only_datasets_of_the_hub_are_named_as_such(own, name, ids):
    change_json(own.folder / "training_args.json", dataset_name=name)
    assert ModelCard(render_card(own, mlm_results(own), [])).data.datasets == ids


def test_without_a_tag_the_reader_is_told_to_pin_a_commit(tmp_path):
    own = publication(tmp_path / "run-7", tag=None)
    text = render_card(own, mlm_results(own), [])
    assert 'revision="COMMIT"' in text and 'model_info("org/bilma-mx").sha' in text
    assert "v1.0" not in text
    assert "/blob/main/results/mlm_matrix.json" in text


def test_texts_that_the_facts_describe(own, monkeypatch):
    described = read_facts(own.region) | {
        "corpora": {CORPUS["fingerprint"]: {"es": "Son inventados.", "en": "Invented."}}
    }
    monkeypatch.setattr(card, "read_facts", lambda region: described)
    text = render_card(own, mlm_results(own), [])
    assert "Son inventados." in text and "Invented." in text
    assert "no consta" not in text
    change_json(own.folder / "metrics.json", corpus=CORPUS | {"fingerprint": "f" * 64})
    assert "no consta" in render_card(own, mlm_results(own), [])


def test_many_files_are_counted_and_not_listed(own):
    change_json(own.folder / "metrics.json", corpus=CORPUS | {"names": [f"{number}.parquet" for number in range(90)]})
    text = render_card(own, mlm_results(own), [])
    assert "`4.parquet` y otros (85)" in text and "5.parquet`" not in text


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ({"value": 0.02, "low": 0.01, "high": 0.03}, "Este modelo acierta más."),
        ({"value": -0.02, "low": -0.03, "high": -0.01}, "Este modelo acierta menos."),
        ({"value": 0.01, "low": -0.01, "high": 0.03}, "No se distinguen."),
    ],
)
def test_a_difference_is_called_one_where_the_interval_leaves_no_doubt(own, difference, verdict):
    results = mlm_results(own)
    results["mlm_matrix"]["comparisons"][0]["masked_accuracy_difference"] = difference
    verdicts = re.findall(r"Este modelo acierta \w+\.|No se distinguen\.", render_card(own, results, []))
    assert verdicts == [verdict]


def test_a_model_evaluated_alone(own):
    results = mlm_results(own)
    results["mlm_matrix"]["comparisons"] = []
    text = render_card(own, {kind: results[kind] for kind in ("mlm_matrix", "completions")}, [])
    assert "No se evaluó junto a un modelo de otra región." in text
    assert "Palabras que prefiere" not in text and "Parecido" not in text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda own, results: results.pop("mlm_matrix"), "without mlm_matrix.json is incomplete"),
        (lambda own, results: results.pop("completions"), "without completions.json is incomplete"),
        (lambda own, results: results["similarity"].update(models=[]), "none of those in similarity.json"),
        (lambda own, results: results["mlm_matrix"]["corpora"].pop(), "has no texts of mx"),
        (lambda own, results: (own.folder / "model.safetensors").write_bytes(b"other"), "none of those in"),
        (lambda own, results: (own.folder / "metrics.json").unlink(), "metrics.json: missing"),
        (
            lambda own, results: (own.folder / "training_args.json").write_text("{"),
            "training_args.json: not readable as JSON",
        ),
        (lambda own, results: (own.folder / "config.json").write_text("[]"), "config.json: holds no JSON object"),
        (lambda own, results: change_json(own.folder / "metrics.json", training={}), "has no attribute 'texts'"),
    ],
)
def test_what_is_missing_is_said(own, spoil, message):
    results = copy.deepcopy(mlm_results(own))
    spoil(own, results)
    with pytest.raises(InputError, match=message):
        render_card(own, results, [])


def test_a_region_without_facts_is_said(tmp_path):
    own = publication(tmp_path / "run-7", region="pe")
    with pytest.raises(InputError, match="no facts for the card of pe: write them as"):
        render_card(own, mlm_results(own), [])


def test_the_code_of_the_card_runs(own, tokenizer, capsys):
    """On a folder in the place of the repository, whose revision is then not asked for."""
    text = render_card(own, mlm_results(own), [])
    BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer), region="mx")).save_pretrained(own.folder)
    tokenizer.save_pretrained(own.folder)
    blocks = re.findall(r"```python\n(.*?)```", text.split("## English")[0], re.DOTALL)
    names = {}
    for block in blocks:
        exec(block.replace('"org/bilma-mx"', json.dumps(str(own.folder))), names)
    assert len(capsys.readouterr().out.splitlines()) == 5  # answers of the pipeline
    assert names["states"].shape[0] == 1
    assert names["classifier"].config.num_labels == 3
    assert blocks == re.findall(r"```python\n(.*?)```", text.split("## English")[1], re.DOTALL)
