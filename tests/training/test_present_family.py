"""model_cards/ renewed from the small family: what is written, what is left alone, and where the numbers are from."""

import json
import shutil

import pytest

from tests.training.conftest import REGIONS, run_main
from training import present_family
from training.common.errors import InputError
from training.evaluation.ngrams import NEAREST
from training.evaluation.results import number
from training.family.presentation import BEGIN, END
from training.finetuning.baselines import METHODS
from training.publishing.facts import MODEL_CARDS
from training.publishing.tree import WEIGHTS

SECONDS = {"tokenizer": 4.0, "base": 90.0, "bilma-ar": 60.0, "bilma-mx": 120.0, "results": 30.0}
ADAPTED = {"num_train_epochs": 0.5, "init_from base": "digest"}
IDENTITIES = {"base": {"num_train_epochs": 2.0}, "bilma-ar": ADAPTED, "bilma-mx": ADAPTED}


@pytest.fixture(scope="module")
def trained(family, evaluated_family, tmp_path_factory):
    """What train_family.py leaves of the small family."""
    home = tmp_path_factory.mktemp("trained")
    for folder in (*(family / f"bilma-{region}" for region in REGIONS), *evaluated_family.iterdir()):
        shutil.copytree(folder, home / folder.name)
    (home / "stages").mkdir()
    for number_, (name, seconds) in enumerate(SECONDS.items()):
        identity = IDENTITIES.get(name, {})
        record = {"number": number_, "command": "x", "identity": identity, "seconds": seconds, "finished": True}
        (home / "stages" / f"{name}.json").write_text(json.dumps(record))
    return home


@pytest.fixture
def cards(tmp_path):
    """A copy of the template, the facts, and a page with something before and after the marks."""
    cards = tmp_path / "model_cards"
    for region in REGIONS:
        shutil.copytree(MODEL_CARDS / f"bilma-{region}", cards / f"bilma-{region}")
    (cards / "README.md").write_text(f"# Cards\n\n{BEGIN}\nold\n{END}\n\n## How\n")
    return cards


@pytest.fixture
def present(trained, cards):
    def present(family=trained, **flags):
        run_main(present_family, family=family, org="org", output_dir=cards, **flags)

    return present


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_cards_results_and_page(present, cards, trained):
    (cards / "results").mkdir()
    (cards / "results" / "of-another-family.json").write_text("{}")
    facts = (cards / "bilma-mx" / "facts.yaml").read_bytes()
    present()
    first = everything(cards)
    assert not list(cards.rglob(WEIGHTS)) and not list(cards.rglob("*.py")) and not list(cards.rglob("tokenizer*"))
    assert (cards / "bilma-mx" / "facts.yaml").read_bytes() == facts
    assert not (cards / "results" / "of-another-family.json").exists()
    for name in ("bilma-ar", "bilma-mx", "bilma-mx-emoji"):
        card = (cards / name / "README.md").read_text()
        assert f"org/{name}" in card
        for picture in (line.split("(")[1].rstrip(")") for line in card.splitlines() if line.startswith("![")):
            assert (cards / name / picture).is_file()
    for kind in ("mlm_matrix", "emoji15_matrix"):
        measured = (trained / "results" / f"{kind}.json").read_bytes()
        assert (cards / "results" / f"{kind}.json").read_bytes() == measured

    page = (cards / "README.md").read_text()
    assert page.startswith(f"# Cards\n\n{BEGIN}\n## The family at a glance")
    assert page.endswith(f"{END}\n\n## How\n")
    assert "old" not in page.split(END)[0].split()
    for link in [part.split(")")[0] for part in page.split("](")[1:]]:
        assert (cards / link).is_file(), link
    assert str(trained) not in page

    present()
    assert everything(cards) == first


def test_numbers_are_those_of_the_results(present, cards, trained):
    present()
    page = (cards / "README.md").read_text()
    results = {
        kind: json.loads((trained / "results" / f"{kind}.json").read_text())
        for kind in ("mlm_matrix", "emoji15_matrix")
    }
    for region in REGIONS:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {region} | [bilma-{region}]")]
        metrics = json.loads((trained / f"bilma-{region}" / "metrics.json").read_text())
        (home,) = [
            cell
            for cell in results["mlm_matrix"]["cells"]
            if (cell["model"], cell["region"], cell["targets"]) == (f"bilma-{region}", region, "all")
        ]
        assert f"| {metrics['training']['texts']} |" in row
        assert number(home["masked_accuracy"]) in row
        assert number(home["perplexity"], 1) in row
        (neighbours,) = [
            cell
            for cell in results["mlm_matrix"]["cells"]
            if (cell["model"], cell["region"], cell["targets"]) == (NEAREST, region, "all")
        ]
        assert number(neighbours["masked_accuracy"]) in row
    (cell,) = [cell for cell in results["emoji15_matrix"]["cells"] if cell["region"] == "mx"]
    (row,) = [line for line in page.splitlines() if line.startswith("| mx | [bilma-mx]")]
    assert number(cell["accuracy"]) in row
    (row,) = [line for line in page.splitlines() if line.startswith("| ar | [bilma-ar]")]
    assert row.endswith("| – | – |")  # no Emoji-15 model of ar
    stages = [
        line.split(" | ")[0].strip("| *") for line in page.split("| stage | time |")[1].splitlines() if "|" in line
    ]
    assert stages[1:] == [*SECONDS, "together"]
    assert "| **together** | **5.1 min** |" in page


def test_ways_to_make_a_model_are_shown(present, cards, trained, tmp_path):
    score, difference = {"value": 0.5, "low": 0.4, "high": 0.6}, {"value": 0.01, "low": 0.005, "high": 0.015}
    place = {"region": "mx", "targets": "all"}
    matrix = json.loads((trained / "results" / "mlm_matrix.json").read_text())
    ways = matrix | {
        "kind": "ways_matrix",
        "cells": [place | {"model": name, "masked_accuracy": score} for name in ("bilma-mx", "scratch-mx", "one")],
        "comparisons": [place | {"model": "bilma-mx", "other": "one", "masked_accuracy_difference": difference}],
    }
    short = tmp_path / "short"
    shutil.copytree(trained / "stages", short / "stages")
    (short / "stages" / "base.json").write_text(json.dumps({"identity": {"num_train_epochs": 0.75}}))
    for run_folder in (trained, short):
        (run_folder / "ways").mkdir()
        (run_folder / "ways" / "ways_matrix.json").write_text(json.dumps(ways))
    try:
        present(ways=[short])
    finally:
        shutil.rmtree(trained / "ways")
    section = (cards / "README.md").read_text().split("### Ways to make")[1].split("###")[0]
    assert "| texts of | bilma | scratch | one |" in section
    file = "[All figures](results/ways_matrix.json)"
    assert f"**2.5 passes in all**; `bilma` are the models above, adapted from a base. {file}" in section
    assert "**1.25 passes in all**; `bilma` are models of a run of its own, adapted from a base. " in section
    assert "| mx | **0.500 (0.400 to 0.600)** | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in section
    assert "| texts of | bilma − one |\n| --- | --- |\n| mx | **0.010 (0.005 to 0.015)** |" in section
    for name in ("ways_matrix", "ways_matrix-short"):
        assert json.loads((cards / "results" / f"{name}.json").read_text()) == ways
    with pytest.raises(InputError, match="no result in this folder"):
        present(ways=[tmp_path / "nowhere" / "family"])
    with pytest.raises(InputError, match="short: a folder of that name is shown already"):
        present(ways=[short, short])


def test_classifiers_stand_beside_simple_methods(present, cards, trained):
    folders = [trained / "baselines-mx-emoji" / method for method in METHODS]
    for number_, folder in enumerate(folders):
        folder.mkdir(parents=True)
        scores = {"accuracy": 0.9 + number_ / 100, "macro_f1": number_ / 100}
        (folder / "metrics.json").write_text(json.dumps({"test": scores}))
    try:
        present()
    finally:
        shutil.rmtree(trained / "baselines-mx-emoji")
    (trained / "baselines-mx-mood").mkdir()
    try:
        with pytest.raises(InputError, match="mx-mood: not finished, though its baselines are"):
            present()
    finally:
        (trained / "baselines-mx-mood").rmdir()
    own = json.loads((trained / "bilma-mx-emoji" / "metrics.json").read_text())
    (row,) = json.loads((cards / "results" / "classifiers.json").read_text())
    assert row["test"]["ours"] == own["test"]
    section = (cards / "README.md").read_text().split("### Classifiers beside simple methods")[1].split("###")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| emoji15 | bilma-mx |")]
    ours = f"{own['test']['accuracy']:.3f} / {own['test']['macro_f1']:.3f}"
    simple = "0.900 / 0.000 | 0.910 / 0.010 | 0.920 / 0.020 | **0.930 / 0.030**"
    assert line.endswith(f"| {ours} | {simple} |")
    assert f"| {own['texts']['test']['texts']:,} |" in line


def test_a_page_without_marks_is_left_alone(present, cards):
    (cards / "README.md").write_text("# mine\n")
    before = everything(cards)
    with pytest.raises(InputError, match="no part to replace"):
        present()
    assert everything(cards) == before


def test_a_family_without_results(present, cards, tmp_path):
    before = everything(cards)
    (tmp_path / "family" / "results").mkdir(parents=True)
    with pytest.raises(InputError, match="no result in this folder"):
        present(tmp_path / "family")
    assert everything(cards) == before
