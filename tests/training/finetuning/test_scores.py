import numpy as np
import pytest

from training.finetuning.scores import classification_scores, confusion, describe_texts
from training.texts.report import ReadingReport
from training.texts.tagged import TaggedSplits, TaggedTexts

RIGHT, GUESSED = np.array([0, 0, 0, 1, 1, 3]), np.array([0, 0, 1, 1, 0, 2])


def test_confusion_has_right_classes_in_rows():
    assert confusion(RIGHT, GUESSED, 4).tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_macro_f1_counts_every_class_that_occurs_alike():
    scores = classification_scores(RIGHT, GUESSED, 5)
    assert scores["accuracy"] == pytest.approx(3 / 6)
    assert scores["macro_f1"] == pytest.approx((4 / 6 + 2 / 4 + 0 + 0) / 4)  # class 4 occurs nowhere


def test_the_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    right, guessed = random.integers(0, 7, 300), random.integers(0, 6, 300)
    assert classification_scores(right, guessed, 9) == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(right, guessed),
            "macro_f1": metrics.f1_score(right, guessed, average="macro"),
        }
    )


def test_what_was_left_out_is_told_with_the_texts():
    part, report = TaggedTexts([["hola"]], [["O"]]), ReadingReport(empty=2)
    line = describe_texts(TaggedSplits("tokens", part, part, part, ["O"], 3, ["x"], report))
    assert "1 for test" in line and "3 left out as duplicates" in line and line.endswith("left out: 2 empty")
