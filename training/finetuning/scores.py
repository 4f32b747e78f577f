"""Scores of a classifier, and the metrics.json in which every classifier, ours or a baseline, writes them."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from training.common.provenance import commit, machine, versions
from training.texts.labelled import LabelledSplits

METRICS_SCHEMA = 1


def confusion(right: np.ndarray, guessed: np.ndarray, num_labels: int) -> np.ndarray:
    """Counts of shape (num_labels, num_labels): right classes by guessed ones."""
    cells = np.bincount(right * num_labels + guessed, minlength=num_labels**2)
    return cells.reshape(num_labels, num_labels)


def classification_scores(right: np.ndarray, guessed: np.ndarray, num_labels: int) -> dict[str, float]:
    """Accuracy, and macro-F1: the mean F1 of the classes that are right or guessed somewhere, each counted alike."""
    counts = confusion(right, guessed, num_labels)
    hits, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
    occurs = sizes > 0
    return {
        "accuracy": float(hits.sum() / counts.sum()),
        "macro_f1": float(np.mean(2 * hits[occurs] / sizes[occurs])),
    }


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of a classifier, and the run to keep: the best on validation.

    Args:
        runs: of each seed `seed`, and the scores `validation` and `test`.

    Returns:
        `mean` and `std` of every score (`std` is None for one seed), `kept_seed`, and that seed's own scores.
    """
    kept = max(runs, key=lambda run: run["validation"]["accuracy"])  # the first of equals
    summary: dict[str, Any] = {"mean": {}, "std": {}, "kept_seed": kept["seed"]}
    for part in ("validation", "test"):
        values = {name: [run[part][name] for run in runs] for name in kept[part]}
        summary["mean"][part] = {name: statistics.mean(of_seeds) for name, of_seeds in values.items()}
        summary["std"][part] = {
            name: statistics.stdev(of_seeds) if len(runs) > 1 else None for name, of_seeds in values.items()
        }
        summary[part] = kept[part]
    return summary


def describe_result(
    classifier: str, splits: LabelledSplits, runs: Sequence[dict[str, Any]], device: torch.device
) -> dict[str, Any]:
    """What metrics.json holds: the scores with their summary, the texts they are of, and where they were made."""
    return {
        "schema_version": METRICS_SCHEMA,
        "task": splits.task,
        "classifier": classifier,
        "labels": splits.label_names,
        **summarise(runs),
        "seeds": runs,
        "texts": splits.describe(),
        "machine": machine(device),
        "versions": versions(),
        "commit": commit(),
    }


def in_words(scores: dict[str, Any]) -> str:
    return ", ".join(
        f"{part} accuracy {scores[part]['accuracy']:.4f}, macro-F1 {scores[part]['macro_f1']:.4f}"
        for part in ("validation", "test")
    )
