"""model_cards/ renewed from a body and results: what is written, what is left alone, and where figures are from."""

import json
import shutil
from pathlib import Path

import pytest

from tests.training.conftest import run_main
from tests.training.publishing.conftest import PRINTED
from tests.training.publishing.trained_folder import REGIONS
from training import present_family
from training.common.errors import InputError
from training.evaluation.results import number, read_results
from training.family.page import BEGIN, END
from training.publishing import preparation
from training.publishing.facts import MODEL_CARDS


@pytest.fixture
def cards(made, tmp_path):
    """A copy of the facts with the results, and a page with something before and after the marks."""
    cards = tmp_path / "model_cards"
    for region in REGIONS:
        (cards / f"bilma-{region}").mkdir(parents=True)
        shutil.copy(MODEL_CARDS / f"bilma-{region}" / "facts.yaml", cards / f"bilma-{region}")
    shutil.copytree(made / "results", cards / "results")
    (cards / "README.md").write_text(f"# Cards\n\n{BEGIN}\nold\n{END}\n\n## How\n")
    return cards


@pytest.fixture
def present(made, cards, monkeypatch):
    """Run the verb; the clean process, which takes seconds and has tests of its own, is left out."""
    monkeypatch.setattr(preparation, "check_opening", lambda trees, results: [PRINTED] * len(trees))

    def present(**flags):
        classifiers = made / "bilma-mx-emoji"
        run_main(
            present_family,
            org="org",
            output_dir=cards,
            **{"model": made / "bilma", "classifiers": classifiers} | flags,
        )

    return present


def test_what_became_of_each_card_is_told(present, cards, capsys):
    (cards / "bilma-gone").mkdir()
    (cards / "bilma-gone" / "README.md").write_text("old")
    (cards / "bilma-mx" / "README.md").write_text("old")

    def told():
        present()
        return dict(line.split("/")[-2:] for line in capsys.readouterr().out.splitlines())

    first, again = told(), told()
    assert {name: line.split(": ")[1] for name, line in first.items() if name != "model_cards"} == {
        **dict.fromkeys(("bilma", "bilma-ar", "bilma-mx-emoji"), "new"),
        "bilma-mx": "renewed",
        "bilma-gone": first["bilma-gone"].split(": ")[1],
    }
    assert "not given" in first["bilma-gone"]
    assert again["bilma-mx"] == "README.md: as it was"
    assert (cards / "bilma-gone" / "README.md").read_text() == "old"


def test_a_card_that_cannot_be_written_stays_as_it_was(present, cards, monkeypatch):
    present()
    before = everything(cards)
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(InputError, match="disk full"):
        present()
    assert everything(cards) == before


def full_disk(source, target):
    Path(target).write_text("half")
    raise OSError("disk full")


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_cards_and_page(present, cards, made):
    before = everything(cards)
    (cards / "bilma-mx" / "metrics.json").write_text("{}")  # of an earlier way to make the family
    present()
    first = everything(cards)
    kept = {name for name in before if not name.endswith("README.md")}
    assert {name: first[name] for name in kept} == {name: before[name] for name in kept}
    of_classifier = {f"bilma-mx-emoji/{name}" for name in ("README.md", "metrics.json", "training_args.json")}
    new = {"README.md", "bilma/README.md", "bilma-ar/README.md", "bilma-mx/README.md"} | of_classifier
    assert set(first) == kept | new
    page = (cards / "README.md").read_text()
    assert page.startswith(f"# Cards\n\n{BEGIN}\n|") and page.endswith(f"{END}\n\n## How\n")
    assert str(made) not in page and "old" not in page.split(END)[0].split()
    present()
    assert everything(cards) == first


def test_figures_are_those_of_the_results(present, cards):
    present()
    page = (cards / "README.md").read_text()
    cells = {
        (one["model"], one["region"], one["targets"]): one
        for one in read_results(cards / "results")["mlm_matrix"]["cells"]
    }
    for region, country in (("ar", "Argentina"), ("mx", "Mexico")):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {country} | [bilma-{region}]")]
        scores = [
            number(cells[model, region, "words"]["masked_accuracy"])
            for model in (f"bilma-{region}", "bilma", "nearest n-gram")
        ]
        assert " | ".join(scores) in row
        assert row.endswith("| yes, p = 0.002 |")
    assert "in 2 of the 2 regions" in page and "samples of authors" in page


def test_wins_by_loss_are_counted_apart(present, cards):
    path = cards / "results" / "mlm_matrix.json"
    matrix = json.loads(path.read_text())
    by_loss = [win | {"score": "loss", "wins": win["region"] == "mx"} for win in matrix["wins"]]
    path.write_text(json.dumps(matrix | {"wins": matrix["wins"] + by_loss}))
    present()
    page = (cards / "README.md").read_text()
    assert "in 2 of the 2 regions" in page and "in 1 of 2;" in page


def test_classifiers_are_linked(present, cards):
    present()
    page = (cards / "README.md").read_text()
    assert "[bilma-mx-emoji](bilma-mx-emoji/README.md) 0.310" in page


def test_absent_results_leave_a_dash(present, cards):
    (cards / "results" / "regional_tests.json").unlink()
    matrix = json.loads((cards / "results" / "mlm_matrix.json").read_text())
    (cards / "results" / "mlm_matrix.json").write_text(json.dumps(matrix | {"wins": []}))
    present()
    (row,) = [line for line in (cards / "README.md").read_text().splitlines() if line.startswith("| Mexico |")]
    assert row.endswith("| – | – |")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda cards: (cards / "README.md").write_text("# mine\n"), "no place for the table"),
        (lambda cards: shutil.rmtree(cards / "results"), "no result in this folder"),
        (lambda cards: (cards / "results" / "mlm_matrix.json").unlink(), "no mlm_matrix.json"),
    ],
)
def test_nothing_is_replaced_where_something_is_missing(present, cards, spoil, message):
    spoil(cards)
    before = everything(cards)
    with pytest.raises(InputError, match=message):
        present()
    assert everything(cards) == before
