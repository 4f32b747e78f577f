"""Regional knowledge as an `evaluate` measurement: the share of items where a form of the region beats every rival.

    from modeling_bilma.metrics import RegionalKnowledge
    RegionalKnowledge().compute(own=[[-9.0, -2.0], [-5.0]], rivals=[[-3.0], [-4.0, -7.0]])
    # {'chosen': 0.5, 'count': 2, 'left_out': 0}

`evaluate.load("modeling_bilma/metrics/regional_knowledge")` opens the same class. An entry is an item of the data set
`regional_tests` for one region, with the log-likelihoods that a model gives to the forms. How likelihoods come about
is up to the caller; `training/regional_tests.py` computes them for any masked language model.
"""

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

DESCRIPTION = "Share of items where the likeliest form of the region beats every form that only other regions use."
INPUTS = """
Args:
    own: for each item the log-likelihoods of the forms that the region uses.
    rivals: for each item those of the forms that only other regions use.
Returns:
    chosen: from 0 to 1; count: how many items were scored; left_out: how many have no form on one of the sides.
"""


def is_chosen(own: Sequence[float], rivals: Sequence[float]) -> bool | None:
    """Tell whether the region's best form beats every rival form; None if one side has no form."""
    return bool(max(own) > max(rivals)) if len(own) and len(rivals) else None


class RegionalKnowledge(evaluate.Measurement):
    """`compute(own=log_likelihoods, rivals=log_likelihoods)`.

    Raises `ValueError` if no item has forms on both sides, or a log-likelihood is no number.
    """

    def _info(self) -> evaluate.MeasurementInfo:
        values = datasets.List(datasets.Value("float64"))
        return evaluate.MeasurementInfo(
            module_type="measurement",
            description=DESCRIPTION,
            citation="",
            inputs_description=INPUTS,
            features=datasets.Features({name: values for name in ("own", "rivals")}),
        )

    def _compute(self, own: list[list[float]], rivals: list[list[float]]) -> dict[str, float | int]:
        if any(np.isnan(values).any() for values in (*own, *rivals)):
            raise ValueError("a log-likelihood is no number: leave out forms that the model cannot spell")
        found = [is_chosen(*sides) for sides in zip(own, rivals, strict=True)]
        scored = [hit for hit in found if hit is not None]
        if not scored:
            raise ValueError("no item has forms on both sides, so none can be scored")
        return {"chosen": float(np.mean(scored)), "count": len(scored), "left_out": len(found) - len(scored)}
