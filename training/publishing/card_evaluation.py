"""The results in a card: the headline score, a table of regions, and the regional tests."""

from dataclasses import dataclass
from typing import Any, cast

from training.evaluation.results import ALL, WORDS, Estimate, ItemCell, RegionWin, number
from training.publishing.eval_results import (
    Results,
    evaluation_of,
    find_cell,
    name_in,
    regional_cells,
    regions_own_first,
    result_of,
)
from training.publishing.publication import Publication, repository_name


@dataclass(frozen=True)
class Home:
    """The model on the texts of its own region.

    Args:
        score: the headline score, over words where tokens are masked.
        over_all: the same over all masked tokens; None for classifiers.
        count: number of masked words, or of texts.
        baselines: headline score of each baseline, by name.
        win: entry of the result's `wins` for the headline score; None if no model of another region was evaluated.
    """

    score: Estimate
    over_all: Estimate | None
    count: int
    baselines: dict[str, Estimate]
    win: RegionWin | None


@dataclass(frozen=True)
class CardEvaluation:
    """Values for the template.

    Args:
        resampled: unit of the bootstrap behind the intervals, "authors" or "texts".
        texts: fingerprint of the texts of the model's region.
        home: None for a model of all regions.
        rows: what `region_rows` returns.
        tests: scores on the regional tests; None if there are none.
        labels: number of labels of a classifier, else 0.
    """

    resampled: str
    texts: str | None
    home: Home | None
    rows: list[list[str]]
    tests: ItemCell | None
    labels: int


def card_evaluation(publication: Publication, results: Results) -> CardEvaluation:
    """Collect all results that the card shows.

    Raises:
        InputError: if the result is missing or does not contain this model.
    """
    result = result_of(results, publication)
    own = name_in(result, publication)
    home = at_home(publication, result, own) if publication.region else None
    kinds = {cell["kind"]: cast(ItemCell, cell) for cell in regional_cells(publication, results)}
    corpora = {corpus["region"]: corpus for corpus in result["corpora"]}
    region = publication.region or next(iter(corpora))
    return CardEvaluation(
        texts=corpora[publication.region]["fingerprint"] if publication.region in corpora else None,
        resampled=corpora.get(region, {}).get("resampled", "texts"),
        home=home,
        rows=region_rows(publication, result, own),
        tests=kinds.get("all"),
        labels=len(result.get("labels", [])),
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
        win=find_win(result, own),
    )


def baselines(result: dict[str, Any], region: str, headline: str) -> dict[str, Estimate]:
    """Return the headline score of each baseline on a region's texts."""
    models = {model["name"] for model in result["models"]}
    answered = dict.fromkeys(cell["model"] for cell in result["cells"] if cell["region"] == region)
    cells = {name: find_cell(result, name, region) for name in answered if name not in models}
    return {name: cell[headline] for name, cell in cells.items() if cell}


def find_win(result: dict[str, Any], own: str) -> RegionWin | None:
    """Find the test of whether the model beats all others on its own region; None if the result has none."""
    for entry in result.get("wins", []):
        if entry["own"] == own and entry.get("targets", WORDS) == WORDS:
            return entry
    return None


def region_rows(publication: Publication, result: dict[str, Any], own: str) -> list[list[str]]:
    """Return one row per region: its model, and the headline scores of that model and of this one on its texts."""
    headline = evaluation_of(publication).headline
    ending = "" if publication.fills_masks else "-emoji"
    at = {model["region"]: model["name"] for model in reversed(result["models"])}  # the first of each region
    rows = []
    for region in regions_own_first(publication, result):
        cell, of_region = find_cell(result, own, region), at.get(region)
        theirs = find_cell(result, of_region, region) if of_region else None
        name = repository_name(region, ending)
        link = f"[{name}](https://huggingface.co/{publication.org}/{name})" if of_region else "–"
        shown = [number(one[headline]) if one else "–" for one in (theirs, cell)]
        rows.append([region, f"**{name}**" if name == publication.name else link, *shown])
    return rows
