import numpy as np
import pytest

from training.evaluation.ngrams import TOP, NgramBaselines
from training.evaluation.questions import Question, Questions

START, END, MASK = 2, 3, 4
A, B, C, D, X = 5, 6, 7, 8, 9
# a x b, a x b, a c b, d c: x is commonest between a and b, c comes once after a and once after d
TEXTS = [[START, *text, END] for text in ([A, X, B], [A, X, B], [A, C, B], [D, C])]


@pytest.fixture
def fitted():
    return NgramBaselines(TEXTS, vocab_size=12)


def question(ids, *positions, targets):
    ids = np.array([START, *ids, END])
    ids[list(positions)] = MASK
    return Questions([Question(0, ids, np.array(positions), np.array(targets))], 1)


def test_counts_are_those_of_a_plain_loop(fitted):
    expected = np.zeros(12)
    for text in TEXTS:
        for token in text[1:-1]:
            expected[token] += 1
    assert (fitted.counts == expected).all()
    assert fitted.counts[[START, END]].sum() == 0


def test_unigram_guesses_the_commonest_token(fitted):
    answers = fitted.unigram(question([X, B, C], 1, 2, 3, targets=[X, B, A]))
    assert answers.guess.tolist() == [A, A, A]  # a and b three times each: the lower id
    assert answers.rank.tolist() == [3, 1, 0]  # a, b, c and x twice each, and the lower id first
    np.testing.assert_allclose(np.exp(answers.log_probability), [3 / 23, 4 / 23, 4 / 23])


def test_unigram_probabilities_are_probabilities(fitted):
    everything = question(range(10), *range(1, 11), targets=range(10))
    assert 0 < np.exp(fitted.unigram(everything).log_probability).sum() < 1  # two tokens were not asked


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
    answers = fitted.nearest(question([A, X, B], 2, targets=[11]))
    assert answers.guess.tolist() == [X]
    assert answers.rank.tolist() == [TOP]
    assert answers.log_probability is None


def test_nearest_answers_in_the_order_of_the_targets(fitted):
    answers = fitted.nearest(question([A, X, B, D, C], 2, 5, targets=[C, C]))
    assert answers.guess.tolist() == [X, C]
    assert answers.rank.tolist() == [1, 0]
