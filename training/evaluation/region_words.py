"""The words that each model prefers where the other models do not."""

from collections.abc import Iterable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.evaluation.results import ModelWords, RegionWord
from training.evaluation.words import PLACEHOLDERS

SHORTEST = 3  # letters; single letters and pairs are mostly pieces of abbreviations
FEWEST = 5  # occurrences as a whole word in the test texts: rarer ones may be cut words, or one text's own


def is_listed(token: str) -> bool:
    """Whether a token may be listed: letters alone, enough of them, and no placeholder."""
    return token.isalpha() and len(token) >= SHORTEST and token not in PLACEHOLDERS


def count_whole_words(texts: Iterable[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Count each token, (vocab_size,), where no piece of the same word follows it."""
    goes_on = np.array(
        [token.startswith("##") for token in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))]
    )
    counts = np.zeros(len(tokenizer), np.int64)
    for text in texts:
        ids = np.array(text, np.int64)
        counts += np.bincount(ids[~np.append(goes_on[ids[1:]], False)], minlength=len(counts))
    return counts


def region_words(
    mean_log_probabilities: dict[str, np.ndarray],
    counts: np.ndarray,
    tokenizer: PreTrainedTokenizerBase,
    top_k: int,
) -> list[ModelWords]:
    """Find for each model the words with the largest difference of log-probability to the other models' mean.

    Args:
        mean_log_probabilities: of each model, one value for each token of the vocabulary: its mean log-probability,
            whatever the right token is, over the masked positions of all test sets, every region counting alike.
        counts: of each token how often it is a whole word in the texts of all regions.

    Returns:
        For each model its name and at most `top_k` words, each with `difference` (nats) and the two values that it is
        made of.
    """
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    is_candidate = [is_listed(token) and count >= FEWEST for token, count in zip(tokens, counts, strict=True)]
    ids = np.flatnonzero(is_candidate)
    found: list[ModelWords] = []
    for name, own in mean_log_probabilities.items():
        others = np.mean([values for other, values in mean_log_probabilities.items() if other != name], axis=0)
        difference = own[ids] - others[ids]
        best = np.argsort(-difference, kind="stable")[:top_k]
        words: list[RegionWord] = [
            {
                "word": tokens[ids[number]],
                "difference": float(difference[number]),
                "log_probability": float(own[ids[number]]),
                "log_probability_of_others": float(others[ids[number]]),
            }
            for number in best
        ]
        found.append({"model": name, "words": words})
    return found
