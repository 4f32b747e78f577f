"""Results in the formats of the Hub: headline scores in `model-index`, regional tests in `.eval_results`.

Both repeat numbers of the JSON files that are in the repository as well. The Hub lists `.eval_results` under a data
set, here that of the regional tests, whose kinds of items are its tasks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from training.common.errors import InputError
from training.evaluation.results import ALL, WORDS
from training.finetuning.guesses import GUESSES_FILE, read_guesses
from training.publishing.publication import CLASSIFICATION, FILL_MASK, Publication

Results = dict[str, dict[str, Any]]  # by kind, as `training.evaluation.results.read_results` returns them
REGIONAL_TESTS = "regional_tests"  # the kind of the result
REGIONAL_TESTS_NAME = "bilma-regional-tests"  # the repository of the data set
EVAL_RESULTS = f".eval_results/{REGIONAL_TESTS_NAME}.yaml"
RESULTS = "results"  # the folder of the repository that holds the JSON
COMPARED = "classifiers"  # the kind of the result that compares classifiers with simple methods
DIGITS = 4  # finer than the intervals
MOST_HEADLINES = 10


@dataclass(frozen=True)
class Evaluation:
    """The result that evaluates the models of a pipeline; `metrics` maps a score to the Hub's metric and a title."""

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
    """Return the result with the evaluation of the model.

    Raises:
        InputError: if it is missing.
    """
    kind = evaluation_of(publication).kind
    if kind not in results:
        raise InputError(f"{publication.name}: no {kind}.json, which the card needs: {how_to_evaluate(publication)}")
    return results[kind]


def name_in(result: dict[str, Any], publication: Publication) -> str:
    """Find the name of the model in a result, by its weights and its region.

    Raises:
        InputError: if the result does not contain these weights, or only for other regions.
    """
    same_weights = [model for model in result["models"] if model["fingerprint"] == publication.fingerprint]
    for model in same_weights:
        if model["region"] == publication.region:
            return model["name"]
    where, file = f"{publication.trained} as {publication.name}", f"{result['kind']}.json"
    if same_weights:
        found = ", ".join(str(model["region"]) for model in same_weights)
        raise InputError(
            f"{where}: {file} has these weights for the regions {found} only: {how_to_evaluate(publication)}"
        )
    names = ", ".join(model["name"] for model in result["models"])
    raise InputError(f"{where}: its weights are not among those in {file} ({names}): {how_to_evaluate(publication)}")


def how_to_evaluate(publication: Publication) -> str:
    """Return the command that evaluates a model, and what to do with its output."""
    flag = "--models" if publication.fills_masks else "--emoji_models"
    command = f"evaluate_family.py {flag} {publication.trained} --corpora CORPORA --output_dir RESULTS"
    return (
        f"run {command}, and give RESULTS as --results (publish.py) or as results in --output_dir (present_family.py)"
    )


def column_on(result: dict[str, Any], publication: Publication, region: str) -> str:
    """Return the name under which a model was evaluated on a region's texts as it is to be used there.

    A classifier that takes region tokens is one column without one and one behind each.
    """
    for model in result["models"] if not publication.fills_masks and region in publication.regions else ():
        if (model["fingerprint"], model["region"]) == (publication.fingerprint, region):
            return model["name"]
    return name_in(result, publication)


def compared_classifier(publication: Publication, results: Results) -> tuple[dict[str, Any], str] | None:
    """Find the comparison of a classifier with simple methods on its test texts, and its name there.

    Both are known by what `finetune.py` recorded of these texts. None if there is no such record or comparison.
    """
    path = publication.trained / GUESSES_FILE
    if publication.fills_masks or COMPARED not in results or not path.is_file():
        return None
    guesses = read_guesses(path)
    name = f"{guesses['method']} (average)" if guesses["average"] is not None else guesses["method"]
    for task in results[COMPARED]["tasks"]:
        if task["fingerprint"] == guesses["fingerprint"] and name in {cell["method"] for cell in task["cells"]}:
            return task, name
    return None


def find_cell(result: dict[str, Any], model: str | None, region: str, targets: str = WORDS) -> dict[str, Any] | None:
    """Find the scores of a model or baseline on a region's texts; a cell without `targets` counts for all of them."""
    for cell in result["cells"]:
        if (cell["model"], cell["region"], cell.get("targets", targets)) == (model, region, targets):
            return cell
    return None


def regions_own_first(publication: Publication, result: dict[str, Any]) -> list[str]:
    regions = [corpus["region"] for corpus in result["corpora"]]
    return sorted(regions, key=lambda region: region != publication.region)


def model_index(publication: Publication, results: Results) -> list[EvalResult]:
    """Return the headline figures: all scores on the own region or, for a model of all regions, one score on each.

    Raises:
        InputError: if the results do not contain this model.
    """
    evaluation, result = evaluation_of(publication), result_of(results, publication)
    if publication.region is None:
        scores = [(region, evaluation.headline, WORDS) for region in regions_own_first(publication, result)]
    else:
        scores = [(publication.region, score, WORDS) for score in evaluation.metrics]
        scores += [(publication.region, evaluation.headline, ALL)] if publication.fills_masks else []
    figures = []
    for region, score, targets in scores[:MOST_HEADLINES]:
        cell = find_cell(result, column_on(result, publication, region), region, targets)
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
    """Yield the scores on the regional tests of the own region, by kind of item; nothing if there are none."""
    result = results.get(REGIONAL_TESTS)
    if result is None or publication.region is None or not publication.fills_masks:
        return
    name = name_in(result, publication)
    yield from (cell for cell in result["cells"] if (cell["model"], cell["region"]) == (name, publication.region))


def eval_result_file(publication: Publication, results: Results) -> str | None:
    """Return the content of `.eval_results`, one value per kind of item; None if there are no regional tests."""
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
