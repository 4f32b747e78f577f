"""Results as typed JSON: one file per kind of result. Figures, report and cards are made from these files alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import torch

from training.common.errors import InputError, as_input_error
from training.common.files import write_text
from training.common.provenance import commit, machine, versions

SCHEMA_VERSION = 2
KINDS = (
    "mlm_matrix",
    "per_word_matrix",
    "completions",
    "region_words",
    "regional_tests",
    "emoji15_matrix",
    "classifiers",
)
WORDS, ALL = "words", "all"  # the sets of masked tokens that are scored


class Estimate(TypedDict):
    """A value with the ends of its 95 % interval; what another program measured may lack the interval."""

    value: float
    low: float | None
    high: float | None


class ModelFacts(TypedDict):
    """A column: one model, or one model with the token of `region` in front of every text."""

    name: str
    region: str | None
    fingerprint: str


class Result(TypedDict):
    """What every result holds: how it was made, of which models, by which code."""

    schema_version: int
    kind: str
    settings: dict[str, Any]
    models: list[ModelFacts]
    commit: str | None
    versions: dict[str, str]
    machine: dict[str, Any]


class CorpusFacts(TypedDict):
    """The test texts of one region. `resampled` says what the intervals draw; `authors` counts those named."""

    region: str
    names: list[str]
    fingerprint: str
    test_texts: int
    resampled: str  # "authors" or "texts"
    authors: int | None
    targets: int


class MaskedCell(TypedDict):
    """The scores of one model or baseline on one region's texts; a baseline that only guesses has no loss."""

    model: str
    region: str
    targets: str  # WORDS or ALL
    count: int
    masked_accuracy: Estimate
    top_5_accuracy: Estimate
    loss: Estimate | None
    perplexity: Estimate | None


class MaskedDifference(TypedDict):
    """A region's own model against one other model, on that region's texts."""

    region: str
    targets: str
    own: str
    other: str
    masked_accuracy_difference: Estimate
    loss_reduction: Estimate  # nats: the loss of the other less that of the own model


class SeedMean(TypedDict):
    """The mean over models that differ in their seed alone, on one region's texts; the first of them stands for all.

    The intervals are over seeds and authors (or texts) together; `..._std` is the standard deviation over seeds.
    """

    region: str
    targets: str
    models: list[str]
    masked_accuracy: Estimate
    masked_accuracy_std: float | None
    loss: Estimate
    loss_std: float | None


MatrixScore = Literal["masked_accuracy", "loss"]


class RegionWin(TypedDict):
    """Whether a region's own model beats every model that is not of the region, on that region's texts.

    `p_value` is that of the intersection-union test, `p_holm` the same corrected over regions; `wins` says whether
    `p_holm` is below 5 %. `closest` is the other model with the smallest difference.
    """

    region: str
    targets: NotRequired[str]  # absent where there is only one set, as for classifiers
    score: NotRequired[str]  # where there are several: a `MatrixScore`, or "accuracy" and "macro_f1" of classifiers
    own: str
    closest: str
    smallest_difference: Estimate
    p_value: float
    p_holm: float
    wins: bool


class MatrixResult(Result):
    """`mlm_matrix.json` and `per_word_matrix.json`."""

    corpora: list[CorpusFacts]
    notes: list[str]
    cells: list[MaskedCell]
    comparisons: list[MaskedDifference]
    wins: list[RegionWin]
    seeds: NotRequired[list[SeedMean]]  # where models differ in their seed alone


class LabelledFacts(TypedDict):
    """The labelled test texts of one region; `resampled` and `authors` as in `CorpusFacts`, absent for texts."""

    region: str
    names: list[str]
    texts: int
    labels: dict[str, int]
    fingerprint: str
    resampled: NotRequired[str]
    authors: NotRequired[int | None]


class EmojiCell(TypedDict):
    """The scores of one classifier on one region's texts; a baseline measured elsewhere has no confusion matrix."""

    model: str
    region: str
    count: int
    accuracy: Estimate
    macro_f1: Estimate
    confusion: NotRequired[list[list[int]]]


class EmojiDifference(TypedDict):
    region: str
    own: str
    other: str
    accuracy_difference: Estimate


class EmojiResult(Result):
    """`emoji15_matrix.json`."""

    labels: list[str]
    corpora: list[LabelledFacts]
    notes: list[str]
    cells: list[EmojiCell]
    comparisons: list[EmojiDifference]
    wins: list[RegionWin]


class Completion(TypedDict):
    word: str
    probability: float


class ModelCompletions(TypedDict):
    model: str
    answers: list[Completion]


class PhraseCompletions(TypedDict):
    phrase: str
    by_model: list[ModelCompletions]


class CompletionsResult(Result):
    """`completions.json`."""

    phrases: list[PhraseCompletions]


class RegionWord(TypedDict):
    """A word with `difference` (nats), its log-probability less the mean of the other models'."""

    word: str
    difference: float
    log_probability: float
    log_probability_of_others: float


class ModelWords(TypedDict):
    model: str
    words: list[RegionWord]


class RegionWordsResult(Result):
    """`region_words.json`."""

    by_model: list[ModelWords]


class ItemCell(TypedDict):
    """One model on the items of one region and kind ("all" for every kind).

    `chosen`: share of items where the best form of `region` beats every form that only other regions use. `gain`: that
    less the share of `reference`, a model of no region. `steered`: where the model is of `region`, the share of other
    regions, over all items, whose model finds the forms that it lacks less likely than this model does.
    """

    model: str
    region: str
    kind: str
    count: int
    left_out: int
    chosen: Estimate
    reference: str | None
    gain: Estimate | None
    steered: Estimate | None


class RegionalTestsResult(Result):
    """`regional_tests.json`."""

    fingerprint: str
    items: int
    cells: list[ItemCell]


def header(kind: str, settings: dict[str, Any], models: Sequence[ModelFacts], device: torch.device) -> Result:
    """The fields that every result begins with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "settings": settings,
        "models": list(models),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(device),
    }


def check_new(output_dir: Path, kinds: Sequence[str], overwrite: bool) -> None:
    """Check that no result would be replaced against the user's will.

    Raises:
        InputError: if the folder holds a result of one of the kinds and `overwrite` is false, or is a file.
    """
    if output_dir.is_file():
        raise InputError(f"{output_dir} is a file: give a folder as --output_dir")
    for kind in kinds:
        if (output_dir / f"{kind}.json").exists() and not overwrite:
            raise InputError(
                f"{output_dir} already holds {kind}.json: give another --output_dir, or --overwrite to replace it"
            )


def write_result(output_dir: Path, result: Result) -> Path:
    """Write `KIND.json`, whole or not at all, and return its path.

    Raises:
        ValueError: for a value that JSON cannot hold, such as infinity.
    """
    path = output_dir / f"{result['kind']}.json"
    write_text(path, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False, default=from_numpy) + "\n")
    return path


def from_numpy(value: np.generic | np.ndarray) -> Any:
    return value.tolist()


def read_results(output_dir: Path) -> dict[str, Any]:
    """Read the results of a folder, by kind.

    Raises:
        InputError: if there is none, or one was written with another schema.
    """
    results = {}
    for kind in KINDS:
        path = output_dir / f"{kind}.json"
        if not path.is_file():
            continue
        with as_input_error(OSError, ValueError):
            result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or (result.get("schema_version"), result.get("kind")) != (
            SCHEMA_VERSION,
            kind,
        ):
            raise InputError(f"{path}: not a result of schema {SCHEMA_VERSION} and kind {kind}: make it again")
        results[kind] = result
    if not results:
        raise InputError(f"{output_dir}: no result in this folder")
    return results


def models_in_order(result: MatrixResult | EmojiResult) -> list[str]:
    """The columns of a matrix: models in the order given, then baselines."""
    return list(dict.fromkeys(cell["model"] for cell in result["cells"]))


def regions_in_order(result: MatrixResult | EmojiResult | RegionalTestsResult) -> list[str]:
    """The rows of a matrix."""
    return list(dict.fromkeys(cell["region"] for cell in result["cells"]))


def target_sets(result: MatrixResult) -> list[str]:
    """The sets of targets that a matrix scores, the headline first."""
    return list(dict.fromkeys(cell["targets"] for cell in result["cells"]))


def number(estimate: Estimate | None, digits: int = 3, to: str = "to") -> str:
    """A value with its interval, as `0.345 (0.331 to 0.359)`, or alone where it has none."""
    if estimate is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:.{digits}f}"
    value, low, high = (f"{estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} {to} {high})"


def number_over_seeds(estimate: Estimate, spread: float | None) -> str:
    """A mean with its spread over seeds, if there are several, and its interval: `0.410 ± 0.010 (0.380 to 0.440)`."""
    shown = number(estimate)
    return shown if spread is None else shown.replace(" (", f" ± {spread:.3f} (", 1)
