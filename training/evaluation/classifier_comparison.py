"""Classifiers against simple methods on the same test texts, from the guesses of every seed.

Intervals and p-values come from paired bootstrap samples of whole authors, or of texts where no author is named. Each
sample draws the seeds of every method with replacement too, and takes their mean. McNemar's test of the first seed of
each method treats texts as independent and is given only where no author is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

from training.common.errors import InputError
from training.evaluation.classifier_results import ClassifierCell, ClassifierDifference, ClassifierTask
from training.evaluation.emoji_matrix import FEWEST_LABELLED, accuracy, macro_f1, text_sums
from training.evaluation.intervals import (
    interval,
    mean_over_seeds,
    notes_on_few,
    resampled_together,
    spread,
    sums_of_clusters,
)
from training.evaluation.results import RegionWin
from training.evaluation.wins import corrected, own_differences, region_wins
from training.finetuning.guesses import GUESSES_FILE, Guesses, read_guesses
from training.finetuning.scores import classification_scores

ALL_REGIONS = "all"
FEWEST_FOR_ONE_SPLIT = 500  # test texts; with fewer, cross-validation
SCORES = {"accuracy": accuracy, "macro_f1": macro_f1}


@dataclass
class Method:
    """What one method guesses, (seeds, texts)."""

    name: str
    is_classifier: bool
    guesses: np.ndarray


@dataclass
class ComparedTask:
    """The methods of one task, with what all of them guess about."""

    record: Guesses
    methods: list[Method]

    @property
    def clusters(self) -> np.ndarray:
        """The number of each text's author, or of the text, (texts,)."""
        authors = self.record["authors"]
        return np.arange(len(self.record["right"])) if authors is None else np.array(authors)


def read_tasks(classifiers: Sequence[str], baselines: Sequence[str]) -> list[ComparedTask]:
    """Read the guesses of classifiers, and for each those of the baselines with the same test texts.

    Args:
        classifiers: folders of `finetune.py`.
        baselines: folders of `baselines.py`, each with a folder for every method.

    Raises:
        InputError: if guesses are missing, or a classifier has no baseline or a baseline no classifier.
    """
    tasks: dict[str, ComparedTask] = {}
    for folder in classifiers:
        record = read_guesses(Path(folder) / GUESSES_FILE)
        task = tasks.setdefault(record["fingerprint"], ComparedTask(record, []))
        task.methods += methods_of(record, is_classifier=True)
    for folder in baselines:
        paths = sorted(Path(folder).glob(f"*/{GUESSES_FILE}"))
        if not paths:
            raise InputError(f"{folder}: no */{GUESSES_FILE}: give a folder of baselines.py")
        for path in paths:
            record = read_guesses(path)
            if record["fingerprint"] not in tasks:
                raise InputError(
                    f"{path}: no classifier was tested on the same texts: use the same files, --test_fraction, "
                    "--group_column, --region and --folds for both"
                )
            tasks[record["fingerprint"]].methods += methods_of(record, is_classifier=False)
    for task in tasks.values():
        check_task(task)
    return list(tasks.values())


def check_task(task: ComparedTask) -> None:
    """Raise `InputError` for a task without a baseline, or with two methods of one name."""
    names = [method.name for method in task.methods]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{task.record['task']}: two methods are called {repeated[0]}: rename the folder of one")
    if all(method.is_classifier for method in task.methods):
        raise InputError(f"{names[0]}: no baseline was tested on the same texts: give its folder as --baselines")


def methods_of(record: Guesses, is_classifier: bool) -> list[Method]:
    """The seeds of a classifier as one method, and the average of their weights, if it was made, as another."""
    found = [Method(record["method"], is_classifier, np.array(list(record["by_seed"].values())))]
    if record["average"] is not None:
        found.append(Method(f"{record['method']} (average)", is_classifier, np.array([record["average"]])))
    return found


def compare_task(task: ComparedTask, resamples: int, seed: int) -> ClassifierTask:
    """Score all methods of a task on all texts, and on those of each region that has enough of them."""
    record = task.record
    regions = np.array([region or "" for region in record["regions"]])
    counts = {region: int((regions == region).sum()) for region in sorted(set(regions) - {""})}
    enough = {region: count for region, count in counts.items() if count >= FEWEST_LABELLED}
    places = {ALL_REGIONS: np.ones(len(regions), bool)}
    if len(counts) > 1:
        places |= {region: regions == region for region in enough}
    parts = [compare_texts(task, region, chosen, resamples, seed) for region, chosen in places.items()]
    drawn = "texts" if record["authors"] is None else "authors"
    wins = [win for part in parts for win in part.wins]
    of_all, of_regions = ([win for win in wins if (win["region"] == ALL_REGIONS) == both] for both in (True, False))
    return {
        "task": record["task"],
        "labels": record["labels"],
        "fingerprint": record["fingerprint"],
        "texts": len(regions),
        "folds": record["folds"],
        "resampled": drawn,
        "authors": None if record["authors"] is None else len(set(record["authors"])),
        "notes": notes(record, counts, enough) + notes_on_few(len(set(task.clusters)), drawn),
        "cells": [cell for part in parts for cell in part.cells],
        "comparisons": [entry for part in parts for entry in part.comparisons],
        "wins": corrected_by_score(of_all) + corrected_by_score(of_regions),
    }


def notes(record: Guesses, counts: dict[str, int], enough: dict[str, int]) -> list[str]:
    """Note which claims the number of test texts does not support."""
    found = []
    if not record["folds"] and len(record["right"]) < FEWEST_FOR_ONE_SPLIT:
        found.append(
            f"{len(record['right'])} test texts are fewer than {FEWEST_FOR_ONE_SPLIT}: cross-validate, with --folds 5."
        )
    few = [f"{region} ({count})" for region, count in counts.items() if region not in enough]
    if few and len(counts) > 1:
        found.append(f"No figure for regions with fewer than {FEWEST_LABELLED} test texts: {', '.join(few)}.")
    return found


@dataclass
class Compared:
    """What one set of texts adds to the result."""

    cells: list[ClassifierCell]
    comparisons: list[ClassifierDifference]
    wins: list[RegionWin]


def compare_texts(task: ComparedTask, region: str, chosen: np.ndarray, resamples: int, seed: int) -> Compared:
    """Score all methods on the chosen texts, (texts,) bool, and compare each classifier with every baseline."""
    right = np.array(task.record["right"])[chosen]
    clusters = np.unique(task.clusters[chosen], return_inverse=True)[1]
    samples = resampled_scores(task, right, clusters, chosen, resamples, seed)
    found = Compared([], [], [])
    values: dict[str, dict[str, float]] = {score: {} for score in SCORES}
    for method in task.methods:
        of_seeds = [classification_scores(right, row, len(task.record["labels"])) for row in method.guesses[:, chosen]]
        for score in SCORES:
            values[score][method.name] = float(np.mean([scores[score] for scores in of_seeds]))
        found.cells.append(
            {
                "method": method.name,
                "region": region,
                "count": len(right),
                "seeds": len(of_seeds),
                "accuracy": interval(values["accuracy"][method.name], samples["accuracy"][method.name]),
                "macro_f1": interval(values["macro_f1"][method.name], samples["macro_f1"][method.name]),
                "accuracy_std": spread([scores["accuracy"] for scores in of_seeds]),
                "macro_f1_std": spread([scores["macro_f1"] for scores in of_seeds]),
            }
        )
    baselines = [method for method in task.methods if not method.is_classifier]
    for classifier in (method for method in task.methods if method.is_classifier):
        # The classifier is the one method "of the region" of the texts; what it is compared with is of none.
        owners = {classifier.name: region} | {method.name: None for method in baselines}
        for score in SCORES:
            differences = own_differences(region, owners, values[score], samples[score])
            for difference, other in zip(differences, baselines, strict=True):
                found.comparisons.append(
                    {
                        "region": region,
                        "score": score,
                        "classifier": classifier.name,
                        "other": other.name,
                        "difference": difference.estimate,
                        "p_value": difference.p_value,
                        "p_mcnemar": p_mcnemar(task, right, classifier, other, chosen)
                        if score == "accuracy"
                        else None,
                    }
                )
            found.wins += [{**win, "score": score} for win in region_wins(region, owners, differences)]
    return found


def resampled_scores(
    task: ComparedTask, right: np.ndarray, clusters: np.ndarray, chosen: np.ndarray, resamples: int, seed: int
) -> dict[str, dict[str, np.ndarray]]:
    """Every score of every method in each bootstrap sample, (resamples,): the mean over seeds that are drawn too."""
    sums = {}
    for method in task.methods:
        for number, guessed in enumerate(method.guesses[:, chosen]):
            of_texts = text_sums(right, guessed, len(task.record["labels"]))
            sums[f"{method.name}\0{number}"] = sums_of_clusters(of_texts, clusters)
    resampled = resampled_together(sums, resamples, seed)
    rng = np.random.default_rng([seed, 1])  # other numbers than those that drew the clusters
    found: dict[str, dict[str, np.ndarray]] = {score: {} for score in SCORES}
    for method in task.methods:
        of_seeds = [resampled[f"{method.name}\0{number}"] for number in range(len(method.guesses))]
        by_score = np.stack([np.stack([of_sums(sums) for sums in of_seeds]) for of_sums in SCORES.values()], axis=-1)
        for score, samples in zip(SCORES, mean_over_seeds(by_score, rng).T, strict=True):
            found[score][method.name] = samples
    return found


def p_mcnemar(
    task: ComparedTask, right: np.ndarray, classifier: Method, other: Method, chosen: np.ndarray
) -> float | None:
    """McNemar's exact two-sided p-value of the first seeds; None where texts share authors."""
    if task.record["authors"] is not None:
        return None
    hits, theirs = (method.guesses[0, chosen] == right for method in (classifier, other))
    table = [[(hits & theirs).sum(), (hits & ~theirs).sum()], [(~hits & theirs).sum(), (~hits & ~theirs).sum()]]
    return float(mcnemar(table, exact=True).pvalue)


def corrected_by_score(wins: Sequence[RegionWin]) -> list[RegionWin]:
    """Correct by Holm over the regions, for each classifier and score on its own."""
    families = dict.fromkeys((win["own"], win.get("score")) for win in wins)
    return [
        win
        for family in families
        for win in corrected([win for win in wins if (win["own"], win.get("score")) == family])
    ]
