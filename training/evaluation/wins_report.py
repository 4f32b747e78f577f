"""The sections of the report that compare a region's own model with all others."""

from collections.abc import Mapping, Sequence
from typing import Any

from training.common.markdown import markdown_table
from training.evaluation.figures import TARGET_SETS
from training.evaluation.results import EmojiResult, MatrixResult, RegionWin, number, number_over_seeds

WINS_NOTE = (
    "A model wins where its score on its own region's texts is better than that of every model that is not of the "
    "region. `p` is that of the intersection-union test: the largest of the one-sided paired bootstrap p-values over "
    "these models. `p (Holm)` corrects it over the regions; a win needs 5 %."
)
LOSS_NOTE = (
    "Accuracy counts how often the right answer comes first. Loss, the mean negative log-probability of the right "
    "answer in nats, counts every change of its probability, so it shows smaller differences."
)
BODY_NOTE = (
    "An own model can be ahead because it knows its region or because the others forgot it; only a model of all "
    "regions, which has forgotten none, tells the two apart. The published matrix has no such column, so it cannot."
)
SCORES = {"masked_accuracy": "accuracy", "loss": "loss", None: "accuracy"}


def wins_section(wins: Sequence[RegionWin], result: MatrixResult | EmojiResult) -> list[str]:
    """Say first which regions' own models beat every other, by how much, and how sure that is."""
    if not wins:
        return []
    families = list(dict.fromkeys((win.get("targets"), win.get("score")) for win in wins))
    rows = [
        [
            win["region"],
            *([TARGET_SETS[win["targets"]]] if "targets" in win else []),
            SCORES[win.get("score")],
            win["own"],
            number(win["smallest_difference"]),
            win["closest"],
            f"{win['p_value']:.4f}",
            f"{win['p_holm']:.4f}",
            "yes" if win["wins"] else "no",
        ]
        for win in wins
    ]
    targets = ["targets"] if "targets" in wins[0] else []
    head = ["texts of", *targets, "score", "own model", "smallest gain", "over", "p", "p (Holm)", "wins"]
    notes = [LOSS_NOTE] if any(score == "loss" for _, score in families) else []
    summary = [summarise(wins, *family) for family in families]
    return [*summary, markdown_table(head, rows), WINS_NOTE, *notes, *shared_body_note(result)]


def summarise(wins: Sequence[RegionWin], target_set: str | None, score: str | None) -> str:
    """Count the wins by one score in one set of targets, and name the models."""
    family = [win for win in wins if (win.get("targets"), win.get("score")) == (target_set, score)]
    names = ", ".join(f"`{win['own']}`" for win in family if win["wins"])
    over = f" over {TARGET_SETS[target_set]}" if target_set else ""
    count = f"{sum(win['wins'] for win in family)} of {len(family)} own models"
    claim = f"**By {SCORES[score]}{over}, {count} beat every model that is not of their region**"
    return f"{claim}: {names}." if names else f"{claim}."


def shared_body_note(result: MatrixResult | EmojiResult) -> list[str]:
    bodies = [f"`{model['name']}`" for model in result["models"] if model["region"] is None]
    if bodies:
        return [f"Models of no region here, which every own model has to beat too: {', '.join(bodies)}. {BODY_NOTE}"]
    return [f"There is no model of all regions here, so a win may show only that the others forgot. {BODY_NOTE}"]


def seeds_section(result: MatrixResult) -> list[str]:
    """Show the mean and spread of models that differ in their seed alone."""
    if not (means := result.get("seeds")):
        return []
    rows = [
        [
            entry["region"],
            TARGET_SETS[entry["targets"]],
            ", ".join(entry["models"]),
            number_over_seeds(entry["masked_accuracy"], entry["masked_accuracy_std"]),
            number_over_seeds(entry["loss"], entry["loss_std"]),
        ]
        for entry in means
    ]
    return [
        "### Over seeds",
        "Means over models that differ in their seed alone, ± their standard deviation; in brackets 95 % intervals "
        "over seeds and authors (or texts) together. These means are compared, under the name of the first model.",
        markdown_table(["texts of", "targets", "models", "masked accuracy", "loss"], rows),
    ]


def comparison_section(comparisons: Sequence[Any], titles: Mapping[str, str]) -> list[str]:
    """List the differences of a matrix of either kind, under a title for each of their keys."""
    if not comparisons:
        return []
    rows = [
        [
            entry["region"],
            *([TARGET_SETS[entry["targets"]]] if "targets" in entry else []),
            entry["own"],
            entry["other"],
            *(number(entry[key]) for key in titles),
        ]
        for entry in comparisons
    ]
    targets = ["targets"] if "targets" in comparisons[0] else []
    return [
        "### Own models against all others",
        "Differences, on the same bootstrap samples.",
        markdown_table(["texts of", *targets, "own model", "other model", *titles.values()], rows),
    ]
