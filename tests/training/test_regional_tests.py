"""The script as a user calls it, on a body with regional parts, a random BERT and a random byte-level RoBERTa."""

import json

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tests.training.conftest import REGIONS, run_main, save_body
from tests.training.foreign_models import save_bert, save_roberta
from training import regional_tests

CLOZE = {"kind": "lexical_cloze", "sentence": "Voy en [MASK] al trabajo."}
ITEMS = [
    CLOZE | {"id": "1", "concept": "bus", "forms": {"ar": ["bondi", "colectivo"], "mx": ["camión"]}},
    CLOZE | {"id": "2", "concept": "bus", "forms": {"ar": ["el colectivo"], "mx": ["el camión", "el bus"]}},
    CLOZE | {"id": "3", "concept": "same", "forms": {"ar": ["bus"], "mx": ["bus"]}},
    {
        "id": "4",
        "kind": "grammar_pair",
        "concept": "voseo",
        "sentence_a": "¿Querés tacos?",
        "sentence_b": "¿Quieres tacos?",
        "marked_a": "Querés",
        "marked_b": "Quieres",
        "prefer_a": ["ar"],
        "prefer_b": ["mx"],
    },
]


@pytest.fixture(scope="module")
def tests_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tests")
    (folder / "data").mkdir()
    (folder / "data" / "items.jsonl").write_text("\n".join(map(json.dumps, ITEMS)))
    return folder


@pytest.fixture(scope="module")
def result(family, tests_folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    folders = [save_body(family, home / "bilma"), save_bert(home / "bert"), save_roberta(home / "roberta")]
    output_dir = run_main(
        regional_tests, models=folders, tests=tests_folder, output_dir=home / "results", resamples=100
    )
    return output_dir, json.loads((output_dir / "regional_tests.json").read_text()), folders


def log_likelihood(folder, sentence, tokens) -> float:
    """By a plain loop: each token masked with those after it; one word."""
    model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval()
    ids = AutoTokenizer.from_pretrained(folder)(sentence, return_tensors="pt")["input_ids"]
    total = 0.0
    for number, position in enumerate(tokens):
        masked = ids.clone()
        masked[0, tokens[number:]] = AutoTokenizer.from_pretrained(folder).mask_token_id
        with torch.no_grad():
            total += model(masked).logits[0, position].log_softmax(-1)[ids[0, position]].item()
    return total


@pytest.mark.slow
def test_every_model_is_tested_on_both_regions_and_all_kinds(result):
    output_dir, found, _ = result
    columns = {model["name"]: model["region"] for model in found["models"]}
    assert columns == {"bilma": None, "bilma-ar": "ar", "bilma-mx": "mx", "bert": None, "roberta": None}
    kinds = ["all", "lexical_cloze", "grammar_pair"]
    assert [(cell["kind"], cell["region"], cell["model"]) for cell in found["cells"]] == [
        (kind, region, name) for kind in kinds for region in REGIONS for name in columns
    ]
    for cell in found["cells"]:
        contrasts = {"all": 3, "lexical_cloze": 2, "grammar_pair": 1}[cell["kind"]]  # one item is alike everywhere
        assert cell["count"] + cell["left_out"] == contrasts
        assert (cell["steered"] is not None) == (columns[cell["model"]] == cell["region"])
        assert cell["reference"] == (None if columns[cell["model"]] is None else "bilma")
    assert (output_dir / "figures" / "regional_tests.png").is_file()
    assert "Tests of regional knowledge" in (output_dir / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_pair_is_decided_by_the_plain_log_likelihoods(result, place):
    _, found, folders = result
    scores = []
    for sentence in ("¿Querés tacos?", "¿Quieres tacos?"):
        encoding = AutoTokenizer.from_pretrained(folders[place])(sentence, return_offsets_mapping=True)
        word = range(1, sentence.index(" "))
        tokens = [n for n, (start, end) in enumerate(encoding["offset_mapping"]) if start in word and end - 1 in word]
        scores.append(log_likelihood(folders[place], sentence, tokens))
    shares = {
        cell["region"]: cell["chosen"]["value"]
        for cell in found["cells"]
        if (cell["kind"], cell["model"]) == ("grammar_pair", folders[place].name)
    }
    assert shares == {"ar": float(scores[0] > scores[1]), "mx": float(scores[1] > scores[0])}


@pytest.mark.parametrize(
    ("flags", "fact"),
    [
        ({"resamples": 10}, "--resamples 10"),
        ({"tests": "nowhere"}, "nowhere: no data/*.jsonl"),
        ({"models": "nowhere"}, "nowhere: not a model folder"),
    ],
)
def test_wrong_input(refusal, family, tests_folder, tmp_path, flags, fact):
    given = {"models": family / "bilma-mx", "tests": tests_folder, "output_dir": tmp_path / "results"}
    assert fact in refusal(regional_tests, lambda: run_main(regional_tests, **(given | flags)))
