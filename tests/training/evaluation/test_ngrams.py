import numpy as np
import pytest

from training.evaluation.masked_texts import MaskedText, MaskedTexts
from training.evaluation.ngrams import TOP, NgramBaselines

START, END, MASK = 2, 3, 4
A, B, C, D, X = 5, 6, 7, 8, 9
# a x b, a x b, a c b, d c: x is commonest between a and b, c comes once after a and once after d
TEXTS = [[START, *text, END] for text in ([A, X, B], [A, X, B], [A, C, B], [D, C])]


@pytest.fixture
def fitted():
    return NgramBaselines(TEXTS, vocab_size=12)


def masked(ids, *positions, targets):
    ids = np.array([START, *ids, END])
    ids[list(positions)] = MASK
    return MaskedTexts([MaskedText(0, ids, np.array(positions), np.array(targets))])


def test_counts_are_those_of_a_plain_loop(fitted):
    expected = np.zeros(12)
    for text in TEXTS:
        for token in text[1:-1]:
            expected[token] += 1
    assert (fitted.counts == expected).all()
    assert fitted.counts[[START, END]].sum() == 0


def test_unigram_guesses_the_commonest_token(fitted):
    found = fitted.unigram(masked([X, B, C], 1, 2, 3, targets=[X, B, A]))
    assert found.guess.tolist() == [A, A, A]  # a and b three times each: the lower id
    assert found.rank.tolist() == [3, 1, 0]  # a, b, c and x twice each, and the lower id first
    np.testing.assert_allclose(np.exp(found.log_probability), [3 / 23, 4 / 23, 4 / 23])


def test_unigram_probabilities_are_probabilities(fitted):
    everything = masked(range(10), *range(1, 11), targets=range(10))
    assert 0 < np.exp(fitted.unigram(everything).log_probability).sum() < 1  # two tokens are no targets


@pytest.mark.parametrize(
    ("left", "right", "first"),
    [
        (A, B, [X, C]),  # between both
        (A, D, [X, C, A, B]),  # never met together: after the left one, then the commonest
        (B, C, [A, D]),  # only the end came after b: what stood before c
        (MASK, MASK, [A, B, C, X, D]),  # both hidden: the commonest
        (A, MASK, [X, C, A, B]),
    ],
)
def test_nearest_neighbours_decide(fitted, left, right, first):
    assert fitted.guesses(left, right)[: len(first)] == first


def test_a_target_beyond_the_guesses_is_wrong_in_both_accuracies(fitted):
    found = fitted.nearest(masked([A, X, B], 2, targets=[11]))
    assert found.guess.tolist() == [X]
    assert found.rank.tolist() == [TOP]
    assert found.log_probability is None


def test_nearest_guesses_in_the_order_of_the_targets(fitted):
    found = fitted.nearest(masked([A, X, B, D, C], 2, 5, targets=[C, C]))
    assert found.guess.tolist() == [X, C]
    assert found.rank.tolist() == [1, 0]
