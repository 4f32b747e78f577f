"""The script as a user calls it: all results of models trained on the synthetic corpus, remade, and wrong input."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch

from modeling_bilma import BilmaForSequenceClassification
from modeling_bilma.published import EMOJI_15
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.conftest import REGIONS, TEST_FRACTION, save_body, write_texts
from training import evaluate_family
from training.common.errors import run
from training.evaluation import published
from training.evaluation.intervals import FEWEST_DRAWN
from training.evaluation.results import number

SETTINGS = {
    "--test_fraction": TEST_FRACTION,
    "--max_length": 32,
    "--mask_draws": 1,
    "--resamples": 100,
    "--top_k": 3,
    "--max_test_texts": 60,
}
PHRASES = ["vamos a comer [MASK]", "el [MASK] subio de precio"]


@pytest.fixture(scope="module")
def home(family, tmp_path_factory):
    """The family with classifiers, phrases and a labelled file beside it."""
    home = tmp_path_factory.mktemp("home")
    labels = dict(enumerate(EMOJI_15))
    for region in REGIONS:
        model = BilmaForSequenceClassification.from_pretrained(
            family / f"bilma-{region}", id2label=labels, label2id={label: n for n, label in labels.items()}
        )
        torch.manual_seed(0)
        torch.nn.init.normal_(model.classifier.out_proj.weight)
        model.save_pretrained(home / f"emoji-{region}")
        load_tokenizer(family / "tokenizer").save_pretrained(home / f"emoji-{region}")
    (home / "phrases.txt").write_text("\n".join(PHRASES))
    return home


@pytest.fixture
def evaluate(family, home, tmp_path, monkeypatch):
    """Run the script on the family; a flag given here goes before the usual one, None leaves that out."""

    def evaluate(output_dir=tmp_path / "results", **flags):
        usual = {
            "--models": [family / f"bilma-{region}" for region in REGIONS],
            "--corpora": [family / "corpora"],
            "--output_dir": output_dir,
            "--phrases": home / "phrases.txt",
        }
        wanted = usual | SETTINGS | {f"--{name}": value for name, value in flags.items()}
        argv = ["evaluate_family.py"]
        for name, value in wanted.items():
            if value is not None:
                argv += [name, *map(str, value if isinstance(value, list) else [value])]
        monkeypatch.setattr(sys, "argv", [word for word in argv if word != "True"])
        run(evaluate_family.main)

    return evaluate


@pytest.fixture
def ok(evaluate, tmp_path):
    """Run it well; returns the folder of the results."""

    def ok(output_dir=tmp_path / "results", **flags):
        with pytest.raises(SystemExit) as stop:
            evaluate(output_dir, **flags)
        assert stop.value.code == 0
        return output_dir

    return ok


@pytest.fixture
def refused(evaluate, capsys):
    """Run it on wrong input; returns the one line that it says."""

    def refused(**flags) -> str:
        with pytest.raises(SystemExit) as stop:
            evaluate(**flags)
        assert stop.value.code == 2
        last = capsys.readouterr().err.replace("\r", "\n").splitlines()[-1]
        assert last.startswith("evaluate_family.py: error: ")
        return last

    return refused


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing takes most of the time; where pictures are not looked at, none are drawn."""
    monkeypatch.setattr("training.evaluation.report.draw_all", lambda results, folder: [])


def read(folder, kind):
    return json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))


def cells(folder):
    return {(cell["region"], cell["model"], cell["targets"]): cell for cell in read(folder, "mlm_matrix")["cells"]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder for the results of one run that several tests look at."""
    return tmp_path_factory.mktemp("shared") / "results"


@pytest.mark.slow
def test_all_results_of_a_family(ok, family, home, shared):
    emoji_models = [home / f"emoji-{region}" for region in REGIONS]
    folder = ok(shared, emoji_models=emoji_models)
    matrix = read(folder, "mlm_matrix")
    models = ["bilma-ar", "bilma-mx"]
    assert [model["name"] for model in matrix["models"]] == models
    assert {cell["region"] for cell in matrix["cells"]} == set(REGIONS)
    assert {cell["model"] for cell in matrix["cells"]} == {*models, "unigram", "nearest n-gram"}
    assert {cell["targets"] for cell in matrix["cells"]} == {"all", "words"}
    assert len(matrix["cells"]) == 2 * 4 * 2
    assert matrix["settings"]["mask_draws"] == 1
    for corpus in matrix["corpora"]:
        kept_out = json.loads((family / f"bilma-{corpus['region']}" / "metrics.json").read_text())
        assert corpus["fingerprint"] == kept_out["corpus"]["fingerprint"]
        assert corpus["test_texts"] == 60
    # Both models have learnt more than the commonest token.
    for region in REGIONS:
        own = cells(folder)[region, f"bilma-{region}", "all"]["masked_accuracy"]["value"]
        assert own > cells(folder)[region, "unigram", "all"]["masked_accuracy"]["value"]
    assert len(read(folder, "completions")["phrases"]) == 2
    assert [entry["model"] for entry in read(folder, "region_words")["by_model"]] == models
    pairs = [(entry["region"], entry["targets"], entry["own"], entry["other"]) for entry in matrix["comparisons"]]
    own_and_other = {"ar": ("bilma-ar", "bilma-mx"), "mx": ("bilma-mx", "bilma-ar")}
    assert pairs == [(region, targets, *own_and_other[region]) for region in REGIONS for targets in ("words", "all")]
    assert [(win["targets"], win["score"], win["region"]) for win in matrix["wins"]] == [
        (targets, score, region)
        for targets in ("words", "all")
        for score in ("masked_accuracy", "loss")
        for region in REGIONS
    ]
    emoji = read(folder, "emoji15_matrix")
    assert emoji["labels"] == list(EMOJI_15)
    assert len(emoji["cells"]) == 4
    assert "commit" in emoji and emoji["corpora"][0]["fingerprint"]
    assert len(emoji["notes"]) == sum(corpus["texts"] < FEWEST_DRAWN for corpus in emoji["corpora"]) > 0


@pytest.mark.slow  # as the results that it looks at
def test_pictures_and_report(shared):
    report = (shared / "report.md").read_text(encoding="utf-8")
    for line in report.splitlines():
        if line.startswith("!["):
            picture = shared / line.split("(")[1].rstrip(")")
            assert picture.read_bytes().startswith(b"\x89PNG")
            assert picture.with_suffix(".svg").is_file()
    assert report.count("![") == 4 + 1 + 4  # matrices, completions, Emoji-15
    ours = cells(shared)["mx", "bilma-ar", "all"]["masked_accuracy"]["value"]
    theirs = published.matrix("mlm_accuracy")["mx", "ar"]
    assert f"{ours:.3f} − {theirs:.3f} = {ours - theirs:+.3f}" in report
    assert "| tacos |" in report  # what the published Mexican model says of `vamos a comer [MASK]`
    assert str(shared.parent) not in report
    assert str(shared.parent) not in (shared / "mlm_matrix.json").read_text()


@pytest.mark.slow
def test_the_last_lines_are_the_result_and_the_report(no_pictures, ok, shared, tmp_path, capsys):
    ok(shutil.copytree(shared, tmp_path / "again"), redraw=True)
    by_loss, by_accuracy, last = capsys.readouterr().out.splitlines()[-3:]
    assert re.fullmatch("By loss over words, . of 2 own models beat every model that is not .*", by_loss)
    assert "**" + by_loss.split(":")[0].rstrip(".") in (shared / "report.md").read_text()
    assert by_accuracy.startswith("By accuracy over words, ")
    assert last == f"{tmp_path / 'again' / 'report.md'}: the report"


@pytest.mark.slow
def test_report_and_pictures_come_from_the_json_alone(ok, shared, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for path in shared.glob("*.json"):
        (again / path.name).write_bytes(path.read_bytes())
    ok(again, redraw=True, models=None, corpora=None)
    made = sorted(path.relative_to(shared) for path in shared.rglob("*") if path.is_file())
    assert made == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((again / path).read_bytes() == (shared / path).read_bytes() for path in made)


@pytest.mark.slow
def test_neither_order_nor_batches_change_a_number(no_pictures, ok, family, shared, tmp_path):
    models = [family / f"bilma-{region}" for region in reversed(REGIONS)]
    corpora = [family / "corpora" / f"{region}.jsonl" for region in reversed(REGIONS)]
    folder = ok(models=models, corpora=corpora, tokens_per_batch=64)
    expected, found = cells(shared), cells(folder)
    assert set(expected) == set(found)
    for place, cell in expected.items():
        for score in ("masked_accuracy", "top_5_accuracy"):
            assert found[place][score] == cell[score]
        if cell["loss"]:
            assert found[place]["loss"] == pytest.approx(cell["loss"], abs=1e-5)


def test_whole_words(no_pictures, ok):
    folder = ok(per_word=True)
    result = read(folder, "per_word_matrix")
    assert {cell["targets"] for cell in result["cells"]} == {"words"}
    assert all(np.isfinite(cell["loss"]["value"]) for cell in result["cells"])
    assert not (folder / "region_words.json").exists()


def renamed(model, path, region):
    """A copy of a model that says it is of another region, or of none."""
    shutil.copytree(model, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"region": region}))
    return path


@pytest.fixture(scope="module")
def body(family, tmp_path_factory):
    """A model of two regions, each with a token at the end of the vocabulary whose vector is not trained."""
    return save_body(family, tmp_path_factory.mktemp("body") / "bilma")


@pytest.mark.slow
def test_a_body_with_regional_parts_is_a_column_for_each_region(no_pictures, ok, family, body, capsys):
    """The body and its regions beside a plain model of the same vocabulary, all predicting the same tokens."""
    plain = renamed(family / "bilma-ar", body.parent / "plain-ar", "ar")
    folder = ok(models=[body, plain], baseline_files=[family / "corpora"])
    assert "--baseline_files: left out: none" in capsys.readouterr().out
    matrix = read(folder, "mlm_matrix")
    facts = {model["name"]: model["region"] for model in matrix["models"]}
    assert facts == {"bilma": None, "bilma-ar": "ar", "bilma-mx": "mx", "plain-ar": "ar"}
    assert len({model["fingerprint"] for model in matrix["models"]}) == 2
    found = cells(folder)
    assert len({found["mx", name, "all"]["loss"]["value"] for name in facts}) == len(facts)
    assert len({cell["count"] for (region, _, kind), cell in found.items() if (region, kind) == ("mx", "all")}) == 1
    for baseline, score in (("unigram", "loss"), ("nearest n-gram", "masked_accuracy")):
        assert found["mx", f"{baseline} of all texts", "words"][score] != found["mx", baseline, "words"][score]
    wins = {(win["region"], win["targets"], win["own"]) for win in matrix["wins"]}
    owns = {("ar", "bilma-ar"), ("ar", "plain-ar"), ("mx", "bilma-mx")}
    assert wins == {(region, targets, own) for region, own in owns for targets in ("words", "all")}
    answers = {column["model"]: column["answers"] for column in read(folder, "completions")["phrases"][0]["by_model"]}
    assert answers["bilma"] != answers["bilma-mx"] != answers["bilma-ar"]
    assert "which every own model has to beat too: `bilma`." in (folder / "report.md").read_text()


def test_intervals_draw_authors_where_they_are_named(no_pictures, ok, family, tmp_path):
    texts = [json.loads(line)["text"] for line in (family / "corpora" / "mx.jsonl").open()][:120]
    authors = [f"author {number % 12}" for number in range(len(texts))]
    corpus = write_texts(tmp_path / "by-author-mx.jsonl", texts, author=authors)
    folder = ok(models=[family / "bilma-mx"], corpora=[corpus], test_fraction=1, group_column="author")
    (facts,) = read(folder, "mlm_matrix")["corpora"]
    assert (facts["resampled"], facts["authors"]) == ("authors", 12)
    assert "| 12 authors |" in (folder / "report.md").read_text()


def test_one_model_and_no_text_to_learn_from(no_pictures, ok, family, tmp_path, capsys):
    """A corpus to test on as a whole: no baselines, and that is said; one model: nothing to compare it with."""
    texts = [text["text"] for text in map(json.loads, (family / "corpora" / "mx.jsonl").open())]
    corpus = write_texts(tmp_path / "others-mx.jsonl", texts[:50])
    folder = ok(models=[family / "bilma-mx"], corpora=[corpus], test_fraction=1)
    result = read(folder, "mlm_matrix")
    assert {cell["model"] for cell in result["cells"]} == {"bilma-mx"}
    accuracy = number(cells(folder)["mx", "bilma-mx", "words"]["masked_accuracy"])
    assert f"bilma-mx on texts of mx: masked accuracy over words {accuracy}\n" in capsys.readouterr().out
    assert len(result["notes"]) == 1 and "No baselines of mx" in result["notes"][0]
    assert result["notes"][0] in (folder / "report.md").read_text()
    assert not result["comparisons"]
    assert not result["wins"]
    assert not (folder / "region_words.json").exists()


def test_results_are_kept_and_added_to(no_pictures, ok, refused, family, home, tmp_path):
    corpus = {"corpora": [family / "corpora" / "mx.jsonl"]}
    folder = ok(models=[family / "bilma-mx"], **corpus)
    before = (folder / "mlm_matrix.json").read_bytes()
    assert "already holds mlm_matrix.json" in refused(models=[family / "bilma-mx"], **corpus)
    ok(models=None, emoji_models=[home / "emoji-mx"], **corpus)
    assert (folder / "mlm_matrix.json").read_bytes() == before
    report = (folder / "report.md").read_text()
    assert "masked tokens" in report and "## Emoji-15" in report
    (folder / "region_words.json").write_text("those of other models")
    ok(models=[family / "bilma-mx"], overwrite=True, seed=1, **corpus)
    assert (folder / "mlm_matrix.json").read_bytes() != before
    assert not (folder / "region_words.json").exists(), (
        "one model has none, and those of others would be shown as its own"
    )


def test_a_report_of_the_users_is_not_replaced(refused, tmp_path):
    (tmp_path / "results").mkdir()
    report = tmp_path / "results" / "report.md"
    report.write_text("mine")
    assert "not a report of this program" in refused()
    assert report.read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"models": ["nowhere"]}, "nowhere: not a model folder"),
        ({"corpora": ["nowhere"]}, "nowhere: no such file or folder"),
        ({"models": None}, "give --models, --emoji_models or both"),
        ({"corpora": None}, "--models needs --corpora"),
        ({"models": None, "corpora": None, "emoji_models": ["x"]}, "--emoji_models needs --emoji_files or --corpora"),
        ({"test_fraction": 0}, "--test_fraction 0.0 is not above 0"),
        ({"test_fraction": 0.9}, "was trained on ar.jsonl with only 0.2 of the texts held out"),
        ({"mask_draws": 0}, "--mask_draws 0 is not 1 or more"),
        ({"max_length": 2}, "--max_length 2 is not 3 or more"),
        ({"max_length": 50}, "--max_length 50 is more than the 40 positions of bilma-ar"),
        ({"resamples": 10}, "--resamples 10"),
        ({"seed": -1}, "--seed -1"),
        ({"redraw": True}, "no result in this folder"),
    ],
)
def test_wrong_input(refused, flags, message):
    assert message in refused(**flags)


def test_wrong_texts_and_phrases(refused, family, tmp_path):
    assert "bilma-ar is of region ar, and there are texts of mx only" in refused(
        corpora=[family / "corpora" / "mx.jsonl"]
    )
    (tmp_path / "phrases.txt").write_text("vamos a comer\n")
    assert "phrase 'vamos a comer' holds [MASK] 0 times" in refused(phrases=tmp_path / "phrases.txt")
    few = [write_texts(tmp_path / f"{region}.jsonl", ["hola"]) for region in REGIONS]
    assert "the test set is empty" in refused(corpora=few, test_fraction=1e-9)
