"""What a card shows of the results: the row and the column of its model, completions, words and likeness."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.common.markdown import markdown_table
from training.evaluation import published
from training.evaluation.results import number
from training.publishing.eval_results import EVALUATIONS, name_in, own_column, results_of
from training.publishing.publication import Publication

Results = dict[str, dict[str, Any]]
TOP_COMPLETIONS = 5
TOP_WORDS = 12
PUBLISHED = {"mlm_matrix": "mlm_accuracy", "emoji15_matrix": "emoji15_accuracy"}
NOT_TRIVIAL = "without_trivial"


@dataclass(frozen=True)
class Line:
    """A line of a matrix: who answered or whose texts were asked, the scores, the published accuracy."""

    name: str
    is_own: bool
    scores: list[tuple[dict[str, float] | None, int]]  # estimates, and the digits to show of them
    published: float | None

    def cells(self, to: str) -> list[str]:
        shown = [number(estimate, digits, to) for estimate, digits in self.scores]
        published = "–" if self.published is None else f"{self.published:.3f}"
        return [f"**{self.name}**" if self.is_own else self.name, *shown, published]


def score_table(head: Sequence[str], lines: Sequence[Line], to: str) -> str:
    """Lines as Markdown; `to` stands between the ends of an interval."""
    return markdown_table(head, [line.cells(to) for line in lines])


def evaluation_facts(publication: Publication, results: Results) -> dict[str, Any]:
    """What the template's evaluation is filled with.

    Raises:
        InputError: if a result is missing, or is not of this model and its region.
    """
    kind = EVALUATIONS[publication.pipeline_tag].kind
    result = results_of(results, kind, publication)
    corpora = {corpus["region"]: corpus for _, corpus in own_column(publication, results)}
    facts = {
        "kind": kind,
        "settings": result["settings"],
        "asked": corpora[publication.region.code],
        "row": row(publication, result),
        "column": column(publication, result, list(corpora)),
        "baselines": baselines(publication, result),
        "comparison": comparison(publication, result),
    }
    if kind == "mlm_matrix":
        return facts | {
            "completions": completions(publication, results_of(results, "completions", publication)),
            "words": words(publication, results.get("region_words")),
            "likeness": likeness(publication, results.get("similarity")),
        }
    return facts | {"labels": result["labels"], "words": [], "likeness": []}


def row(publication: Publication, result: dict[str, Any]) -> list[Line]:
    """All models and baselines on the texts of the model's region; the model itself first."""
    own, region = name_in(result, publication), publication.region.code
    models = list(dict.fromkeys(cell["model"] for cell in result["cells"] if cell["region"] == region))
    models.sort(key=lambda name: name != own)
    return [line(result, region, name, publication.name if name == own else name, name == own) for name in models]


def column(publication: Publication, result: dict[str, Any], regions: Sequence[str]) -> list[Line]:
    """The model on the texts of all regions, given with its own first."""
    own = name_in(result, publication)
    return [line(result, region, own, region, region == publication.region.code) for region in regions]


def line(result: dict[str, Any], region: str, model: str, name: str, is_own: bool) -> Line:
    cells = {
        cell.get("targets", "all"): cell
        for cell in result["cells"]
        if (cell["region"], cell["model"]) == (region, model)
    }
    regions = {entry["name"]: entry["region"] for entry in result["models"]}
    if result["kind"] == "mlm_matrix":
        not_trivial = cells.get(NOT_TRIVIAL, {}).get("masked_accuracy")
        scores = [(cells["all"]["masked_accuracy"], 3), (not_trivial, 3), (cells["all"]["perplexity"], 1)]
    else:
        scores = [(cells["all"]["accuracy"], 3), (cells["all"]["macro_f1"], 3)]
    theirs = published.matrix(PUBLISHED[result["kind"]]).get((region, regions.get(model)))
    return Line(name, is_own, scores, theirs)


def baselines(publication: Publication, result: dict[str, Any]) -> list[str]:
    """What answered about the model's region and is no model."""
    models = {model["name"] for model in result["models"]}
    answered = (cell["model"] for cell in result["cells"] if cell["region"] == publication.region.code)
    return [name for name in dict.fromkeys(answered) if name not in models]


def comparison(publication: Publication, result: dict[str, Any]) -> dict[str, Any] | None:
    """The model against the best other one on the texts of its region, over all targets."""
    place = (name_in(result, publication), publication.region.code)
    for entry in result["comparisons"]:
        if (entry["own"], entry["region"]) == place and entry.get("targets", "all") == "all":
            score = "masked_accuracy_difference" if "targets" in entry else "accuracy_difference"
            return {"best_other": entry["best_other"], "difference": entry[score]}
    return None


def completions(publication: Publication, result: dict[str, Any]) -> list[list[str]]:
    """Of each phrase the model's likeliest words with their probabilities, and the words that the authors report."""
    own = name_in(result, publication)
    theirs = published.completions()
    rows = []
    for entry in result["phrases"]:
        answers = next(column["answers"] for column in entry["by_model"] if column["model"] == own)
        told = theirs.get(entry["phrase"], {}).get(publication.region.code, [])
        ours = (f"{answer['word']} {answer['probability']:.2f}" for answer in answers[:TOP_COMPLETIONS])
        rows.append([f"`{entry['phrase']}`", " · ".join(ours), " · ".join(told[:TOP_COMPLETIONS]) or "–"])
    return rows


def words(publication: Publication, result: dict[str, Any] | None) -> list[str]:
    """The words that the model prefers where the others do not; none where it was evaluated alone."""
    if result is None:
        return []
    own = name_in(result, publication)
    entry = next(entry for entry in result["by_model"] if entry["model"] == own)
    return [word["word"] for word in entry["words"][:TOP_WORDS]]


def likeness(publication: Publication, result: dict[str, Any] | None) -> list[tuple[str, dict[str, float]]]:
    """The other models with their correlations, the most alike first."""
    if result is None:
        return []
    own = name_in(result, publication)
    pairs = [
        (next(name for name in pair["models"] if name != own), pair["correlation"])
        for pair in result["correlations"]
        if own in pair["models"]
    ]
    return sorted(pairs, key=lambda pair: -pair[1]["value"])
