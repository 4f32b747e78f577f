import json
from pathlib import Path

import pytest

from training.common.errors import InputError
from training.evaluation.models import open_folder
from training.evaluation.regional_knowledge import Item, chosen, item_of, read_items, rows_of_form, steered

FORMS = {"ar": ("bondi", "colectivo"), "mx": ("camión",), "co": ("colectivo", "bus")}
ITEM = Item("1", "lexical_cloze", "bus", "Voy en [MASK] hoy.", FORMS)
PAIR = {
    "id": "2",
    "kind": "grammar_pair",
    "concept": "voseo",
    "sentence_a": "Vos sabés que sabés.",
    "sentence_b": "Vos sabés que sabes.",
    "marked_a": "sabés",
    "marked_b": "sabes",
    "prefer_a": ["ar"],
    "prefer_b": ["mx", "es"],
}


def test_the_gap_of_a_pair_is_where_its_sentences_differ():
    item = item_of(PAIR)
    assert item.sentence == "Vos sabés que [MASK]."
    assert item.forms == {"ar": ("sabés",), "mx": ("sabes",), "es": ("sabes",)}
    with pytest.raises(ValueError, match="differ in more"):
        item_of(PAIR | {"sentence_b": "Tú sabés que sabes."})


def test_rivals_are_the_forms_that_only_others_use():
    assert ITEM.rivals("ar") == ["camión", "bus"]
    assert ITEM.rivals("co") == ["bondi", "camión"]


def test_the_best_own_form_has_to_beat_every_rival():
    scores = {"bondi": -9.0, "colectivo": -2.0, "camión": -3.0, "bus": -4.0}
    assert chosen(ITEM, "ar", scores)
    assert not chosen(ITEM, "mx", scores)
    assert chosen(ITEM, "co", scores)  # by the form that it shares with ar
    assert chosen(ITEM, "mx", {"colectivo": -2.0}) is None  # its form cannot be spelled


def test_forms_that_the_other_region_lacks_are_compared_between_models():
    own = {"bondi": -2.0, "colectivo": -9.0, "camión": -3.0, "bus": -4.0}
    others = {"mx": own | {"bondi": -3.0}, "co": own | {"bondi": -1.0}}
    assert steered(ITEM, "ar", own, others) == [True, False]
    assert steered(ITEM, "ar", own, {"uy": own}) == []


def test_words_are_masked_from_left_to_right(family):
    """Every token of a word with those after it in the word; the other word of the form stays."""
    folder = open_folder(family / "bilma-mx")
    mask = folder.tokenizer.mask_token_id
    rows = list(rows_of_form(ITEM, "el xolotl", folder))
    ids = folder.tokenizer("Voy en el xolotl hoy.")["input_ids"]
    pieces = len(folder.tokenizer.tokenize("xolotl"))
    assert pieces > 1
    assert len(rows) == len(folder.tokenizer.tokenize("el")) + pieces
    for row in rows:
        assert row.targets[0] == ids[row.positions[0]]
        assert row.input_ids[row.positions[0]] == mask
    assert [(row.input_ids == mask).sum() for row in rows[-pieces:]] == list(range(pieces, 0, -1))


def test_a_form_that_cannot_be_spelled_has_no_rows(family):
    assert not list(rows_of_form(ITEM, "☃☃", open_folder(family / "bilma-mx")))


@pytest.mark.parametrize("line", ["{", "[]", json.dumps(PAIR | {"sentence_a": None}), '{"kind": "lexical_cloze"}'])
def test_lines_that_are_no_items(tmp_path, line):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text(json.dumps(PAIR) + "\n" + line)
    with pytest.raises(InputError, match="a.jsonl, line 2"):
        read_items(tmp_path)


def test_the_tests_of_the_repository_are_items():
    items, fingerprint = read_items(Path(__file__).parents[3] / "regional_tests")
    assert len({item.id for item in items}) == len(items) >= 600
    assert len(fingerprint) == 64
    for region in ("ar", "cl", "co", "es", "mx", "us", "uy", "ve"):
        assert sum(region in item.forms and bool(item.rivals(region)) for item in items) >= 60
