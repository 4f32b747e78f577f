"""The generated part of `model_cards/README.md`: a table of the family, made from the results alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.common.markdown import markdown_table
from training.evaluation.results import WORDS, number
from training.publishing.card_evaluation import CardEvaluation, card_evaluation
from training.publishing.eval_results import RESULTS, Results, find_cell, name_in, result_of
from training.publishing.facts import read_facts
from training.publishing.publication import FILL_MASK, Publication
from training.publishing.tree import PICTURES

BEGIN, END = "<!-- family: made by training/present_family.py -->", "<!-- end of family -->"
HEAD = ("region", "model", "words right", "shared body", "best simple method", "regional tests", "ahead of all others")
PICTURE = f"{RESULTS}/{PICTURES[FILL_MASK]}"


def split_page(path: Path) -> tuple[str, str]:
    """Return the text before and after the generated part.

    Raises:
        InputError: if the page or one of the markers is missing.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{path}: no place for the table: write {BEGIN} and, below it, {END} where it belongs")
    return f"{before}{begin}\n", f"\n{end}{after}"


def render_page(publications: Sequence[Publication], results: Results, page_dir: Path) -> str:
    """Render the generated part in Markdown.

    Args:
        page_dir: folder of the page; its picture is shown if it exists.

    Raises:
        InputError: if the results do not contain these models.
    """
    evaluations = {one.name: card_evaluation(one, results) for one in publications}
    regional = [one for one in publications if one.fills_masks and one.region]
    rows = [region_row(one, evaluations[one.name], results) for one in regional]
    ahead = sum(row[-1].startswith("yes") for row in rows)
    own = {name_in(result_of(results, one), one) for one in regional}
    by_loss = [win["wins"] for win in results["mlm_matrix"].get("wins", []) if win["own"] in own and over_loss(win)]
    loss = f"by the loss, which shows smaller differences, in {sum(by_loss)} of {len(by_loss)}; " if by_loss else ""
    drawn = next((evaluations[one.name].resampled for one in regional), "texts")
    parts = [
        markdown_table(HEAD, rows),
        f"The region's own model is ahead of every other model at home, the shared body included, in "
        f"{ahead or 'none'} of the {len(rows)} regions ({loss}at 5 %, after Holm's correction). *Words right* is the "
        "share of masked words predicted correctly, on held-out texts of the region; in brackets, 95 % intervals from "
        f"bootstrap samples of {drawn}. *Regional tests* is the share of items in which a form of the region beats "
        "every form that only other regions use, with intervals from samples of concepts. "
        "[The report](results/report.md) says how everything was measured.",
    ]
    if (page_dir / PICTURE).is_file():
        parts.append(
            f"![Share of masked words predicted by every model on the texts of every region; one row per region, one "
            f"column per model.]({PICTURE})"
        )
    if classifiers := [one for one in publications if not one.fills_masks]:
        links = ", ".join(classifier_link(one, evaluations[one.name]) for one in classifiers)
        parts.append(f"Classifiers of emoji, with their accuracy: {links}.")
    return "\n\n".join(parts)


def over_loss(win: Mapping[str, Any]) -> bool:
    return (win.get("targets"), win.get("score")) == (WORDS, "loss")


def region_row(publication: Publication, evaluation: CardEvaluation, results: Results) -> list[str]:
    home = evaluation.home
    if home is None:
        raise InputError(
            f"{publication.name} was not evaluated on the texts of {publication.region}: run evaluate_family.py again"
        )
    simple = max(home.baselines.items(), key=lambda item: item[1]["value"], default=None)
    win = home.win
    return [
        read_facts(publication.region)["country"]["en"],
        f"[{publication.name}]({publication.name}/README.md)",
        number(home.score),
        body_score(publication, results),
        f"{number(simple[1])} {simple[0]}" if simple else "–",
        number(evaluation.tests["chosen"]) if evaluation.tests else "–",
        f"{'yes' if win['wins'] else 'no'}, p = {win['p_holm']:.3f}" if win else "–",
    ]


def body_score(publication: Publication, results: Results) -> str:
    """Return the score of the model of all regions on the texts of the publication's region."""
    result = result_of(results, publication)
    body = next((model["name"] for model in result["models"] if model["region"] is None), None)
    cell = find_cell(result, body, str(publication.region)) if body else None
    return number(cell["masked_accuracy"]) if cell else "–"


def classifier_link(publication: Publication, evaluation: CardEvaluation) -> str:
    score = f" {number(evaluation.home.score)}" if evaluation.home else ""
    return f"[{publication.name}]({publication.name}/README.md){score}"
