"""What makes a region a region: the words that its model prefers where the other models do not."""

from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from training.evaluation.questions import PLACEHOLDERS

SHORTEST = 3  # letters; single letters and pairs are mostly pieces of abbreviations


def is_word(token: str) -> bool:
    return token.isalpha() and len(token) >= SHORTEST and token not in PLACEHOLDERS


def region_words(
    mean_log_probabilities: dict[str, np.ndarray], tokenizer: PreTrainedTokenizerBase, top_k: int
) -> list[dict[str, Any]]:
    """For each model the words with the largest difference of log-probability to the other models' mean.

    Args:
        mean_log_probabilities: of each model, one value for each token of the vocabulary: its mean log-probability,
            whatever the right token is, over the hidden positions of all test sets, every region counting alike.

    Returns:
        For each model its name and `top_k` words, each with `difference` (nats) and the two values it is made of.
    """
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ids = np.array([number for number, token in enumerate(tokens) if is_word(token)])
    found = []
    for name, own in mean_log_probabilities.items():
        others = np.mean([values for other, values in mean_log_probabilities.items() if other != name], axis=0)
        difference = own[ids] - others[ids]
        best = np.argsort(-difference, kind="stable")[:top_k]
        words = [
            {
                "word": tokens[ids[number]],
                "difference": difference[number],
                "log_probability": own[ids[number]],
                "log_probability_of_others": others[ids[number]],
            }
            for number in best
        ]
        found.append({"model": name, "words": words})
    return found
