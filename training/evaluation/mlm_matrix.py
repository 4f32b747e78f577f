"""The matrix, models by test regions: accuracies, loss and perplexity with intervals, and paired comparisons."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np

from modeling_bilma.metrics import MaskedAccuracy, MaskedPerplexity
from training.evaluation.intervals import interval, mean_over_seeds, resampled_together, spread
from training.evaluation.predictions import Predictions
from training.evaluation.results import (
    ALL,
    WORDS,
    Estimate,
    MaskedCell,
    MaskedDifference,
    MatrixScore,
    RegionWin,
    SeedMean,
)
from training.evaluation.wins import Difference, corrected, own_differences, region_wins

TOP_K = 5
# The column of `ratios` that holds the score, and the sign that makes more of it better.
SCORES_COMPARED: tuple[tuple[MatrixScore, int, int], ...] = (("masked_accuracy", 0, 1), ("loss", 2, -1))
MOST_LOSS = 700.0  # e^710 is beyond a float


@dataclass
class Targets:
    """The masked tokens or words of one region as the statistics see them, one value each; `ids` of tokens or words.

    `clusters` numbers what the bootstrap draws whole: the author or the text of each target. `sets` says by name
    which targets each set holds.
    """

    region: str
    ids: np.ndarray
    clusters: np.ndarray
    number_of_clusters: int
    sets: dict[str, np.ndarray]


@dataclass
class RegionScores:
    """What one test region adds to the matrix."""

    cells: list[MaskedCell]
    comparisons: list[MaskedDifference]
    wins: list[RegionWin]
    seeds: list[SeedMean] = field(default_factory=list)


@dataclass
class SeedScores:
    """What `ratios` gives for the models that differ in their seed alone: (seeds, 3), and the mean, (resamples, 3)."""

    models: list[str]
    of_seeds: np.ndarray
    resampled: np.ndarray

    @property
    def means(self) -> np.ndarray:
        return self.of_seeds.mean(0)


def score_region(
    targets: Targets,
    predictions: dict[str, Predictions],
    regions: dict[str, str | None],
    resamples: int,
    seed: int,
) -> RegionScores:
    """Score every model and baseline on one region's texts, and compare the region's own models with every other.

    Models that differ in their seed alone are compared as one, by the mean over seeds, under the name of the first.

    Args:
        predictions: by name of the model or baseline, for the same targets.
        regions: of the models by name; baselines are not among them and are not compared.
    """
    scores = RegionScores([], [], [])
    for target_set, chosen in targets.sets.items():
        if not chosen.any():
            continue
        sums = {name: cluster_sums(targets, found, chosen) for name, found in predictions.items()}
        resampled = {name: ratios(found) for name, found in resampled_together(sums, resamples, seed).items()}
        for name, found in predictions.items():
            scores.cells.append(
                {
                    "model": name,
                    "region": targets.region,
                    "targets": target_set,
                    "count": int(chosen.sum()),
                    **cell_scores(targets.ids[chosen], select(found, chosen), resampled[name]),
                }
            )
        groups = [
            SeedScores(
                models,
                np.stack([ratios(sums[name].sum(0)) for name in models]),
                # Every group draws the same seeds: a body and its regions come from one training.
                mean_over_seeds(np.stack([resampled[name] for name in models]), np.random.default_rng((seed, 1))),
            )
            for models in seed_groups(regions)
        ]
        compare_models(scores, targets.region, target_set, regions, groups)
        scores.seeds += [seed_mean(targets.region, target_set, group) for group in groups if len(group.models) > 1]
    return scores


def seed_groups(regions: Mapping[str, str | None]) -> list[list[str]]:
    """Group the models of one region and of one name, but for `-seed1`, `-seed2` ... in it."""
    groups: dict[tuple[str, str | None], list[str]] = {}
    for name, region in regions.items():
        groups.setdefault((re.sub(r"-seed\d+", "", name), region), []).append(name)
    return list(groups.values())


def seed_mean(region: str, target_set: str, group: SeedScores) -> SeedMean:
    accuracy, _, loss = group.means
    return {
        "region": region,
        "targets": target_set,
        "models": group.models,
        "masked_accuracy": interval(accuracy, group.resampled[:, 0]),
        "masked_accuracy_std": spread(group.of_seeds[:, 0].tolist()),
        "loss": interval(loss, group.resampled[:, 2]),
        "loss_std": spread(group.of_seeds[:, 2].tolist()),
    }


def compare_models(
    scores: RegionScores, region: str, target_set: str, regions: Mapping[str, str | None], groups: list[SeedScores]
) -> None:
    """Add the paired differences of one set of targets, in accuracy and in loss, and the tests of whether it wins."""
    of_groups = {group.models[0]: regions[group.models[0]] for group in groups}
    found: dict[MatrixScore, list[Difference]] = {}
    for score, column, sign in SCORES_COMPARED:
        values = {group.models[0]: sign * float(group.means[column]) for group in groups}
        samples = {group.models[0]: sign * group.resampled[:, column] for group in groups}
        found[score] = own_differences(region, of_groups, values, samples)
        wins = region_wins(region, of_groups, found[score])
        scores.wins += [{**win, "targets": target_set, "score": score} for win in wins]
    scores.comparisons += [
        {
            "region": region,
            "targets": target_set,
            "own": accuracy.own,
            "other": accuracy.other,
            "masked_accuracy_difference": accuracy.estimate,
            "loss_reduction": loss.estimate,
        }
        for accuracy, loss in zip(found["masked_accuracy"], found["loss"], strict=True)
    ]


def matrix_of(scores: list[RegionScores]) -> RegionScores:
    """Put the regions together; the wins by each score in each set of targets are corrected over them."""
    cells, comparisons, wins, seeds = (
        [entry for region in scores for entry in getattr(region, name)]
        for name in ("cells", "comparisons", "wins", "seeds")
    )
    families = [
        [win for win in wins if (win["targets"], win["score"]) == (target_set, score)]
        for target_set in (WORDS, ALL)
        for score, *_ in SCORES_COMPARED
    ]
    return RegionScores(cells, comparisons, [win for family in families for win in corrected(family)], seeds)


def select(predictions: Predictions, chosen: np.ndarray) -> Predictions:
    known = predictions.log_probability
    return Predictions(predictions.guess[chosen], predictions.rank[chosen], None if known is None else known[chosen])


def cluster_sums(targets: Targets, predictions: Predictions, chosen: np.ndarray) -> np.ndarray:
    """(clusters, 4): the targets of each, those guessed right, those among the first `TOP_K`, and the summed loss."""
    known = predictions.log_probability
    loss = np.zeros(len(chosen)) if known is None else -known
    columns = np.ones(len(chosen)), predictions.rank == 0, predictions.rank < TOP_K, loss
    clusters, size = targets.clusters[chosen], targets.number_of_clusters
    return np.stack([np.bincount(clusters, column[chosen], size) for column in columns], axis=1)


def ratios(sums: np.ndarray) -> np.ndarray:
    """(..., 3): masked accuracy, top-5 accuracy and mean loss; not a number where there is no target."""
    with np.errstate(invalid="ignore"):
        return sums[..., 1:] / sums[..., :1]


class Scores(TypedDict):
    masked_accuracy: Estimate
    top_5_accuracy: Estimate
    loss: Estimate | None
    perplexity: Estimate | None


def cell_scores(ids: np.ndarray, predictions: Predictions, resampled: np.ndarray) -> Scores:
    """Score predictions by the project's metrics, with intervals from the bootstrap, (resamples, 3)."""
    accuracy, top_5, losses = resampled.T
    right = MaskedAccuracy(keep_in_memory=True).compute(predictions=predictions.guess, references=ids)
    scores: Scores = {
        "masked_accuracy": interval(right["masked_accuracy"], accuracy),
        "top_5_accuracy": interval((predictions.rank < TOP_K).mean(), top_5),
        "loss": None,
        "perplexity": None,
    }
    if predictions.log_probability is not None:
        found = MaskedPerplexity(keep_in_memory=True).compute(predictions=predictions.log_probability, references=ids)
        loss = interval(found["loss"], losses)
        scores["loss"] = loss
        scores["perplexity"] = perplexity(loss)
    return scores


def perplexity(loss: Estimate) -> Estimate:
    """e to the loss and to the ends of its interval, or the largest that a float holds."""

    def power(end: float | None) -> float | None:
        return None if end is None else math.exp(min(end, MOST_LOSS))

    return {"value": math.exp(min(loss["value"], MOST_LOSS)), "low": power(loss["low"]), "high": power(loss["high"])}
