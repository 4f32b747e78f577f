"""The matrix, models by test regions: accuracies, loss and perplexity with intervals, and paired comparisons."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from modeling_bilma.metrics import MaskedAccuracy, MaskedPerplexity
from training.evaluation.intervals import Estimate, interval, resampled_sums
from training.evaluation.masked_scores import Answers

ALL, NOT_TRIVIAL = "all", "without_trivial"
TOP_K = 5
MOST_LOSS = 700.0  # e^710 is beyond a float


@dataclass
class Asked:
    """The targets of one region as the statistics see them, one value for each; `targets` are token or word ids."""

    region: str
    targets: np.ndarray
    texts: np.ndarray
    number_of_texts: int
    trivial: np.ndarray


def region_cells(
    asked: Asked,
    answers: dict[str, Answers],
    regions: dict[str, str | None],
    resamples: int,
    seed: int,
    every_pair: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cells of one test region, and the comparisons of its own models with the best other one.

    Args:
        answers: by name of the model or baseline, to the same questions.
        regions: of the models by name; baselines are not among them and are not compared.
        every_pair: compare all models that were asked with each other instead.
    """
    models = [name for name in regions if name in answers]
    cells, comparisons = [], []
    target_sets = {ALL: np.ones(len(asked.targets), bool)}
    if asked.trivial.any() and not asked.trivial.all():
        target_sets[NOT_TRIVIAL] = ~asked.trivial
    for kind, chosen in target_sets.items():
        sums = {name: text_sums(asked, answer, chosen) for name, answer in answers.items()}
        resampled = {name: resampled_sums(values, resamples, seed) for name, values in sums.items()}
        facts = {"region": asked.region, "targets": kind}
        for name, answer in answers.items():
            scores = cell(asked.targets[chosen], select(answer, chosen), resampled[name])
            cells.append({"model": name} | facts | {"count": int(chosen.sum())} | scores)
        totals = {name: sums[name].sum(0) for name in models}
        best = own_and_best_other(asked.region, {name: regions[name] for name in models}, totals)
        for one, other in combinations(models, 2) if every_pair else best:
            difference = ratios(resampled[one])[:, 0] - ratios(resampled[other])[:, 0]
            value = ratios(totals[one])[0] - ratios(totals[other])[0]
            names = {"model": one, "other": other} if every_pair else {"own": one, "best_other": other}
            comparisons.append(facts | names | {"masked_accuracy_difference": interval(value, difference)})
    return cells, comparisons


def own_and_best_other(
    region: str, regions: dict[str, str | None], sums: dict[str, np.ndarray]
) -> Iterator[tuple[str, str]]:
    """Each model of the region, with the most accurate model that is not of it.

    Args:
        sums: of each model, its number of questions and of right answers first.
    """
    others = [name for name in regions if regions[name] != region]
    for own in regions:
        if regions[own] == region and others:
            yield own, max(others, key=lambda name: sums[name][1] / sums[name][0])


def select(answer: Answers, chosen: np.ndarray) -> Answers:
    log_probability = None if answer.log_probability is None else answer.log_probability[chosen]
    return Answers(answer.guess[chosen], answer.rank[chosen], log_probability)


def text_sums(asked: Asked, answer: Answers, chosen: np.ndarray) -> np.ndarray:
    """(texts, 4): of each text the targets, those guessed right, those among the first five, and the loss."""
    loss = np.zeros(len(chosen)) if answer.log_probability is None else -answer.log_probability
    columns = np.ones(len(chosen)), answer.rank == 0, answer.rank < TOP_K, loss
    texts, size = asked.texts[chosen], asked.number_of_texts
    return np.stack([np.bincount(texts, column[chosen], size) for column in columns], axis=1)


def ratios(sums: np.ndarray) -> np.ndarray:
    """(..., 3): masked accuracy, top-5 accuracy and mean loss; not a number where nothing was asked."""
    with np.errstate(invalid="ignore"):
        return sums[..., 1:] / sums[..., :1]


def cell(targets: np.ndarray, answer: Answers, resampled: np.ndarray) -> dict[str, Estimate | None]:
    accuracy, top_5, loss = ratios(resampled).T
    right = MaskedAccuracy(keep_in_memory=True).compute(predictions=answer.guess, references=targets)
    scores = {
        "masked_accuracy": interval(right["masked_accuracy"], accuracy),
        "top_5_accuracy": interval((answer.rank < TOP_K).mean(), top_5),
        "loss": None,
        "perplexity": None,
    }
    if answer.log_probability is not None:
        found = MaskedPerplexity(keep_in_memory=True).compute(predictions=answer.log_probability, references=targets)
        scores["loss"] = interval(found["loss"], loss)
        ends = (np.exp(min(end, MOST_LOSS)) for end in (scores["loss"].low, scores["loss"].high))
        scores["perplexity"] = Estimate(float(np.exp(min(found["loss"], MOST_LOSS))), *map(float, ends))
    return scores
