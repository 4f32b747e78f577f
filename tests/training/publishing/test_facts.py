"""The facts of the eight regions, and files that lack some."""

import pytest
import yaml

from training.common.errors import InputError
from training.publishing.facts import MODEL_CARDS, read_facts
from training.texts.regions import REGIONS, get_region

FACTS = yaml.safe_load((MODEL_CARDS / "bilma-mx" / "facts.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_has_its_facts(region, tokenizer):
    facts = read_facts(get_region(region))
    assert not any('"' in text for text in facts["phrases"] + facts["texts"])  # they stand in code between these
    for phrase in facts["phrases"]:
        assert tokenizer(phrase)["input_ids"].count(tokenizer.mask_token_id) == 1
    for text in facts["texts"]:
        assert tokenizer.mask_token_id not in tokenizer(text)["input_ids"]


def test_no_phrase_stands_for_two_regions():
    phrases = [text for code in REGIONS for key in ("phrases", "texts") for text in read_facts(get_region(code))[key]]
    assert len(phrases) == len(set(phrases)) == 8 * 6


def test_there_are_facts_of_the_known_regions_and_no_others():
    assert {path.parent.name for path in MODEL_CARDS.glob("*/facts.yaml")} == {f"bilma-{code}" for code in REGIONS}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({key: value for key, value in FACTS.items() if key != "variety"}, "variety lacks its text in es"),
        (FACTS | {"speech": {"es": "Se tutea."}}, "speech lacks its text in en"),
        (FACTS | {"phrases": []}, "phrases is not a list of texts"),
        (FACTS | {"texts": "uno"}, "texts is not a list of texts"),
        (FACTS | {"corpora": {"c0": {"es": "Inventados."}}}, "corpora: c0 lacks its text in en"),
        (FACTS | {"corpora": ["c0"]}, "corpora is not"),
        (["es"], "not a list of `key: value` lines"),
    ],
)
def test_incomplete_facts_are_said(tmp_path, facts, message):
    (tmp_path / "bilma-mx").mkdir()
    (tmp_path / "bilma-mx" / "facts.yaml").write_text(yaml.safe_dump(facts, allow_unicode=True), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_facts(get_region("mx"), tmp_path)


def test_facts_that_are_no_yaml_are_said(tmp_path):
    (tmp_path / "bilma-mx").mkdir()
    (tmp_path / "bilma-mx" / "facts.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match="facts.yaml: not readable as YAML"):
        read_facts(get_region("mx"), tmp_path)
