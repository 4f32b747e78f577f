"""Cards: their parts, the figures in them, what the Hub reads, and what they cannot be made without."""

import re
import shutil
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from tests.training.publishing.conftest import PRINTED
from tests.training.publishing.trained_folder import CORPUS, change_json, estimate, win
from training.common.errors import InputError
from training.evaluation.results import number
from training.publishing import card
from training.publishing.card import card_example, render_card
from training.publishing.facts import read_facts
from training.texts.regions import REGIONS

NAMES = ("bilma", "bilma-mx", "bilma-mx-emoji")
SECTIONS = [
    "How good it is",
    "What it is not for",
    "What it learned from",
    "How it was trained",
    "En español",
    "Citation",
]


@pytest.fixture
def own(publications, tmp_path):
    """The regional model of mx, with records of its training that may be changed."""
    own = publications["bilma-mx"]
    return replace(own, trained=shutil.copytree(own.trained, tmp_path / "trained"))


def body_of(text):
    return text.split("---\n", 2)[2]


def figures_in(text):
    return re.findall(r"\d\.\d{3} \(\d\.\d{3} (?:to|a) \d\.\d{3}\)", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_short_complete_and_in_two_languages(publications, results, name):
    text = render_card(publications[name], results, PRINTED, None)
    assert len(text.splitlines()) <= 160
    body = body_of(text)
    assert re.findall(r"^## (.+)$", body, re.MULTILINE) == SECTIONS
    assert not re.search(r"None|TODO|Undefined|\{[{%]|[}%]\}|\n\n\n", body)
    assert body.count("«") == body.count("»") and body.count("```") % 2 == 0
    facts = read_facts(publications[name].region)
    assert facts["country"]["en"] in body.split("## En español")[0]
    assert facts["country"]["es"] in body.split("## En español")[1]


@pytest.mark.parametrize("region", REGIONS)
def test_cards_of_all_regions_can_be_made(publications, results, region):
    for result in results.values():
        for entry in (*result["models"], *result.get("cells", []), *result.get("corpora", [])):
            if entry["region"] == "mx":
                entry["region"] = region
    own = replace(publications["bilma-mx"], region=region, name=f"bilma-{region}")
    text = render_card(own, results, PRINTED, None)
    assert ModelCard(text).data.to_dict() == yaml.safe_load(text.split("---\n")[1])
    assert f"es-{region.upper()}" in ModelCard(text).data.tags


def test_the_figures_are_those_of_the_results(publications, results):
    cells = {(one["model"], one["region"], one["targets"]): one for one in results["mlm_matrix"]["cells"]}

    def shown(model, region, targets="words"):
        return number(cells[model, region, targets]["masked_accuracy"])

    english = body_of(render_card(publications["bilma-mx"], results, PRINTED, None)).split("## En español")[0]
    assert f"**{shown('bilma-mx', 'mx')}** of 3,000 masked words" in english
    assert f"{shown('bilma-mx', 'mx', 'all')} of all masked tokens" in english
    assert f"nearest n-gram: {shown('nearest n-gram', 'mx')}" in english
    assert f"| {shown('bilma-ar', 'ar')} | {shown('bilma-mx', 'ar')} |" in english
    assert number(results["regional_tests"]["cells"][-1]["chosen"]) in english
    known = {number(one["masked_accuracy"]) for one in cells.values()} | {number(estimate(0.03))}
    assert set(figures_in(english)) <= known | {number(estimate(0.625, 0.1)), number(estimate(0.2, 0.1))}
    assert "bootstrap samples of authors" in english
    classifier = body_of(render_card(publications["bilma-mx-emoji"], results, PRINTED, None))
    assert f"**{number(estimate(0.31))}**" in classifier and f"word_tfidf: {number(estimate(0.28))}" in classifier


@pytest.mark.parametrize(
    ("changes", "english", "spanish"),
    [
        ({}, "It beats all others", "Supera a todos"),
        ({"wins": False}, "It is not clearly ahead of", "No supera claramente"),
        ({"wins": False, "smallest_difference": estimate(-0.03)}, "It is behind another", "Queda por detrás"),
    ],
)
def test_the_verdict_is_that_of_the_test(publications, results, changes, english, spanish):
    results["mlm_matrix"]["wins"] = [win("mx", targets="all", wins=False), win("mx", **changes)]
    text = render_card(publications["bilma-mx"], results, PRINTED, None)
    assert english in text and spanish in text


def test_the_loss_is_mentioned_where_it_shows_a_win(publications, results):
    for wins in (True, False):
        results["mlm_matrix"]["wins"] = [win("mx", wins=False), win("mx", score="loss", wins=wins)]
        text = render_card(publications["bilma-mx"], results, PRINTED, None)
        assert ("Its loss over words" in text) == wins


def test_the_body_is_described_with_and_without_tokens(publications, results):
    text = render_card(publications["bilma"], results, PRINTED, None)
    cells = [one for one in results["mlm_matrix"]["cells"] if one["targets"] == "words"]
    own = [one["masked_accuracy"]["value"] for one in cells if one["model"] == f"bilma-{one['region']}"]
    assert f"{min(own):.3f} to {max(own):.3f} of the masked words right with the region's token" in text
    assert "this model's score, without a token" in text


def test_intervals_name_what_they_draw_for_each_region(publications, results):
    results["mlm_matrix"]["corpora"][-1]["resampled"] = "texts"
    region = results["mlm_matrix"]["corpora"][-1]["region"]
    for name in ("bilma", "bilma-mx"):
        assert f"samples of authors (of texts for {region})" in render_card(publications[name], results, PRINTED, None)


def test_texts_of_another_genre_are_named_first(own, results, monkeypatch):
    genre = {"genre": {"en": "nearly all recipes", "es": "casi todos recetas"}}
    monkeypatch.setattr(card, "read_facts", lambda region: read_facts(region) | (genre if region else {}))
    english, spanish = render_card(own, results, PRINTED, None).split("## En español")
    assert (
        "Spanish of Mexico; its texts from there are nearly all recipes." in english
        and "informal Spanish" not in english
    )
    assert "Comparisons with other regions" in english
    assert "español de México (sus textos de allí son casi todos recetas)" in spanish


def test_absent_results_leave_no_trace(publications, results):
    del results["regional_tests"], results["completions"]
    results["mlm_matrix"]["wins"] = []
    text = render_card(publications["bilma-mx"], results, PRINTED, None)
    assert "regional knowledge" not in text and "beats" not in text and "Supera" not in text


@pytest.mark.parametrize("name", NAMES)
def test_what_the_hub_reads(publications, results, name):
    publication = publications[name]
    data = ModelCard(render_card(publication, results, PRINTED, None)).data
    assert (data.language, data.license, data.license_name) == ("es", "other", "bilma-research")
    assert (data.library_name, data.pipeline_tag, data.model_name) == (
        "transformers",
        publication.pipeline_tag,
        name,
    )
    assert data.base_model == (None if name == "bilma" else "org/bilma")
    assert {"es-MX"} <= set(data.tags) and ("es-AR" in data.tags) == (name == "bilma")
    assert all(publication.fills_masks == ("[MASK]" in example["text"]) for example in data.widget)
    assert 0 < len(data.eval_results) <= 10
    assert data.co2_eq_emissions["emissions"] == {"bilma-mx-emoji": 0.1}.get(
        name, 19.0
    )  # 2 h x 2 cores x 10 W x 475 g


def test_no_emissions_are_claimed_for_a_gpu(own, results):
    change_json(own.trained / "metrics.json", machine={"device": "NVIDIA H100", "gpus": 1})
    text = render_card(own, results, PRINTED, None)
    assert "Its energy use was not measured." in text and "co2" not in text


def test_the_stages_of_a_training_are_added_up(own, results):
    change_json(
        own.trained / "metrics.json", stages=[{"name": "body", "seconds": 5400}, {"name": "parts", "seconds": 1800}]
    )
    text = render_card(own, results, PRINTED, None)
    assert "Training took 2.0 h" in text and "last of 2 stages" in text


@pytest.mark.parametrize(
    ("model", "fingerprint", "base"),
    [
        ("somewhere", "f" * 64, None),  # a local folder that was not compared
        ("somewhere", "0" * 64, "org/bilma-ar"),
        ("someone/bilma-latam", None, "someone/bilma-latam"),
        ("not an/id", None, None),
    ],
)
def test_only_what_is_on_the_hub_is_a_base_model(publications, results, tmp_path, model, fingerprint, base):
    own = publications["bilma-mx-emoji"]
    folder = shutil.copytree(own.folder, tmp_path / "own")
    own = replace(own, folder=folder, trained=folder)
    change_json(folder / "training_args.json", model=model)
    change_json(folder / "metrics.json", base_fingerprint=fingerprint)
    results["mlm_matrix"]["models"] = [{"name": "x", "region": "ar", "fingerprint": "0" * 64}]
    assert ModelCard(render_card(own, results, PRINTED, None)).data.base_model == base


@pytest.mark.parametrize(("name", "ids"), [("someone/tweets", ["someone/tweets"]), ("/data/tweets", None)])
def test_only_datasets_of_the_hub_are_named_as_such(own, results, name, ids):
    change_json(own.trained / "training_args.json", dataset_name=name)
    assert ModelCard(render_card(own, results, PRINTED, None)).data.datasets == ids


def test_texts_that_the_facts_describe(own, results, monkeypatch):
    def described(region):
        texts = {None: {CORPUS["fingerprint"]: "everything"}, "mx": {"mx" * 32: "tweets"}}[region]
        corpora = {key: {"es": f"ES {text}.", "en": f"EN {text}."} for key, text in texts.items()}
        memorisation = {"model": own.fingerprint if region is None else "", "es": "Nada.", "en": "Nothing."}
        return read_facts(region) | {"corpora": corpora, "memorisation": memorisation}

    text = render_card(own, results, PRINTED, None)
    assert "is not stated" in text and "rare name" not in text  # other weights than those that were tested
    monkeypatch.setattr(card, "read_facts", described)
    text = render_card(own, results, PRINTED, None)
    assert "is not stated" not in text
    for part in ("EN everything.", "ES everything.", "EN tweets.", "ES tweets.", "Nada.", "Nothing."):
        assert part in text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tag", [None, "v1.0"])
def test_the_example_with_its_output_is_found_again(publications, results, name, tag):
    publication = replace(publications[name], tag=tag)
    code, printed = card_example(render_card(publication, results, "['a']\n# 'b'\n['c']", None))
    assert printed == "['a']\n# 'b'\n['c']"
    assert f'"org/{name}"' in code and ('revision="v1.0"' in code) == (tag is not None)
    compile(code, "card", "exec")


def test_a_card_without_an_example():
    with pytest.raises(InputError, match="no Python code"):
        card_example("# A model\n\n```python\nprint(1)\n```\n")


def test_a_picture_is_shown_with_its_description(publications, results):
    text = render_card(publications["bilma-mx"], results, PRINTED, "figures/matrix.png")
    assert re.search(r"!\[[^]]{20,}\]\(figures/matrix\.png\)", text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda own, results: results.pop("mlm_matrix"), "no mlm_matrix.json"),
        (lambda own, results: results["mlm_matrix"].update(models=[]), "not among those in mlm_matrix.json"),
        (lambda own, results: results["mlm_matrix"]["models"].pop(), "for the regions None, ar"),
        (lambda own, results: (own.trained / "metrics.json").unlink(), "metrics.json"),
        (lambda own, results: (own.trained / "training_args.json").write_text("{"), "training_args.json"),
        (lambda own, results: change_json(own.trained / "metrics.json", training={}), "cannot be filled in"),
    ],
)
def test_the_error_names_what_is_missing(own, results, spoil, message):
    spoil(own, results)
    with pytest.raises(InputError, match=message):
        render_card(own, results, PRINTED, None)


def test_a_region_without_facts(own, results):
    with pytest.raises(InputError, match="bilma-pe/facts.yaml"):
        render_card(replace(own, region="pe"), results, PRINTED, None)
