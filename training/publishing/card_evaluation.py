"""The results in a card: the headline score, a table of regions, and the regional tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from training.evaluation.results import ALL, WORDS, Estimate, ItemCell, RegionWin, number
from training.publishing.eval_results import (
    Results,
    column_on,
    compared_classifier,
    evaluation_of,
    find_cell,
    name_in,
    regional_cells,
    regions_own_first,
    result_of,
)
from training.publishing.publication import Publication, repository_name
from training.texts.regions import ALL_REGIONS

HEAD = ["texts from", "the region's model", "its score there", "this model's score"]
HEAD_OF_BODY = [*HEAD[:-1], "this model's score, without a token"]
HEAD_WITH_TOKENS = ["texts from", "behind the region's token", "without a token"]


@dataclass(frozen=True)
class Home:
    """The model on the texts of its own region; a classifier of all regions on those of all.

    Args:
        score: the headline score, over words where tokens are masked.
        over_all: the same over all masked tokens; None for classifiers.
        count: number of masked words, or of texts.
        baselines: headline score of each baseline, by name.
        win: entry of the result's `wins` for the headline score; None if there was no other model to compare with.
        loss_win: the same for the loss over words.
        seeds: number of trainings that the score is the mean of.
        resampled: unit of the bootstrap behind its intervals, "authors" or "texts".
    """

    score: Estimate
    over_all: Estimate | None
    count: int
    baselines: dict[str, Estimate]
    win: RegionWin | None
    resampled: str
    seeds: int = 1
    loss_win: RegionWin | None = None


@dataclass(frozen=True)
class CardEvaluation:
    """Values for the template.

    Args:
        resampled: the same for the table of regions, whose corpora may differ in it.
        texts: fingerprint of the texts of the model's region.
        home: None for a body, and for a classifier of all regions that was compared with no other method.
        head: columns of the table of regions.
        rows: one row per region.
        tests: scores on the regional tests; None if there are none.
        labels: number of labels of a classifier, else 0.
        ranges: headline scores of a body over the regions; empty for other models.
    """

    resampled: str
    texts: str | None
    home: Home | None
    head: list[str]
    rows: list[list[str]]
    tests: ItemCell | None
    labels: int
    ranges: dict[str, str]


def card_evaluation(publication: Publication, results: Results) -> CardEvaluation:
    """Collect all results that the card shows.

    Raises:
        InputError: if the result is missing or does not contain this model.
    """
    result = result_of(results, publication)
    own = name_in(result, publication)
    home = at_home(publication, result, own) if publication.region else over_all_regions(publication, results)
    kinds = {cell["kind"]: cast(ItemCell, cell) for cell in regional_cells(publication, results)}
    corpora = {corpus["region"]: corpus for corpus in result["corpora"]}
    takes_tokens = not publication.fills_masks and not publication.region and publication.regions
    is_body = publication.fills_masks and bool(publication.regions)
    return CardEvaluation(
        texts=corpora[publication.region]["fingerprint"] if publication.region in corpora else None,
        resampled=resampled_on(result, None),
        home=home,
        head=HEAD_WITH_TOKENS if takes_tokens else HEAD_OF_BODY if is_body else HEAD,
        rows=(token_rows if takes_tokens else region_rows)(publication, result, own),
        tests=kinds.get("all"),
        labels=len(result.get("labels", [])),
        ranges=ranges_over_regions(publication, result, own) if is_body else {},
    )


def at_home(publication: Publication, result: dict[str, Any], own: str) -> Home | None:
    """Return the scores on the texts of the model's own region; None if there are no such texts."""
    headline, region = evaluation_of(publication).headline, str(publication.region)
    cell = find_cell(result, own, region)
    if cell is None:
        return None
    over_all = find_cell(result, own, region, ALL) if publication.fills_masks else None
    return Home(
        score=cell[headline],
        over_all=over_all[headline] if over_all else None,
        count=cell["count"],
        baselines=baselines(result, region, headline),
        win=find_win(result, own, "masked_accuracy"),
        loss_win=find_win(result, own, "loss"),
        resampled=resampled_on(result, region),
    )


def over_all_regions(publication: Publication, results: Results) -> Home | None:
    """Return the scores of a classifier on the test texts of all regions; None if it was not compared on them."""
    compared = compared_classifier(publication, results)
    if compared is None:
        return None
    task, own = compared
    headline = evaluation_of(publication).headline
    cells = {cell["method"]: cell for cell in task["cells"] if cell["region"] == ALL_REGIONS}
    others = {entry["other"] for entry in task["comparisons"] if entry["classifier"] == own}
    wins = [
        win for win in task["wins"] if (win["own"], win["region"], win.get("score")) == (own, ALL_REGIONS, headline)
    ]
    return Home(
        score=cells[own][headline],
        over_all=None,
        count=cells[own]["count"],
        baselines={name: cells[name][headline] for name in cells if name in others},
        win=next(iter(wins), None),
        resampled=task["resampled"],
        seeds=cells[own]["seeds"],
    )


def baselines(result: dict[str, Any], region: str, headline: str) -> dict[str, Estimate]:
    """Return the headline score of each baseline on a region's texts."""
    models = {model["name"] for model in result["models"]}
    answered = dict.fromkeys(cell["model"] for cell in result["cells"] if cell["region"] == region)
    cells = {name: find_cell(result, name, region) for name in answered if name not in models}
    return {name: cell[headline] for name, cell in cells.items() if cell}


def ranges_over_regions(publication: Publication, result: dict[str, Any], own: str) -> dict[str, str]:
    """Return the smallest and largest headline score over regions: with their tokens, without, of a baseline."""
    headline, at = evaluation_of(publication).headline, models_of_regions(publication, result)
    values: dict[str, list[float]] = {"with_token": [], "without": [], "simple": []}
    for region in regions_own_first(publication, result):
        for name, column in (("with_token", at.get(region)), ("without", own)):
            if column and (cell := find_cell(result, column, region)):
                values[name].append(cell[headline]["value"])
        if simple := baselines(result, region, headline):
            values["simple"].append(max(score["value"] for score in simple.values()))
    return {name: f"{min(found):.3f} to {max(found):.3f}" for name, found in values.items() if found}


def resampled_on(result: dict[str, Any], region: str | None) -> str:
    """Return what the intervals on a region's texts draw, "authors" or "texts"; with None on those of all regions."""
    corpora = [corpus for corpus in result["corpora"] if region in (None, corpus["region"])]
    drawn = {corpus.get("resampled") or "texts" for corpus in corpora}
    if len(drawn) > 1:
        of_texts = sorted(corpus["region"] for corpus in corpora if corpus.get("resampled") != "authors")
        return f"authors (of texts for {' and '.join(of_texts)})"
    return next(iter(drawn), "texts")


def find_win(result: dict[str, Any], own: str, score: str) -> RegionWin | None:
    """Find the test of whether the model beats all others on its own region; None if the result has none."""
    for entry in result.get("wins", []):
        tested = (entry["own"], entry.get("targets", WORDS), entry.get("score", "masked_accuracy"))
        if tested == (own, WORDS, score):
            return entry
    return None


def region_rows(publication: Publication, result: dict[str, Any], own: str) -> list[list[str]]:
    """Return one row per region: its model, and the headline scores of that model and of this one on its texts."""
    headline = evaluation_of(publication).headline
    ending = "" if publication.fills_masks else "-emoji"
    at = models_of_regions(publication, result)
    rows = []
    for region in regions_own_first(publication, result):
        cell, of_region = find_cell(result, own, region), at.get(region)
        theirs = find_cell(result, of_region, region) if of_region else None
        name = repository_name(region, ending)
        link = f"[{name}](https://huggingface.co/{publication.org}/{name})" if of_region else "–"
        shown = [score_of(one, headline) for one in (theirs, cell)]
        rows.append([region, f"**{name}**" if name == publication.name else link, *shown])
    return rows


def models_of_regions(publication: Publication, result: dict[str, Any]) -> dict[str, str]:
    """Return the name of the column that is each region's own model, a repository by itself.

    Every regional part of a body is merged into one. Of classifiers, columns of the same weights are one classifier
    behind several tokens, unless it is this one.
    """
    fingerprints = [model["fingerprint"] for model in result["models"]]
    of_regions = [
        model
        for model in result["models"]
        if publication.fills_masks
        or fingerprints.count(model["fingerprint"]) == 1
        or (model["fingerprint"], model["region"]) == (publication.fingerprint, publication.region)
    ]
    return {model["region"]: model["name"] for model in reversed(of_regions)}  # the first of each region


def token_rows(publication: Publication, result: dict[str, Any], own: str) -> list[list[str]]:
    """Return one row per region: the headline scores on its texts, behind the region's token and without one."""
    headline = evaluation_of(publication).headline
    rows = []
    for region in regions_own_first(publication, result):
        behind = column_on(result, publication, region)
        cells = [find_cell(result, name, region) for name in (None if behind == own else behind, own)]
        rows.append([region, *(score_of(cell, headline) for cell in cells)])
    return rows


def score_of(cell: Mapping[str, Any] | None, headline: str) -> str:
    return number(cell[headline]) if cell else "–"
