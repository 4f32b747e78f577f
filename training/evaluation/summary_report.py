"""The report's first screen: which regions' models know their region, by how much, how sure that is, and on what."""

import re
from typing import Any

from training.common.markdown import markdown_table
from training.evaluation.results import (
    WORDS,
    CorpusFacts,
    Estimate,
    ItemCell,
    MatrixResult,
    RegionalTestsResult,
    number,
)
from training.evaluation.wins_report import summarise

Columns = dict[tuple[str, str], list[str]]  # of each region and its own model
KNOWS_NOTE = (
    "*Forms chosen*: the share of test items where a form of the region beats every form that only others use, and by "
    "how much it exceeds the share of a model of no region. *Less loss*: by how much the loss over masked words of "
    "held-out texts is below that of the closest model that is not of the region, models of no region included. In "
    "brackets 95 % intervals; the sections below say what they draw, and how a win is tested."
)
MATRIX_HEAD = ("held-out texts", "less loss (nats)", "than", "p (Holm)")
# The score reported for a model where there is nothing to compare it with.
ALONE = {"mlm_matrix": ("masked_accuracy", "masked accuracy over words"), "emoji15_matrix": ("accuracy", "accuracy")}
TESTS_HEAD = ("test items", "forms chosen", "more than without a region")


def summary_section(results: dict[str, Any]) -> list[str]:
    """Say first what the other sections show in detail; nothing if no result is about own models."""
    claims, found = claims_and_columns(results)
    rows = [
        [*place, *(cell for head, columns in found for cell in columns.get(place, ["–"] * len(head)))]
        for place in sorted({place for _, columns in found for place in columns})
    ]
    head = ["region", "model", *(name for head, _ in found for name in head)]
    return ["## Which models know their region", *claims, markdown_table(head, rows), KNOWS_NOTE] if found else []


def headlines(results: dict[str, Any]) -> list[str]:
    """Say in plain lines how the comparison ended or, where there is nothing to compare, how good each model is."""
    claims, _ = claims_and_columns(results)
    return [re.sub("[*`]", "", claim) for claim in claims] or [
        f"{cell['model']} on texts of {cell['region']}: {name} {number(cell[score])}"
        for kind, (score, name) in ALONE.items()
        for cell in results.get(kind, {}).get("cells", [])
        if cell["model"] in {model["name"] for model in results[kind]["models"]}  # and no baseline
        and cell.get("targets") in (WORDS, None)
    ]


def claims_and_columns(results: dict[str, Any]) -> tuple[list[str], list[tuple[tuple[str, ...], Columns]]]:
    """What the results say of own models in a sentence each, and their columns behind the heads of these."""
    claims: list[str] = []
    found: list[tuple[tuple[str, ...], Columns]] = []
    if "regional_tests" in results and (columns := tests_columns(results["regional_tests"])):
        claims.append(tests_claim(results["regional_tests"]))
        found.append((TESTS_HEAD, columns))
    if "mlm_matrix" in results and (columns := matrix_columns(results["mlm_matrix"])):
        wins = results["mlm_matrix"]["wins"]
        claims += [summarise(wins, WORDS, score) for score in ("loss", "masked_accuracy")]
        found.append((MATRIX_HEAD, columns))
    return claims, found


def tests_columns(result: RegionalTestsResult) -> Columns:
    """Describe how many forms the own models choose, where a model of no region is there to compare them with."""
    return {
        (cell["region"], cell["model"]): [f"{cell['count']:,}", number(cell["chosen"]), number(cell["gain"])]
        for cell in own_cells(result)
    }


def own_cells(result: RegionalTestsResult) -> list[ItemCell]:
    """The scores over all kinds of items of the models that are of the region of the forms."""
    regions = {model["name"]: model["region"] for model in result["models"]}
    return [
        cell
        for cell in result["cells"]
        if cell["kind"] == "all" and regions[cell["model"]] == cell["region"] and cell["gain"]
    ]


def is_above_zero(gain: Estimate | None) -> bool:
    return gain is not None and gain["low"] is not None and gain["low"] > 0


def tests_claim(result: RegionalTestsResult) -> str:
    """Count the models that choose more forms of their region than a model of no region, and name the others."""
    cells = own_cells(result)
    others = [f"`{cell['model']}`" for cell in cells if not is_above_zero(cell["gain"])]
    count = f"{len(cells) - len(others)} of {len(cells)} own models"
    claim = (
        f"**On the tests of regional knowledge, {count} choose a form of their region more often than a model of no "
        "region**, with an interval above zero"
    )
    return f"{claim}; not so {', '.join(others)}." if others else f"{claim}."


def matrix_columns(result: MatrixResult) -> Columns:
    """Describe by how much the loss over words of the own models is below that of the closest other model."""
    texts = {corpus["region"]: corpus for corpus in result["corpora"]}
    return {
        (win["region"], win["own"]): [
            on_texts(texts[win["region"]]),
            number(win["smallest_difference"]),
            win["closest"],
            f"{win['p_holm']:.4f}",
        ]
        for win in result["wins"]
        if (win.get("targets"), win.get("score")) == (WORDS, "loss")
    }


def on_texts(corpus: CorpusFacts) -> str:
    texts = f"{corpus['test_texts']:,}"
    return texts if corpus["authors"] is None else f"{texts} of {corpus['authors']:,} authors"
