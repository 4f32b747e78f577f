"""Scores of classifiers and taggers, and the metrics.json that records them, for models and baselines alike."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from training.common.provenance import commit, machine, versions
from training.finetuning.guesses import Guesses
from training.texts.labelled import LabelledSplits
from training.texts.tagged import TaggedSplits

METRICS_SCHEMA = 1
Scores = dict[str, float]


def confusion(right: np.ndarray, guessed: np.ndarray, num_labels: int) -> np.ndarray:
    """Count pairs of a right class and a predicted one: (num_labels, num_labels), right classes in rows."""
    cells = np.bincount(right * num_labels + guessed, minlength=num_labels**2)
    return cells.reshape(num_labels, num_labels)


def classification_scores(right: np.ndarray, guessed: np.ndarray, num_labels: int) -> Scores:
    """Compute accuracy, and macro-F1: the mean F1 of the classes that are right or predicted somewhere."""
    counts = confusion(right, guessed, num_labels)
    hits, sizes = np.diag(counts), counts.sum(0) + counts.sum(1)
    occurs = sizes > 0
    return {
        "accuracy": float(hits.sum() / counts.sum()),
        "macro_f1": float(np.mean(2 * hits[occurs] / sizes[occurs])),
    }


def entity_scores(right: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Scores:
    """Compute precision, recall and F1 of whole entities over all types, as seqeval (CoNLL 2000) counts them.

    Args:
        right: BIO tags of the words of each text.
        predicted: as many; an `I-` that follows no entity of its type begins one.
    """
    average = _entity_report(right, predicted)["micro avg"]
    return {name: average[name] for name in ("precision", "recall", "f1")}


def scores_by_entity(
    right: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Compute the same for each type of entity, with `entities`, the number of right ones."""
    return {
        entity: scores for entity, scores in _entity_report(right, predicted).items() if not entity.endswith(" avg")
    }


def _entity_report(right: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    from seqeval.metrics import classification_report

    report = classification_report(right, predicted, output_dict=True, zero_division=0)
    return {
        entity: {
            "precision": float(scores["precision"]),
            "recall": float(scores["recall"]),
            "f1": float(scores["f1-score"]),
            "entities": int(scores["support"]),
        }
        for entity, scores in report.items()
    }


def summarise(runs: Sequence[dict[str, Any]], metric: str = "accuracy") -> dict[str, Any]:
    """Summarise the runs of several seeds, and choose the one to keep: the best on the validation texts.

    Args:
        runs: `seed`, the scores `validation` and `test` of each run, and further ones named `test_...`.
        metric: the score that chooses.

    Returns:
        `mean` and `std` of every score (`std` is None for one seed), `kept_seed`, and all scores of that seed.
    """
    kept = max(runs, key=lambda run: run["validation"][metric])  # the first of equals
    summary: dict[str, Any] = {"mean": {}, "std": {}, "kept_seed": kept["seed"]}
    for part in ("validation", "test"):
        summary["mean"][part], summary["std"][part] = mean_and_std([run[part] for run in runs])
        summary[part] = kept[part]
    return summary | {name: value for name, value in kept.items() if name.startswith("test_")}


def mean_and_std(of_seeds: Sequence[Scores]) -> tuple[Scores, dict[str, float | None]]:
    """Return the mean of every score over seeds, and its standard deviation, None for one seed."""
    values = {name: [scores[name] for scores in of_seeds] for name in of_seeds[0]}
    means = {name: statistics.mean(numbers) for name, numbers in values.items()}
    return means, {name: statistics.stdev(numbers) if len(numbers) > 1 else None for name, numbers in values.items()}


def describe_folds(folds: int, guesses: Guesses) -> dict[str, Any]:
    """Compose what metrics.json records of a cross-validation: the scores of all texts, with their summary."""
    right, classes = np.array(guesses["right"]), len(guesses["labels"])
    scores = {
        seed: classification_scores(right, np.array(guessed), classes) for seed, guessed in guesses["by_seed"].items()
    }
    mean, std = mean_and_std(list(scores.values()))
    return {"folds": folds, "texts": len(right), "mean": mean, "std": std, "by_seed": scores}


def describe_result(
    classifier: str,
    splits: LabelledSplits | TaggedSplits,
    runs: Sequence[dict[str, Any]],
    device: torch.device,
    metric: str = "accuracy",
) -> dict[str, Any]:
    """Compose metrics.json: the scores with their summary, what texts they are of, and where they were computed."""
    return {
        "schema_version": METRICS_SCHEMA,
        "task": splits.task,
        "classifier": classifier,
        "labels": splits.label_names,
        **summarise(runs, metric),
        "seeds": runs,
        "texts": splits.describe(),
        "machine": machine(device),
        "versions": versions(),
        "commit": commit(),
    }


def describe_texts(splits: LabelledSplits | TaggedSplits) -> str:
    """Write in one line how many labels and texts there are, and what was left out."""
    counts = ", ".join(f"{len(part):,} for {name}" for name, part in splits.parts().items())
    duplicates = f"; {splits.duplicates:,} left out as duplicates of later parts" if splits.duplicates else ""
    head = f"{splits.task}: {len(splits.label_names)} labels, texts: {counts}"
    return f"{head}{duplicates}; {splits.report.summary()}"


def one_line(scores: dict[str, Any]) -> str:
    """Write the validation and test scores in one line for the terminal."""
    parts = []
    for part in ("validation", "test"):
        values = [f"{name.replace('_f1', '-F1')} {value:.4f}" for name, value in scores[part].items()]
        parts.append(f"{part} {', '.join(values)}")
    return "; ".join(parts)
