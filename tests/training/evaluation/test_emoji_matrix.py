import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from modeling_bilma import BilmaForSequenceClassification
from modeling_bilma.published import EMOJI_15
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.conftest import write_texts
from training.common.errors import InputError
from training.evaluation.emoji_matrix import (
    LabelledTest,
    baseline_cells,
    check_labels,
    classify,
    from_labelled_files,
    from_raw_texts,
    label_names,
    score_region,
    with_enough_texts,
)
from training.evaluation.models import open_folder
from training.finetuning.scores import classification_scores
from training.texts.corpus import Corpus
from training.texts.labelled import LabelledTexts, labelled_corpus, load_labelled
from training.texts.splits import is_test, text_hash
from training.texts.synthetic import generate_texts

LABELS = ["❤", "😍", "😭"]


def labelled_test(*labels, region="mx", authors=None) -> LabelledTest:
    texts = LabelledTexts([f"texto {n}" for n in range(len(labels))], list(labels))
    return LabelledTest(region, ["mx.jsonl"], texts, authors or [None] * len(labels))


@pytest.fixture
def classifier(family, tmp_path):
    """`classifier("name", labels)`: a folder with an untrained head for these labels."""

    def classifier(name, labels=EMOJI_15):
        label_of = dict(enumerate(labels))
        model = BilmaForSequenceClassification.from_pretrained(
            family / "bilma-mx", id2label=label_of, label2id={label: number for number, label in label_of.items()}
        )
        for layer in (model.classifier.dense_1, model.classifier.dense_2, model.classifier.out_proj):
            torch.nn.init.normal_(layer.weight)  # far enough from 0 for guesses of several kinds
        model.save_pretrained(tmp_path / name)
        load_tokenizer(family / "bilma-mx").save_pretrained(tmp_path / name)
        return open_folder(tmp_path / name)

    return classifier


def test_raw_texts_of_the_test_part_become_a_test(tmp_path, capsys):
    """The same ones that a classifier is tested on when it is trained from the same file."""
    raw = generate_texts("mx", 600)
    corpus = Corpus((write_texts(tmp_path / "mx.jsonl", raw),))
    found = from_raw_texts("mx", corpus, 0.2)
    without = sum(bool(is_test(text_hash(text), 0.2)) for text in raw) - len(found.texts)
    said = (
        f"mx: {len(found.texts)} texts to test on; left out: {without} without exactly one kind of the fifteen emoji"
    )
    assert said in capsys.readouterr().out
    splits = load_labelled("emoji15", labelled_corpus("emoji15", corpus.files), test_fraction=0.2)
    assert len(found.texts) > 5
    assert found.texts.fingerprint == splits.test.fingerprint
    assert not any(emoji in text for text in found.texts.texts for emoji in EMOJI_15)


def test_raw_texts_without_emoji(tmp_path):
    corpus = Corpus((write_texts(tmp_path / "mx.jsonl", ["hola"]),))
    with pytest.raises(InputError, match="mx.jsonl: the test set is empty.*--emoji_files"):
        from_raw_texts("mx", corpus, 1)


def test_baselines_stand_beside_the_models(tmp_path):
    tests = [labelled_test("❤", "😭"), labelled_test("😭", "😭", region="ar")]
    metrics = {
        "classifier": "majority",
        "test": {"accuracy": 0.5, "macro_f1": 0.25},
        "texts": {"test": tests[0].texts.describe()},
    }
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(metrics))
    (cell,) = baseline_cells([str(tmp_path)], tests)
    assert (cell["model"], cell["region"], cell["count"]) == ("majority", "mx", 2)
    assert cell["accuracy"] == {"value": 0.5, "low": None, "high": None}
    with pytest.raises(InputError, match="majority was tested on other texts"):
        baseline_cells([str(tmp_path)], tests[1:])
    path.write_text("{}")
    with pytest.raises(InputError, match="no metrics.json as baselines.py writes it"):
        baseline_cells([str(tmp_path)], tests)


def labelled(path, group_column=None, **columns):
    path = write_texts(path, ["uno", "dos", "tres", "cuatro"], **columns)
    return from_labelled_files([str(path)], "text", "label", 1, group_column)


def test_labelled_files_by_region(tmp_path):
    found = labelled(
        tmp_path / "a.jsonl",
        label=["❤", "😭", "❤", "😍"],
        region=["mx", "ar", "mx", "MX"],
        split=["test", "test", "train", "test"],
    )
    assert [(test.region, test.texts.texts) for test in found] == [("ar", ["dos"]), ("mx", ["uno", "cuatro"])]
    assert found[1].facts()["labels"] == {"❤": 1, "😍": 1}


def test_labelled_files_with_authors(tmp_path):
    columns = {"label": ["❤"] * 4, "region": ["mx", "mx", "ar", "mx"], "author": ["a", "b", "a", "a"]}
    others, mexicans = labelled(tmp_path / "a.jsonl", group_column="author", **columns)
    assert (mexicans.authors, others.authors) == (["a", "b", "a"], ["a"])
    assert (mexicans.facts()["resampled"], mexicans.facts()["authors"]) == ("authors", 2)
    without = labelled(tmp_path / "a.jsonl", **columns)[0].facts()
    assert (without["resampled"], without["authors"]) == ("texts", None)


def test_raw_texts_keep_their_authors(tmp_path):
    path = write_texts(tmp_path / "mx.jsonl", ["hola ❤", "adiós", "ay 😭"], author=["a", "b", "c"])
    found = from_raw_texts("mx", Corpus((path,), group_column="author"), 1)
    assert (found.texts.labels, found.authors) == (["❤", "😭"], ["a", "c"])


def test_regions_with_few_texts_are_left_out():
    many, few = labelled_test(*["❤", "😭"] * 50), labelled_test(*["❤"] * 99, region="uy")
    enough, notes = with_enough_texts([many, few], {"ar", None})
    assert enough == [many]
    assert notes == ["uy is left out: 99 test texts are too few to tell models apart."]
    assert with_enough_texts([many, few], {"uy"}) == ([many, few], [])  # it has a model that wants to be tested
    with pytest.raises(InputError, match="no region has 100 texts to test on, only 99"):
        with_enough_texts([few], {"ar"})


def test_labelled_files_without_parts_are_cut_by_hash(tmp_path):
    found = labelled(tmp_path / "a.jsonl", label=["❤"] * 4, region=["mx"] * 4)
    assert len(found[0].texts) == 4  # a test fraction of 1


def test_labelled_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="no column 'label'"):
        labelled(tmp_path / "a.jsonl", region=["mx"] * 4)
    with pytest.raises(InputError, match="text 'uno' has no region"):
        labelled(tmp_path / "a.jsonl", label=["❤"] * 4)
    path = write_texts(tmp_path / "a.jsonl", ["uno"], label=["❤"], region=["mx"])
    with pytest.raises(InputError, match="the test set is empty"):
        from_labelled_files([str(path)], "text", "label", test_fraction=1e-9)


def test_labels_that_do_not_fit(classifier):
    with pytest.raises(InputError, match="label '😡' .* does not occur"):
        check_labels([labelled_test("❤", "😡")], LABELS)
    with pytest.raises(InputError, match="all test texts have the label '❤'"):
        check_labels([labelled_test("❤"), labelled_test("❤", region="ar")], LABELS)
    check_labels([labelled_test("❤"), labelled_test("😭", region="ar")], LABELS)
    with pytest.raises(InputError, match="a and b have different labels"):
        label_names([classifier("a"), classifier("b", LABELS)])


def test_guesses_are_those_of_the_model_text_by_text(classifier):
    """Whatever the order of its labels, and the batches."""
    folder = classifier("emoji", list(reversed(EMOJI_15)))
    labels = label_names([folder])
    assert labels == list(EMOJI_15)
    texts = LabelledTexts(generate_texts("mx", 40), ["❤"] * 40)
    found = classify(folder, [LabelledTest("mx", [], texts, [None] * 40)], labels, 100, torch.device("cpu"))[0]
    model = folder.open(AutoModelForSequenceClassification, torch.device("cpu"))
    with torch.no_grad():
        one_by_one = [
            model(**folder.tokenizer(text, truncation=True, max_length=40, return_tensors="pt")).logits.argmax().item()
            for text in texts.texts
        ]
    assert [labels[number] for number in found] == [folder.config.id2label[number] for number in one_by_one]
    assert len(set(found)) > 1


def test_cells_and_comparison():
    rng = np.random.default_rng(0)
    right = rng.integers(3, size=200)
    test = labelled_test(*(LABELS[number] for number in right))
    guesses = {
        "own": np.where(rng.random(200) < 0.7, right, 0),
        "other": np.where(rng.random(200) < 0.2, right, 1),
        "foreign": np.zeros(200, int),
    }
    regions = {"own": "mx", "other": "ar", "foreign": None}
    scores = score_region(test, guesses, LABELS, regions, 400, seed=0)
    for cell in scores.cells:
        guessed = guesses[cell["model"]]
        expected = classification_scores(right, guessed, 3)
        for score in ("accuracy", "macro_f1"):
            estimate = cell[score]
            assert estimate["value"] == pytest.approx(expected[score])
            assert estimate["low"] < estimate["value"] < estimate["high"]
        assert np.sum(cell["confusion"]) == cell["count"] == 200
        assert np.trace(cell["confusion"]) == (guessed == right).sum()
    found = {entry["other"]: entry["accuracy_difference"] for entry in scores.comparisons}
    assert set(found) == {"other", "foreign"}
    assert {entry["own"] for entry in scores.comparisons} == {"own"}
    for other, difference in found.items():
        expected = (guesses["own"] == right).mean() - (guesses[other] == right).mean()
        assert difference["value"] == pytest.approx(expected)
        assert 0 < difference["low"] < difference["value"] < difference["high"]
    (win,) = scores.wins
    assert win["closest"] == min(found, key=lambda other: found[other]["value"])


def test_intervals_draw_whole_authors():
    """Ten authors, whose texts are all right or all wrong: the interval is that of ten."""
    right = np.zeros(200, int)
    guessed = np.repeat([0, 1] * 5, 20)
    authors = [str(number) for number in np.repeat(np.arange(10), 20)]
    widths = []
    for test in (labelled_test(*["❤"] * 200), labelled_test(*["❤"] * 200, authors=authors)):
        (cell,) = score_region(test, {"own": guessed}, LABELS, {"own": "mx"}, 400, seed=0).cells
        assert cell["accuracy"]["value"] == (right == guessed).mean()
        widths.append(cell["accuracy"]["high"] - cell["accuracy"]["low"])
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(20), rel=0.3)


def test_macro_f1_of_samples_leaves_out_labels_that_do_not_occur():
    """The third label is neither right nor guessed, so that it counts in no sample."""
    right = np.array([0, 1] * 30)
    test = labelled_test(*(LABELS[number] for number in right))
    scores = score_region(test, {"own": right}, LABELS, {"own": "mx"}, 100, 0)
    assert scores.cells[0]["macro_f1"] == {"value": 1, "low": 1, "high": 1}
    assert not scores.comparisons
    assert not scores.wins
