"""The typed JSON of `classifiers.json`."""

from typing import TypedDict

from training.evaluation.results import Estimate, RegionWin, Result


class ClassifierCell(TypedDict):
    """The scores of one method, means over seeds, on the test texts of a region ("all" for every text).

    The intervals are over seeds and texts together; `..._std` is the standard deviation over seeds, None for one.
    """

    method: str
    region: str
    count: int
    seeds: int
    accuracy: Estimate
    macro_f1: Estimate
    accuracy_std: float | None
    macro_f1_std: float | None


class ClassifierDifference(TypedDict):
    """A classifier less one baseline. `p_value` is one-sided, by the bootstrap; `p_mcnemar` two-sided."""

    region: str
    score: str
    classifier: str
    other: str
    difference: Estimate
    p_value: float
    p_mcnemar: float | None


class ClassifierTask(TypedDict):
    """One task. `folds` is 0 for one test part; `resampled` says what the intervals draw, `authors` how many."""

    task: str
    labels: list[str]
    fingerprint: str
    texts: int
    folds: int
    resampled: str
    authors: int | None
    notes: list[str]
    cells: list[ClassifierCell]
    comparisons: list[ClassifierDifference]
    wins: list[RegionWin]


class ClassifiersResult(Result):
    """`classifiers.json`."""

    tasks: list[ClassifierTask]
