"""Perplexity over masked tokens as an `evaluate` metric: e to the mean negative log-probability of the right tokens.

    from modeling_bilma.metrics import MaskedPerplexity
    MaskedPerplexity().compute(predictions=[-1.0, -3.0], references=[7, 5])  # perplexity e^2, loss 2.0, count 2

`evaluate.load("modeling_bilma/metrics/masked_perplexity")` opens the same class. The mean is over all that was
added, token by token, so several processes or batches of any size give what one gives.
"""

import math

import datasets
import evaluate
import numpy as np

IGNORED = -100  # the label of a position that is not scored

DESCRIPTION = "e to the mean negative log-probability (in nats) that a model gives to the masked tokens."
INPUTS = """
Args:
    predictions: natural logarithm of the probability of the original token at each position.
    references: the original token id, or -100 where the position is not scored.
Returns:
    perplexity: 1 or more (infinite where it is beyond a float); loss: its logarithm; count: positions scored.
"""


class MaskedPerplexity(evaluate.Metric):
    """`compute(predictions=log_probabilities, references=ids)`.

    Raises `ValueError` if no position is scored, or a log-probability is above 0 or no number.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[float], references: list[int]) -> dict[str, float | int]:
        scored = np.asarray(references) != IGNORED
        log_probabilities = np.asarray(predictions)[scored]
        if not scored.any():
            raise ValueError("no position is scored: every reference is -100")
        if not (log_probabilities <= 0).all():
            raise ValueError("a log-probability is above 0 or no number: give logarithms of probabilities")
        loss = -float(log_probabilities.mean())
        # e^709.7 is the largest that a float holds
        perplexity = math.exp(loss) if loss < 709 else math.inf
        return {"perplexity": perplexity, "loss": loss, "count": int(scored.sum())}
