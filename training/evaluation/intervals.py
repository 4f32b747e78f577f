"""Intervals by the bootstrap over texts: tokens of one text are not independent, so whole texts are drawn again."""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
DRAWS_AT_ONCE = 2**22  # bounds the memory: texts times resamples held together


@dataclass
class Estimate:
    """A value with the ends of its 95 % interval; what another program measured may come without."""

    value: float
    low: float | None = None
    high: float | None = None


def resampled_sums(per_text: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums over the texts of each bootstrap sample.

    Args:
        per_text: (texts, quantities), for example right guesses and targets of every text.

    Returns:
        (resamples, quantities). The same seed and number of texts draw the same texts, so quantities of several
        models, in one call or in several, are paired.
    """
    texts = len(per_text)
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // texts)
    sums = []
    for first in range(0, resamples, at_once):
        number = min(at_once, resamples - first)
        drawn = rng.integers(texts, size=(number, texts)) + texts * np.arange(number)[:, None]
        times = np.bincount(drawn.ravel(), minlength=number * texts).reshape(number, texts)
        sums.append(times @ per_text)
    return np.concatenate(sums)


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """The percentile interval of a value from what it was in the bootstrap samples.

    A sample may hold no target at all when there are few texts; its value is not a number and left out.
    """
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Estimate(float(value), float(low), float(high))
