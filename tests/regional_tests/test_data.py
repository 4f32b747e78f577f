"""The items of the tests of regional knowledge: well formed, reviewed, enough of them, and as the card says."""

import json
import re
import unicodedata
from collections import Counter
from itertools import chain

import pytest
import yaml
from datasets import load_dataset

from regional_tests.count_forms import DATA, REGIONS, answers, forms_of
from training.texts.regions import REGIONS as FAMILY

ROOT = DATA.parent
CARD = (ROOT / "README.md").read_text(encoding="utf-8")
KINDS = {"lexical_cloze": "lexical_cloze", "grammar_pairs": "grammar_pair", "false_friends": "false_friend"}
COMMON = {"id": str, "kind": str, "concept": str, "source": str, "frequencies": list}
CLOZE = COMMON | {"sentence": str, "forms": dict}
FIELDS = {
    "lexical_cloze": CLOZE,
    "false_friend": CLOZE | {"word": str, "senses": dict},
    "grammar_pair": COMMON
    | {"sentence_a": str, "sentence_b": str, "marked_a": str, "marked_b": str, "prefer_a": list, "prefer_b": list},
}


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


ITEMS = {config: read(DATA / f"{config}.jsonl") for config in KINDS}
ALL = list(chain.from_iterable(ITEMS.values()))
CLOZES = [item for item in ALL if item["kind"] != "grammar_pair"]
PAIRS = ITEMS["grammar_pairs"]
REVIEW = read(ROOT / "review.jsonl")


def folded(text: str) -> str:
    """What the strictest tokenizer leaves: no capitals, no marks on letters, no punctuation."""
    letters = unicodedata.normalize("NFD", text.lower())
    return " ".join(re.findall(r"\w+", "".join(sign for sign in letters if not unicodedata.combining(sign))))


def sentences(item: dict) -> list[str]:
    return [item[key] for key in ("sentence", "sentence_a", "sentence_b") if key in item]


def rivals(item: dict, region: str) -> set[str]:
    """The forms that an item gives for other regions and not for this one."""
    said = answers(item)
    return set(chain.from_iterable(said.values())) - set(said[region])


def with_own_form(items: list[dict]) -> Counter[str]:
    return Counter(region for item in items for region in answers(item) if rivals(item, region))


def test_regions_are_those_of_the_family():
    assert set(REGIONS) == set(FAMILY)


@pytest.mark.parametrize("config", KINDS)
def test_fields(config):
    for item in ITEMS[config]:
        assert item["kind"] == KINDS[config], item["id"]
        assert {key: type(value) for key, value in item.items()} == FIELDS[item["kind"]], item["id"]


def test_enough_items():
    assert len(ALL) >= 600
    assert {region: number for region, number in with_own_form(ALL).items() if number < 60} == {}
    assert set(with_own_form(ALL)) == set(REGIONS)


def test_ids_are_unique_and_say_the_kind():
    prefix = {"lexical_cloze": "lex", "grammar_pair": "gram", "false_friend": "friend"}
    assert [id_ for id_, number in Counter(item["id"] for item in ALL).items() if number > 1] == []
    for item in ALL:
        assert re.fullmatch(rf"{prefix[item['kind']]}-[a-z0-9-]+-\d\d", item["id"])


def test_no_sentence_twice():
    shown = Counter(folded(sentence) for item in ALL for sentence in set(sentences(item)))
    # A pair that only accents part would come out as one.
    assert [sentence for sentence, number in shown.items() if number > 1] == []


def test_a_cloze_has_one_mask_and_a_contrast():
    for item in CLOZES:
        assert item["sentence"].count("[MASK]") == 1, item["id"]
        assert not re.search(r"[\[\]]", item["sentence"].replace("[MASK]", "")), item["id"]
        assert set(item["forms"]) <= set(REGIONS), item["id"]
        assert any(rivals(item, region) for region in item["forms"]), item["id"]
        for forms in item["forms"].values():
            assert forms == list(dict.fromkeys(forms)) != [], item["id"]
            assert all(form == form.strip() and folded(form) for form in forms), item["id"]


def test_a_false_friend_holds_its_word():
    for item in ITEMS["false_friends"]:
        # It may be inflected: caché, facturas, movieron.
        stem = folded(item["word"])[:3]
        places = [item["sentence"], *chain.from_iterable(item["forms"].values())]
        assert any(word.startswith(stem) for place in places for word in folded(place).split()), item["id"]
        assert set(item["senses"]) <= set(REGIONS), item["id"]
        assert all(item["senses"].values()), item["id"]


def test_a_pair_differs_in_the_marked_words_only():
    for item in PAIRS:
        before_and_after = [
            (item["sentence_a"][: at.start()], item["sentence_a"][at.end() :])
            for at in re.finditer(rf"(?<!\w){re.escape(item['marked_a'])}(?!\w)", item["sentence_a"])
        ]
        assert item["sentence_b"] in [item["marked_b"].join(halves) for halves in before_and_after], item["id"]
        assert item["prefer_a"] and item["prefer_b"], item["id"]
        regions = item["prefer_a"] + item["prefer_b"]
        assert len(regions) == len(set(regions)), item["id"]
        assert set(regions) <= set(REGIONS), item["id"]


def test_no_form_is_on_both_sides_of_a_contrast():
    for item in ALL:
        for region, own in answers(item).items():
            both = {folded(form) for form in own} & {folded(form) for form in rivals(item, region)}
            assert not both, (item["id"], region)


def test_sources_name_what_they_rest_on():
    source = r"general knowledge of regional usage(, cf\. (DAMER|DLE|DEM|NGLE)[^|]+)?; frequencies counted per region"
    for item in ALL:
        assert re.fullmatch(source, item["source"]), item["id"]


def test_frequencies_are_of_the_forms():
    for item in ALL:
        assert [row["form"] for row in item["frequencies"]] == forms_of(item), item["id"]
        for row in item["frequencies"]:
            assert list(row) == ["form", *REGIONS]
            assert all(row[region] >= 0 for region in REGIONS)


def test_both_passes_of_the_review_agree_on_every_item():
    reviewed = {id_: row for row in REVIEW for id_ in row["items"]}
    for item in ALL:
        row = reviewed[item["id"]]
        # The forms of a pair were reviewed once for all pairs of its phenomenon.
        second = {answer["form"]: set(answer["second"]) for answer in row["answers"]}
        if item["kind"] == "grammar_pair":
            marked_a, marked_b = second
            second = {item["marked_a"]: second[marked_a], item["marked_b"]: second[marked_b]}
        for region, forms in answers(item).items():
            assert all(region in second[form] for form in forms), (item["id"], region)
            assert not any(region in second[form] for form in rivals(item, region)), (item["id"], region)


def test_card_has_the_figures_of_the_items():
    assert f"{len(ALL)} short items" in CARD
    assert f"{len(ALL)} preguntas" in CARD
    for config, items in ITEMS.items():
        assert f"| `{config}` | {len(items)} |" in CARD
        own = with_own_form(items)
        assert f"| `{config}` | {' | '.join(str(own[region]) for region in REGIONS)} |" in CARD


def test_card_has_the_figures_of_the_review():
    decisions = Counter(
        (region in answer["first"], region in answer["second"])
        for row in REVIEW
        for answer in row["answers"]
        for region in row["regions"]
    )
    total = decisions.total()
    agreed = decisions[True, True] + decisions[False, False]
    first = (decisions[True, True] + decisions[True, False]) / total
    second = (decisions[True, True] + decisions[False, True]) / total
    by_chance = first * second + (1 - first) * (1 - second)
    kappa = (agreed / total - by_chance) / (1 - by_chance)
    assert f"Of {total:,} decisions" in CARD
    assert (
        f"{agreed:,} ({agreed / total:.1%}, Cohen's κ {kappa:.2f}) agree".replace("%", " %").replace("0.", ".") in CARD
    )
    regions = [(row, region) for row in REVIEW for region in row["regions"]]
    split = sum(
        any((region in answer["first"]) != (region in answer["second"]) for answer in row["answers"])
        for row, region in regions
    )
    assert f"in {split} of {len(regions):,} answers" in CARD


def test_card_is_short_and_names_the_files_of_each_configuration():
    assert len(CARD.splitlines()) < 120
    front = yaml.safe_load(CARD.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert {config["config_name"] for config in front["configs"]} == set(KINDS)
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("# Creative Commons Attribution 4.0")


@pytest.mark.parametrize("config", KINDS)
def test_opens_as_a_hub_data_set(config, tmp_path):
    items = load_dataset(str(ROOT), config, split="test", cache_dir=str(tmp_path))
    assert items["id"] == [item["id"] for item in ITEMS[config]]
    if config != "grammar_pairs":
        said = [{region: forms for region, forms in row.items() if forms} for row in items["forms"]]
        assert said == [item["forms"] for item in ITEMS[config]]
