"""How alike models are: the correlation of their log-probabilities for the same hidden tokens, and a map of them."""

from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from training.evaluation.intervals import interval, resampled_sums


def similarity(
    log_probabilities: dict[str, np.ndarray], texts: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """Pearson correlations of all pairs with 95 % intervals over texts, and coordinates for a map.

    Args:
        log_probabilities: of each model, for the right tokens at all hidden positions of all test sets.
        texts: the number of the text that each position belongs to.

    Returns:
        `correlations`: for each pair its Estimate. `map`: two coordinates for each model, by classical scaling of the
        distances sqrt(2 - 2 r). `share_shown`: the part of the squared distances that two dimensions can show.
    """
    names = list(log_probabilities)
    values = np.stack(list(log_probabilities.values()))
    values = values - values.mean(1, keepdims=True)  # correlations stay, sums of squares lose no digits
    pairs = list(combinations_with_replacement(range(len(names)), 2))
    columns = [np.ones(values.shape[1]), *values, *(values[a] * values[b] for a, b in pairs)]
    per_text = np.stack([np.bincount(texts, column) for column in columns], axis=1)
    per_text = per_text[per_text[:, 0] > 0]
    value = correlations(per_text.sum(0), len(names))
    resampled = correlations(resampled_sums(per_text, resamples, seed), len(names))
    points, share_shown = classical_scaling(np.sqrt(np.maximum(2 - 2 * value, 0)))
    return {
        "correlations": [
            {"models": [names[a], names[b]], "correlation": interval(value[a, b], resampled[:, a, b])}
            for a, b in pairs
            if a != b
        ],
        "map": [{"model": name, "x": x, "y": y} for name, (x, y) in zip(names, points, strict=True)],
        "share_shown": share_shown,
    }


def correlations(sums: np.ndarray, models: int) -> np.ndarray:
    """(..., models, models) from sums of 1, of each model's values, and of the products of each pair."""
    count, first, products = sums[..., :1], sums[..., 1 : models + 1], sums[..., models + 1 :]
    means = first / count
    rows, columns = np.triu_indices(models)
    covariance = np.empty((*sums.shape[:-1], models, models))
    covariance[..., rows, columns] = products / count - means[..., rows] * means[..., columns]
    covariance[..., columns, rows] = covariance[..., rows, columns]
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore"):  # a sample of one text again and again has no deviation
        return covariance / (deviation[..., :, None] * deviation[..., None, :])


def classical_scaling(distances: np.ndarray) -> tuple[np.ndarray, float]:
    """Points in the plane, (models, 2), whose distances come nearest to those given, and the share they show."""
    models = len(distances)
    centring = np.eye(models) - 1 / models
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    values, vectors = values[::-1][:2], vectors[:, ::-1][:, :2]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), [0, 1]] < 0, -1, 1)  # the same way up every time
    total = (distances**2).sum() / (2 * models)
    return vectors * np.sqrt(np.maximum(values, 0)), float(np.maximum(values, 0).sum() / total) if total else 1.0
