"""The facts of the family and its regions, and files that lack some."""

import json

import pytest
import yaml

from training.common.errors import InputError
from training.common.provenance import weights_fingerprint
from training.publishing.facts import MODEL_CARDS, read_facts
from training.texts.regions import REGIONS

FACTS = yaml.safe_load((MODEL_CARDS / "bilma-mx" / "facts.yaml").read_text(encoding="utf-8"))
ALL = (None, *REGIONS)


@pytest.mark.parametrize("region", ALL)
def test_every_region_has_its_facts(region, tokenizer):
    facts = read_facts(region)
    for phrase in facts["phrases"]:
        assert tokenizer(phrase)["input_ids"].count(tokenizer.mask_token_id) == 1
    for text in facts["texts"]:
        assert tokenizer.mask_token_id not in tokenizer(text)["input_ids"]


def test_the_texts_of_the_results_are_described():
    """The key is the fingerprint of a corpus: another one would silently leave out where the texts come from."""
    corpora = json.loads((MODEL_CARDS / "results" / "mlm_matrix.json").read_text(encoding="utf-8"))["corpora"]
    assert all(corpus["fingerprint"] in read_facts(corpus["region"])["corpora"] for corpus in corpora)
    trained = json.loads((MODEL_CARDS.parent / "models" / "bilma" / "metrics.json").read_text(encoding="utf-8"))
    family = read_facts(None)
    assert trained["corpus"]["fingerprint"] in family["corpora"]
    assert family["memorisation"]["model"] == weights_fingerprint(MODEL_CARDS.parent / "models" / "bilma")


def test_no_phrase_belongs_to_two_regions():
    phrases = [text for region in ALL for key in ("phrases", "texts") for text in read_facts(region)[key]]
    assert len(phrases) == len(set(phrases)) == 9 * 6


def test_there_are_no_facts_of_other_regions():
    names = {path.parent.name for path in MODEL_CARDS.glob("*/facts.yaml")}
    assert names == {"bilma", *(f"bilma-{code}" for code in REGIONS)}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({key: value for key, value in FACTS.items() if key != "variety"}, "variety lacks its text in es"),
        (FACTS | {"speech": {"es": "Se tutea."}}, "speech lacks its text in en"),
        (FACTS | {"memorisation": {"es": "Nada."}}, "memorisation lacks its text in en"),
        (FACTS | {"memorisation": {"es": "Nada.", "en": "Nothing."}}, "model is not the fingerprint"),
        (FACTS | {"genre": {"es": "recetas"}}, "genre lacks its text in en"),
        (FACTS | {"phrases": []}, "phrases"),
        (FACTS | {"texts": "uno"}, "texts"),
        (FACTS | {"corpora": {"c0": {"es": "Inventados."}}}, "corpora: c0 lacks its text in en"),
        (FACTS | {"corpora": ["c0"]}, "corpora"),
        (["es"], "not a mapping"),
    ],
)
def test_incomplete_facts_are_named(tmp_path, facts, message):
    (tmp_path / "bilma-mx").mkdir()
    (tmp_path / "bilma-mx" / "facts.yaml").write_text(yaml.safe_dump(facts, allow_unicode=True), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_facts("mx", tmp_path)


def test_facts_that_are_not_yaml(tmp_path):
    (tmp_path / "bilma-mx").mkdir()
    (tmp_path / "bilma-mx" / "facts.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match="facts.yaml: not readable as YAML"):
        read_facts("mx", tmp_path)
