import json

import numpy as np
import pytest

from training.common.errors import InputError
from training.finetuning.folds import all_tests, authors_of, check_seeds, cross_validation
from training.finetuning.guesses import describe_guesses
from training.texts.labelled import labelled_corpus, load_labelled
from training.texts.synthetic import generate_texts


@pytest.fixture
def splits(tmp_path):
    """800 texts of 200 authors, with an emoji that becomes the label; two authors share one text."""
    emoji = ("❤", "😭")
    records = [
        {"text": f"{text} {emoji[n % 2]}", "author": f"author {n % 200}", "region": "mx"}
        for n, text in enumerate(generate_texts("mx", 800))
    ]
    records += [{"text": "lo mismo ❤", "author": f"author {n}", "region": "mx"} for n in range(8)]
    path = tmp_path / "mx.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return load_labelled("emoji15", labelled_corpus("emoji15", [str(path)], group_column="author"), None, 0.2)


def test_every_text_is_tested_once_and_no_author_is_on_two_sides(splits):
    authors = authors_of(splits)
    assert set(authors.values()) == {f"author {n}" for n in range(200)}
    folds = cross_validation(splits, 5)
    every = sorted(text for part in splits.parts().values() for text in part.texts)
    assert sorted(all_tests(folds).texts) == every
    for fold in folds:
        sides = [{authors[text] for text in part.texts} for part in fold.parts().values()]
        assert not sides[0] & sides[1]
        assert not (sides[0] | sides[1]) & sides[2]
        texts = [set(part.texts) for part in fold.parts().values()]
        assert not texts[0] & texts[2]


def test_guesses_name_authors_by_number_only(splits):
    guesses = describe_guesses(
        "emoji15",
        "majority",
        splits.label_names,
        splits.test,
        authors_of(splits),
        {0: np.zeros(len(splits.test), int)},
    )
    authors = authors_of(splits)
    assert len(set(guesses["authors"])) == len({authors[text] for text in splits.test.texts})
    assert "author 1" not in json.dumps(guesses)
    assert guesses["right"] == [splits.label_names.index(label) for label in splits.test.labels]


def test_more_folds_than_texts_can_fill(splits):
    with pytest.raises(InputError, match="--folds 300: fold [0-9]+ has no text for"):
        cross_validation(splits, 300)


def test_seeds_are_different_numbers():
    check_seeds([0, 1])
    for seeds in ([], [1, 1], [-1]):
        with pytest.raises(InputError, match="give different numbers"):
            check_seeds(seeds)
