"""The matrix, models by test regions: accuracies, loss and perplexity with intervals, and paired comparisons."""

import math
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from modeling_bilma.metrics import MaskedAccuracy, MaskedPerplexity
from training.evaluation.intervals import interval, resampled_together
from training.evaluation.predictions import Predictions
from training.evaluation.results import ALL, WORDS, Estimate, MaskedCell, MaskedDifference, MatrixScore, RegionWin
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


def score_region(
    targets: Targets,
    predictions: dict[str, Predictions],
    regions: dict[str, str | None],
    resamples: int,
    seed: int,
) -> RegionScores:
    """Score every model and baseline on one region's texts, and compare the region's own models with every other.

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
        compare_models(scores, targets.region, target_set, regions, sums, resampled)
    return scores


def compare_models(
    scores: RegionScores,
    region: str,
    target_set: str,
    regions: dict[str, str | None],
    sums: dict[str, np.ndarray],
    resampled: dict[str, np.ndarray],
) -> None:
    """Add the paired differences of one set of targets, in accuracy and in loss, and the tests of whether it wins."""
    found: dict[MatrixScore, list[Difference]] = {}
    for score, column, sign in SCORES_COMPARED:
        values = {name: sign * float(ratios(sums[name].sum(0))[column]) for name in regions}
        samples = {name: sign * resampled[name][:, column] for name in regions}
        found[score] = own_differences(region, regions, values, samples)
        wins = region_wins(region, regions, found[score])
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
    cells, comparisons, wins = (
        [entry for region in scores for entry in getattr(region, name)] for name in ("cells", "comparisons", "wins")
    )
    families = [
        [win for win in wins if (win["targets"], win["score"]) == (target_set, score)]
        for target_set in (WORDS, ALL)
        for score, *_ in SCORES_COMPARED
    ]
    return RegionScores(cells, comparisons, [win for family in families for win in corrected(family)])


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
