"""Baselines without a model: the commonest tokens of the texts, and the commonest between the same neighbours."""

from collections.abc import Sequence

import numpy as np

from training.evaluation.masked_texts import MaskedTexts
from training.evaluation.predictions import Predictions

TOP = 5  # guesses kept for each context: enough for the accuracies that are reported
UNIGRAM, NEAREST = "unigram", "nearest n-gram"
OF_ALL = " of all texts"  # added to these names where the baselines learn from --baseline_files


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
        """Return the tokens seen in this context, the commonest first; none if it was never seen."""
        place = np.searchsorted(self.contexts, context)
        if place == len(self.contexts) or self.contexts[place] != context:
            return np.empty(0, np.int64)
        return self.tokens[self.starts[place] : min(self.starts[place] + TOP, self.ends[place])]


class NgramBaselines:
    """Both baselines, fitted on the token ids of texts, each with its special tokens."""

    def __init__(self, ids: Sequence[Sequence[int] | np.ndarray], vocab_size: int):
        self.vocab_size = vocab_size
        texts = [np.asarray(text, np.int32) for text in ids]
        stream = np.concatenate(texts).astype(np.int64)
        lengths = np.array([len(text) for text in texts])
        inside = np.arange(len(stream)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        length = np.repeat(lengths, lengths)
        middle = np.flatnonzero((inside > 0) & (inside < length - 1))  # not the special tokens at the ends
        left, token, right = stream[middle - 1], stream[middle], stream[middle + 1]
        self.counts = np.bincount(token, minlength=vocab_size)
        self.commonest = np.argsort(-self.counts, kind="stable")
        self.rank_of_token = np.argsort(self.commonest)
        self.between = TopTokens(left * vocab_size + right, token, vocab_size)
        self.after = TopTokens(left, token, vocab_size)
        self.before = TopTokens(right, token, vocab_size)

    def unigram(self, masked: MaskedTexts) -> Predictions:
        """Predict the commonest tokens whatever the context; probabilities have one added to every count."""
        log_probabilities = np.log((self.counts + 1) / (self.counts.sum() + self.vocab_size))
        return Predictions(
            guess=np.full(len(masked.targets), self.commonest[0]),
            rank=self.rank_of_token[masked.targets],
            log_probability=log_probabilities[masked.targets],
        )

    def nearest(self, masked: MaskedTexts) -> Predictions:
        """Predict the commonest between both neighbours, then after the left one, before the right one, anywhere.

        A neighbour that is masked itself was never seen, so the other one decides. Only the first `TOP` guesses are
        known: a target that is not among them has the rank `TOP`.
        """
        guesses = [
            self.guesses(int(row.input_ids[position - 1]), int(row.input_ids[position + 1]))
            for row in masked.rows
            for position in row.positions
        ]
        ranks = [
            found.index(target) if target in found else TOP
            for found, target in zip(guesses, masked.targets.tolist(), strict=True)
        ]
        return Predictions(guess=np.array([found[0] for found in guesses]), rank=np.array(ranks))

    def guesses(self, left: int, right: int) -> list[int]:
        contexts = self.between[left * self.vocab_size + right], self.after[left], self.before[right]
        found = np.concatenate([*contexts, self.commonest[:TOP]]).tolist()
        return list(dict.fromkeys(found))[:TOP]
