import numpy as np
import pytest

from training.finetuning.tasks import TextTask, tokenise_tagged, words_of_tokens
from training.texts.batches import IGNORED
from training.texts.tagged import TaggedSplits, TaggedTexts

WORDS = ["Vamos", "a", "Méxicolandia", "@ana_42", "10:30", "\u0301", "#Viernes"]
TAGS = ["O", "O", "B-LOC", "I-LOC", "B-X", "O", "B-X"]
NAMES = ["O", "B-LOC", "I-LOC", "B-X", "I-X"]


@pytest.fixture
def task(tokenizer):
    part = TaggedTexts([WORDS, ["hola"]], [TAGS, ["O"]])
    splits = TaggedSplits("tokens", part, part, part, NAMES, 0, ["x"])
    return tokenise_tagged(splits, tokenizer, 40)


def test_tokens_belong_to_the_words_that_they_were_made_from(tokenizer):
    ((ids, *_), (words, *_)) = words_of_tokens(TaggedTexts([WORDS], [TAGS]), tokenizer, 40)
    assert ids == tokenizer(" ".join(WORDS))["input_ids"]
    assert words[0] is words[-1] is None
    for number, word in enumerate(WORDS):
        own = [token for token, owner in zip(ids, words, strict=True) if owner == number]
        assert own == tokenizer(word, add_special_tokens=False)["input_ids"]


def test_a_cut_text_keeps_its_end_and_loses_the_words_behind(tokenizer):
    (ids,), (words,) = words_of_tokens(TaggedTexts([WORDS], [TAGS]), tokenizer, 5)
    assert (len(ids), ids[-1], words[-1]) == (5, tokenizer.sep_token_id, None)


def test_the_first_token_of_a_word_has_its_tag_and_further_ones_carry_it_on(task, tokenizer):
    labels, pieces = task.labels["train"][0], task.first_pieces["train"][0]
    names = [None if label == IGNORED else NAMES[label] for label in labels]
    assert names[0] is names[-1] is None
    assert [piece is not None for piece in pieces] == [bool(tokenizer.tokenize(word)) for word in WORDS]
    starts = [piece for piece in pieces if piece is not None]
    assert [names[start] for start in starts] == [
        tag for tag, piece in zip(TAGS, pieces, strict=True) if piece is not None
    ]
    for first, last in zip(starts, [*starts[1:], len(labels) - 1], strict=True):
        inside = {"O": "O"}.get(names[first], f"I-{names[first][2:]}")
        assert set(names[first + 1 : last]) <= {inside}


def test_right_tags_score_one_and_lost_words_are_counted(task):
    longest = max(map(len, task.ids["test"]))
    right = np.zeros((2, longest), dtype=int)
    for row, labels in zip(right, task.labels["test"], strict=True):
        row[: len(labels)] = np.maximum(labels, 0)
    assert task.scores("test", right) == {"precision": 1, "recall": 1, "f1": 1}
    details = task.details(right)
    assert details["test_words_without_token"] == 1
    assert details["test_by_class"]["X"]["entities"] == 2
    assert task.scores("test", np.zeros_like(right))["f1"] == 0


def test_scores_of_regions_are_those_of_their_texts_alone():
    task = TextTask(["N", "P"], {}, {"test": np.array([0, 1, 1, 0])}, ["mx", "ar", "mx", None])
    details = task.details(np.array([0, 0, 1, 1]))["test_by_region"]
    assert {region: (scores["texts"], scores["accuracy"]) for region, scores in details.items()} == {
        "ar": (1, 0.0),
        "mx": (2, 1.0),
    }
