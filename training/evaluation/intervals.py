"""Intervals by the cluster bootstrap: tokens of one text, and texts of one author, are not independent, so whole
authors (or whole texts, where no author is named) are drawn with replacement."""

from collections.abc import Sequence

import numpy as np

from training.evaluation.results import Estimate

CONFIDENCE = 0.95
FEWEST_DRAWN = 30  # texts or authors; intervals from fewer are too narrow, and of length 0 where no answer differs
DRAWS_AT_ONCE = 2**22  # bounds the memory: clusters times resamples held together


def clusters_of(authors: Sequence[str | None]) -> np.ndarray:
    """Return the number of each text's cluster, (texts,): its author's, or where none is named its own."""
    keys = [("text", number) if author is None else ("author", author) for number, author in enumerate(authors)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys])


def sums_of_clusters(of_texts: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Sum the quantities of texts, (texts, quantities), over each cluster, (clusters, quantities)."""
    sums = np.zeros((clusters.max() + 1, of_texts.shape[1]))
    np.add.at(sums, clusters, of_texts)
    return sums


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


def mean_over_seeds(by_seed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the mean scores of a method's seeds in each bootstrap sample, which draws seeds too, (resamples, ...).

    Args:
        by_seed: the scores of each seed in each sample, (seeds, resamples, ...).
        rng: not the one that drew the clusters.
    """
    drawn = rng.integers(len(by_seed), size=by_seed.shape[:2])
    return by_seed[drawn, np.arange(by_seed.shape[1])].mean(0)


def spread(of_seeds: Sequence[float]) -> float | None:
    """The standard deviation over seeds; None for one seed."""
    return float(np.std(of_seeds, ddof=1)) if len(of_seeds) > 1 else None


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
