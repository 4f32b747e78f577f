"""The evaluation of a model as the Hub reads it: headline figures in `model-index`, regional tests in `.eval_results`.

Both repeat numbers of the result's JSON, which lies in the repository whole. The Hub files `.eval_results` under a
data set: ours is that of the regional tests, whose kinds of items are its tasks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from training.common.errors import InputError
from training.evaluation.results import ALL, WORDS
from training.publishing.publication import CLASSIFICATION, FILL_MASK, Publication

Results = dict[str, dict[str, Any]]  # by kind, as `training.evaluation.results.read_results` gives them
REGIONAL_TESTS = "regional_tests"  # the kind of the result
REGIONAL_TESTS_NAME = "bilma-regional-tests"  # the repository of the data set
EVAL_RESULTS = f".eval_results/{REGIONAL_TESTS_NAME}.yaml"
RESULTS = "results"  # the folder of the repository that holds the JSON
DIGITS = 4  # more than the intervals allow
MOST_HEADLINES = 10


@dataclass(frozen=True)
class Evaluation:
    """Which result measures the models of a pipeline; `metrics` are score -> (the Hub's metric, name to show)."""

    kind: str
    name: str
    headline: str
    metrics: dict[str, tuple[str, str]]


EVALUATIONS = {
    FILL_MASK: Evaluation(
        "mlm_matrix",
        "Masked language modelling",
        "masked_accuracy",
        {"masked_accuracy": ("accuracy", "Masked accuracy"), "perplexity": ("perplexity", "Perplexity")},
    ),
    CLASSIFICATION: Evaluation(
        "emoji15_matrix",
        "Emoji-15",
        "accuracy",
        {"accuracy": ("accuracy", "Accuracy"), "macro_f1": ("f1", "Macro-F1")},
    ),
}


def evaluation_of(publication: Publication) -> Evaluation:
    return EVALUATIONS[publication.pipeline_tag]


def result_of(results: Results, publication: Publication) -> dict[str, Any]:
    """The result that measures the model.

    Raises:
        InputError: if it is missing.
    """
    kind = evaluation_of(publication).kind
    if kind not in results:
        raise InputError(
            f"{publication.name}: no {kind}.json, and a card without it is incomplete: run evaluate_family.py with "
            "this model, and give its output folder as --results"
        )
    return results[kind]


def name_in(result: dict[str, Any], publication: Publication) -> str:
    """The name under which a result holds the model, known by its weights and its region.

    Raises:
        InputError: if the result is of other weights, or of these for other regions only.
    """
    same_weights = [model for model in result["models"] if model["fingerprint"] == publication.fingerprint]
    for model in same_weights:
        if model["region"] == publication.region:
            return model["name"]
    where, file = f"{publication.trained} as {publication.name}", f"{result['kind']}.json"
    if same_weights:
        found = ", ".join(str(model["region"]) for model in same_weights)
        raise InputError(f"{where}: {file} holds these weights for the regions {found}: run evaluate_family.py again")
    names = ", ".join(model["name"] for model in result["models"])
    raise InputError(f"{where}: its weights are none of those in {file} ({names}): run evaluate_family.py again")


def find_cell(result: dict[str, Any], model: str, region: str, targets: str = WORDS) -> dict[str, Any] | None:
    """The scores of a model or baseline on one region's texts; results without sets of targets have one cell."""
    for cell in result["cells"]:
        if (cell["model"], cell["region"], cell.get("targets", targets)) == (model, region, targets):
            return cell
    return None


def regions_own_first(publication: Publication, result: dict[str, Any]) -> list[str]:
    regions = [corpus["region"] for corpus in result["corpora"]]
    return sorted(regions, key=lambda region: region != publication.region)


def model_index(publication: Publication, results: Results) -> list[EvalResult]:
    """The headline figures: all scores at home, or for a model of all regions the headline score on each one's texts.

    Raises:
        InputError: if the results are not of this model.
    """
    evaluation, result = evaluation_of(publication), result_of(results, publication)
    name = name_in(result, publication)
    if publication.region is None:
        scores = [(region, evaluation.headline, WORDS) for region in regions_own_first(publication, result)]
    else:
        scores = [(publication.region, score, WORDS) for score in evaluation.metrics]
        scores += [(publication.region, evaluation.headline, ALL)] if publication.fills_masks else []
    figures = []
    for region, score, targets in scores[:MOST_HEADLINES]:
        cell = find_cell(result, name, region, targets)
        if cell and cell[score]:
            over = {WORDS: " over words", ALL: " over all tokens"}[targets] if publication.fills_masks else ""
            figures.append(headline(publication, region, score, over, cell[score]["value"]))
    return figures


def headline(publication: Publication, region: str, score: str, over: str, value: float) -> EvalResult:
    evaluation = evaluation_of(publication)
    metric, metric_name = evaluation.metrics[score]
    return EvalResult(
        task_type=publication.pipeline_tag,
        task_name=evaluation.name,
        dataset_type="regional-test-texts",
        dataset_name="Held-out texts of the region",
        dataset_split="test",
        metric_type=metric,
        metric_name=f"{metric_name}{over}, {region.upper()}",
        metric_value=round(value, DIGITS),
        source_url=f"https://huggingface.co/{publication.repo_id}",
        source_name=f"{RESULTS}/{evaluation.kind}.json",
    )


def regional_cells(publication: Publication, results: Results) -> Iterator[dict[str, Any]]:
    """How the model did on the regional tests of its own region, by kind of item; nothing where it was not tested."""
    result = results.get(REGIONAL_TESTS)
    if result is None or publication.region is None or not publication.fills_masks:
        return
    name = name_in(result, publication)
    yield from (cell for cell in result["cells"] if (cell["model"], cell["region"]) == (name, publication.region))


def eval_result_file(publication: Publication, results: Results) -> str | None:
    """The text of `.eval_results`: one value per kind of item; None where there is nothing to say."""
    entries = [
        EvalResultEntry(
            dataset_id=f"{publication.org}/{REGIONAL_TESTS_NAME}",
            task_id=f"{cell['kind']}_{cell['region']}",
            value=round(cell["chosen"]["value"], DIGITS),
            source_url=f"https://huggingface.co/{publication.repo_id}/blob/main/{RESULTS}/{REGIONAL_TESTS}.json",
            source_name=f"{RESULTS}/{REGIONAL_TESTS}.json",
            notes=(
                f"share of {cell['count']:,} items where a form of the region beats every form that only others use; "
                f"95 % interval {cell['chosen']['low']:.{DIGITS}f} to {cell['chosen']['high']:.{DIGITS}f}"
            ),
        )
        for cell in regional_cells(publication, results)
    ]
    return yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False) if entries else None
