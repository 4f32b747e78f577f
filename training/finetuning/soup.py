"""Average the weights of classifiers that differ in their seed (model soup, arXiv 2203.05482)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


def greedy_soup(
    classifiers: Sequence[Model], scores: Sequence[float], validate: Callable[[Model], float]
) -> tuple[Model, list[int]]:
    """Average classifiers, the best first, and keep each one that does not lower the validation score of the average.

    Args:
        classifiers: classifiers of one architecture, whose heads began with the same weights.
        scores: the validation score of each.
        validate: returns the validation score of a classifier.

    Returns:
        The classifier that was the best one, which now holds the averaged weights, and the numbers of those averaged.
    """
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    weights = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in classifiers]
    chosen, best = order[:1], scores[order[0]]
    soup = classifiers[order[0]]
    for number in order[1:]:
        soup.load_state_dict(mean([weights[member] for member in [*chosen, number]]))
        if (score := validate(soup)) >= best:
            chosen, best = [*chosen, number], score
    soup.load_state_dict(mean([weights[member] for member in chosen]))
    return soup, chosen


def mean(weights: Sequence[Weights]) -> Weights:
    """Return the mean of each tensor."""
    return {name: torch.stack([of_one[name] for of_one in weights]).mean(0) for name in weights[0]}
