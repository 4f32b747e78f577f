"""The evaluation of a model as the Hub reads it: `.eval_results/*.yaml`, and `model-index` in the front matter.

Both say the same numbers, those of the result's JSON. A task is the test texts of a region: `mlm_mx`, `emoji15_mx`.
The Hub wants the id of a benchmark, a dataset repository that declares the tasks; ours is `ORG/bilma-benchmark`. Until
there is one that the Hub has admitted, it keeps the files and shows no leaderboard.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml
from huggingface_hub.utils import yaml_dump

from training.common.errors import InputError
from training.common.provenance import weights_fingerprint
from training.publishing.publication import Publication

BENCHMARK = "bilma-benchmark"
RESULTS = "results"  # the folder of the repository that holds the JSON
DIGITS = 4  # more than the intervals allow


@dataclass(frozen=True)
class Evaluation:
    """Which result measures the models of a pipeline, and what the Hub calls its scores.

    `metrics` are score -> (the Hub's metric, name to show); the first one is the score of `.eval_results`.
    """

    kind: str
    prefix: str
    name: str
    metrics: dict[str, tuple[str, str]]


EVALUATIONS = {
    "fill-mask": Evaluation(
        "mlm_matrix",
        "mlm",
        "Masked language modelling",
        {"masked_accuracy": ("accuracy", "Masked accuracy"), "perplexity": ("perplexity", "Masked perplexity")},
    ),
    "text-classification": Evaluation(
        "emoji15_matrix",
        "emoji15",
        "Emoji-15",
        {"accuracy": ("accuracy", "Accuracy"), "macro_f1": ("f1", "Macro-F1")},
    ),
}


def eval_result_files(publication: Publication, results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Path in the repository -> text of every file under `.eval_results`.

    Raises:
        InputError: if the results are not of this model and its region.
    """
    entries = eval_result_entries_to_yaml(eval_entries(publication, results))
    return {f".eval_results/{BENCHMARK}.yaml": yaml_dump(entries, sort_keys=False)}


def eval_entries(publication: Publication, results: dict[str, dict[str, Any]]) -> list[EvalResultEntry]:
    """One value for each region of texts."""
    evaluation = EVALUATIONS[publication.pipeline_tag]
    score = next(iter(evaluation.metrics))
    settings = results_of(results, evaluation.kind, publication)["settings"]
    return [
        EvalResultEntry(
            dataset_id=f"{publication.org}/{BENCHMARK}",
            task_id=f"{evaluation.prefix}_{cell['region']}",
            value=round(cell[score]["value"], DIGITS),
            source_url=source_url(publication, evaluation),
            source_name=f"{RESULTS}/{evaluation.kind}.json",
            notes=note(cell, corpus, score, settings),
        )
        for cell, corpus in own_column(publication, results)
    ]


def model_index(publication: Publication, results: dict[str, dict[str, Any]]) -> list[EvalResult]:
    """Every score for each region of texts, as the older format has it."""
    evaluation = EVALUATIONS[publication.pipeline_tag]
    return [
        EvalResult(
            task_type=publication.pipeline_tag,
            task_name=evaluation.name,
            dataset_type=f"{publication.org}/{BENCHMARK}",
            dataset_name=f"test texts of {cell['region']}: {', '.join(corpus['names'])}",
            dataset_config=f"{evaluation.prefix}_{cell['region']}",
            dataset_split="test",
            metric_type=metric,
            metric_name=name,
            metric_value=round(cell[score]["value"], DIGITS),
            source_url=source_url(publication, evaluation),
            source_name=f"{RESULTS}/{evaluation.kind}.json",
        )
        for cell, corpus in own_column(publication, results)
        for score, (metric, name) in evaluation.metrics.items()
    ]


def own_column(
    publication: Publication, results: dict[str, dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The model's cells over all targets, with the facts of their texts: those of its own region first.

    Raises:
        InputError: if the results are not of this model, or hold no texts of its region.
    """
    kind = EVALUATIONS[publication.pipeline_tag].kind
    result = results_of(results, kind, publication)
    name = name_in(result, publication)
    cells = [cell for cell in result["cells"] if cell["model"] == name and cell.get("targets", "all") == "all"]
    corpora = {corpus["region"]: corpus for corpus in result["corpora"]}
    own = publication.region.code
    if own not in corpora:
        raise InputError(
            f"{publication.folder}: {kind}.json has no texts of {own}: run evaluate_family.py with a corpus of {own}"
        )
    for cell in sorted(cells, key=lambda cell: cell["region"] != own):
        yield cell, corpora[cell["region"]]


def results_of(results: dict[str, dict[str, Any]], kind: str, publication: Publication) -> dict[str, Any]:
    if kind not in results:
        raise InputError(
            f"{publication.folder}: a card without {kind}.json is incomplete: run evaluate_family.py with this model, "
            "and give its output folder as --results"
        )
    return results[kind]


def name_in(result: dict[str, Any], publication: Publication) -> str:
    """What a result calls the model, which it knows by its weights.

    Raises:
        InputError: if the result is of other weights.
    """
    fingerprint = weights_fingerprint(publication.folder)
    for model in result["models"]:
        if model["fingerprint"] == fingerprint and model["region"] != publication.region.code:
            raise InputError(
                f"{publication.folder}: is of region {publication.region.code}, and {result['kind']}.json says "
                f"{model['region']} of the same weights: run evaluate_family.py with this model"
            )
        if model["fingerprint"] == fingerprint:
            return model["name"]
    raise InputError(
        f"{publication.folder}: its weights are none of those in {result['kind']}.json "
        f"({', '.join(model['name'] for model in result['models'])}): run evaluate_family.py with this model"
    )


def source_url(publication: Publication, evaluation: Evaluation) -> str:
    revision = publication.tag or "main"
    return f"https://huggingface.co/{publication.repo_id}/blob/{revision}/{RESULTS}/{evaluation.kind}.json"


def note(cell: dict[str, Any], corpus: dict[str, Any], score: str, settings: dict[str, Any]) -> str:
    """What was asked, so that the value can be understood away from the card."""
    texts = corpus["texts"] if "texts" in corpus else corpus["test_texts"]
    asked = f"{cell['count']:,} hidden tokens of {texts:,} texts" if "targets" in cell else f"{texts:,} texts"
    how = f", {100 * settings['mlm_probability']:.0f} % hidden, all as [MASK]" if "targets" in cell else ""
    low, high = (f"{cell[score][end]:.{DIGITS}f}" for end in ("low", "high"))
    return (
        f"{asked} of {', '.join(corpus['names'])} (fingerprint {corpus['fingerprint'][:12]}){how}; "
        f"95 % interval {low} to {high}"
    )
