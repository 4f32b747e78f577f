"""What can be guessed without a model: the commonest tokens of a region, or what stood between the same neighbours."""

from collections.abc import Sequence

import numpy as np

from training.evaluation.masked_scores import Answers
from training.evaluation.questions import Questions

TOP = 5  # guesses kept for each context: enough for the accuracies that are reported
UNIGRAM, NEAREST = "unigram", "nearest n-gram"


class TopTokens:
    """The `TOP` commonest tokens of every context, ties to the lower id."""

    def __init__(self, contexts: np.ndarray, tokens: np.ndarray, vocab_size: int):
        pairs, counts = np.unique(contexts * vocab_size + tokens, return_counts=True)
        contexts, tokens = np.divmod(pairs, vocab_size)
        order = np.lexsort((tokens, -counts, contexts))
        contexts, self.tokens = contexts[order], tokens[order]
        self.contexts, self.starts = np.unique(contexts, return_index=True)
        self.ends = np.append(self.starts[1:], len(contexts))

    def __getitem__(self, context: int) -> np.ndarray:
        """The tokens met in this context, the commonest first; none if it was never met."""
        place = np.searchsorted(self.contexts, context)
        if place == len(self.contexts) or self.contexts[place] != context:
            return np.empty(0, np.int64)
        return self.tokens[self.starts[place] : min(self.starts[place] + TOP, self.ends[place])]


class NgramBaselines:
    """Both baselines of one region, fitted on token ids of its training texts, each with its special tokens."""

    def __init__(self, ids: Sequence[Sequence[int]], vocab_size: int):
        self.vocab_size = vocab_size
        stream = np.concatenate([np.asarray(text, np.int64) for text in ids])
        inside = np.concatenate([np.arange(len(text)) for text in ids])
        length = np.concatenate([np.full(len(text), len(text)) for text in ids])
        middle = np.flatnonzero((inside > 0) & (inside < length - 1))  # not the special tokens at the ends
        left, token, right = stream[middle - 1], stream[middle], stream[middle + 1]
        self.counts = np.bincount(token, minlength=vocab_size)
        self.commonest = np.argsort(-self.counts, kind="stable")
        self.rank_of_token = np.argsort(self.commonest)
        self.between = TopTokens(left * vocab_size + right, token, vocab_size)
        self.after = TopTokens(left, token, vocab_size)
        self.before = TopTokens(right, token, vocab_size)

    def unigram(self, questions: Questions) -> Answers:
        """The commonest tokens, whatever stands around; probabilities with one added to every count."""
        log_probabilities = np.log((self.counts + 1) / (self.counts.sum() + self.vocab_size))
        return Answers(
            guess=np.full(len(questions.targets), self.commonest[0]),
            rank=self.rank_of_token[questions.targets],
            log_probability=log_probabilities[questions.targets],
        )

    def nearest(self, questions: Questions) -> Answers:
        """What stood most often between both neighbours, then after the left one, before the right one, anywhere.

        A neighbour that is hidden itself was never met, so the other one decides. Only the first `TOP` guesses are
        known: a target that is not among them has the rank `TOP`.
        """
        guesses = [
            self.guesses(int(row.input_ids[position - 1]), int(row.input_ids[position + 1]))
            for row in questions.rows
            for position in row.positions
        ]
        ranks = [
            found.index(target) if target in found else TOP
            for found, target in zip(guesses, questions.targets.tolist(), strict=True)
        ]
        return Answers(guess=np.array([found[0] for found in guesses]), rank=np.array(ranks))

    def guesses(self, left: int, right: int) -> list[int]:
        contexts = self.between[left * self.vocab_size + right], self.after[left], self.before[right]
        found = np.concatenate([*contexts, self.commonest[:TOP]]).tolist()
        return list(dict.fromkeys(found))[:TOP]
