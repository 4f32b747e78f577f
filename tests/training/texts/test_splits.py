"""Which side a text is on: for good, and the same for every script."""

import numpy as np
import pytest

from training.texts.splits import is_test, is_validation, text_hash
from training.texts.synthetic import generate_texts


@pytest.mark.parametrize("is_held_out", [is_validation, is_test])
def test_the_split_is_stable_when_the_corpus_grows(is_held_out):
    def held_out(number):
        return {text for text in generate_texts("mx", number) if is_held_out(text_hash(text), 0.05)}

    assert held_out(400) == held_out(1200) & set(generate_texts("mx", 400))
    assert 0.03 < len(held_out(1200)) / 1200 < 0.07


def test_no_text_is_on_two_sides():
    hashes = np.array([text_hash(text) for text in generate_texts("ar", 400)])
    assert not (is_validation(hashes, 0.5) & is_test(hashes, 0.5)).any()
    assert (is_validation(hashes, 0.5) | is_test(hashes, 0.5)).all()


def test_nothing_and_everything_can_be_kept_out():
    ends = np.array([0, 2**63 - 1])
    assert not is_test(ends, 0).any()
    assert is_test(ends, 1).all()
