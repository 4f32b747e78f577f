"""Intervals by the cluster bootstrap: tokens of one text, and texts of one author, are not independent, so whole
authors (or whole texts, where no author is named) are drawn with replacement."""

import numpy as np

from training.evaluation.results import Estimate

CONFIDENCE = 0.95
FEWEST_DRAWN = 30  # texts or authors; intervals from fewer are too narrow, and of length 0 where no answer differs
DRAWS_AT_ONCE = 2**22  # bounds the memory: clusters times resamples held together


def resampled_sums(per_cluster: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sum over the clusters of each bootstrap sample.

    Args:
        per_cluster: (clusters, quantities), for example right guesses and targets of every author.

    Returns:
        (resamples, quantities). The same seed and number of clusters draw the same clusters, so the quantities of
        several models, in one call or in several, are paired.
    """
    clusters = len(per_cluster)
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // clusters)
    sums = []
    for first in range(0, resamples, at_once):
        number = min(at_once, resamples - first)
        drawn = rng.integers(clusters, size=(number, clusters)) + clusters * np.arange(number)[:, None]
        times = np.bincount(drawn.ravel(), minlength=number * clusters).reshape(number, clusters)
        sums.append(times @ per_cluster)
    return np.concatenate(sums)


def resampled_together(sums: dict[str, np.ndarray], resamples: int, seed: int) -> dict[str, np.ndarray]:
    """Resample the sums of several models, each (clusters, quantities), on the same samples that are drawn once."""
    found = resampled_sums(np.concatenate(list(sums.values()), axis=1), resamples, seed)
    ends = np.cumsum([values.shape[1] for values in sums.values()])[:-1]
    return dict(zip(sums, np.split(found, ends, axis=1), strict=True))


def notes_on_few(number: int, what: str) -> list[str]:
    """Return a note if intervals are drawn from too few texts or authors; `what` names them."""
    if number >= FEWEST_DRAWN:
        return []
    return [f"{number} {what} are too few for an interval (fewer than {FEWEST_DRAWN}): those shown are too narrow."]


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """Return a value with its percentile interval, from its values in the bootstrap samples.

    A sample may hold no target at all where there are few clusters; its value is not a number and is left out.
    """
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}
