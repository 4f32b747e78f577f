"""Masked accuracy as an `evaluate` metric: the share of the masked positions whose guess is the original token.

    from modeling_bilma.metrics import MaskedAccuracy
    MaskedAccuracy().compute(predictions=[7, 8, 9], references=[7, 5, -100])  # {'masked_accuracy': 0.5, 'count': 2}

`evaluate.load("modeling_bilma/metrics/masked_accuracy")` opens the same class. The value is that of the BILMA paper
(arXiv 2110.06128); it is computed over all that was added, so several processes give what one gives.
"""

import datasets
import evaluate
import numpy as np

IGNORED = -100  # the label of a position that is not scored

DESCRIPTION = "Share of the masked positions where the most likely token is the original one."
INPUTS = """
Args:
    predictions: token id guessed at each position.
    references: the original token id, or -100 where the position is not scored.
Returns:
    masked_accuracy: from 0 to 1; count: how many positions were scored.
"""


class MaskedAccuracy(evaluate.Metric):
    """`compute(predictions=ids, references=ids)`; raises `ValueError` if no position is scored."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({name: datasets.Value("int64") for name in ("predictions", "references")}),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float | int]:
        guesses, tokens = np.asarray(predictions), np.asarray(references)
        scored = tokens != IGNORED
        if not scored.any():
            raise ValueError("no position is scored: every reference is -100")
        return {"masked_accuracy": float((guesses == tokens)[scored].mean()), "count": int(scored.sum())}
