"""The card of a model: the README.md of its repository, from its results, its metrics, and the facts of its region.

The words are in `model_cards/card.md.jinja`, in Spanish and English; here is what they are filled with.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, UndefinedError
from safetensors import safe_open

from training.common.errors import InputError
from training.common.files import read_json
from training.common.markdown import markdown_table
from training.common.provenance import weights_fingerprint
from training.evaluation.results import number
from training.publishing.card_evaluation import Results, evaluation_facts, score_table
from training.publishing.eval_results import EVALUATIONS, RESULTS, model_index
from training.publishing.facts import MODEL_CARDS, read_facts
from training.publishing.publication import Publication

TEMPLATE = "card.md.jinja"
# The flags that say how a model was trained; those that name texts and folders, or only steer a run, are not shown.
RECIPE = """
    pooling class_weights mlm_weight num_train_epochs max_steps patience texts_per_step max_length mlm_probability
    learning_rate lr_scheduler_type warmup_ratio decay_ratio weight_decay adam_beta1 adam_beta2 adam_epsilon
    max_grad_norm tie_word_embeddings attend_to_padding config_overrides seed seeds
"""


def render_card(publication: Publication, results: Results, figures: Sequence[str]) -> str:
    """The whole README.md.

    Args:
        results: by kind, as `training.evaluation.results.read_results` gives them.
        figures: names of the pictures that lie in the repository, to be shown.

    Raises:
        InputError: if the region's facts, the folder's metrics, or the results of this model are missing.
    """
    metrics, training_args, config = (
        read_json(publication.folder / name) for name in ("metrics.json", "training_args.json", "config.json")
    )
    facts = read_facts(publication.region)
    base = base_model(publication, training_args, metrics, results)
    try:
        return card_template().render(
            front_matter=metadata(publication, results, training_args, facts, base).to_yaml(),
            publication=publication,
            facts=facts,
            metrics=metrics,
            training_args=training_args,
            recipe=recipe(training_args),
            config=config,
            parameters=count_parameters(publication.folder / "model.safetensors"),
            base=base,
            started_from=started_from(training_args),
            first_part=first_part(publication, training_args, metrics),
            evaluation=evaluation_facts(publication, results),
            figures=figures,
        )
    except UndefinedError as error:
        raise InputError(
            f"{publication.folder}: its card cannot be filled in ({error}): publish a folder of the present "
            "pretrain.py or finetune.py, with results of the present evaluate_family.py"
        ) from error


def card_template() -> Template:
    """The template, in which what is missing is an error and never an empty place."""
    environment = Environment(
        loader=FileSystemLoader(MODEL_CARDS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"thousands": thousands, "percent": percent, "duration": duration}
    helpers = {"markdown_table": markdown_table, "number": number, "score_table": score_table}
    environment.globals |= helpers | {"results_folder": RESULTS}
    return environment.get_template(TEMPLATE)


def metadata(
    publication: Publication, results: Results, training_args: dict[str, Any], facts: dict[str, Any], base: str | None
) -> ModelCardData:
    """The front matter: what the Hub files the model under."""
    locale = f"es-{publication.region.code.upper()}"
    fills_masks = publication.pipeline_tag == "fill-mask"
    dataset = training_args.get("dataset_name")
    metric_ids = [metric for metric, _ in EVALUATIONS[publication.pipeline_tag].metrics.values()]
    return ModelCardData(
        language="es",
        language_bcp47=[locale],
        license="mit",
        library_name="transformers",
        pipeline_tag=publication.pipeline_tag,
        tags=["bilma", "spanish", "regional-spanish", locale, *([] if fills_masks else ["emoji"])],
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=[dataset] if dataset and is_hub_id(dataset) else None,
        metrics=metric_ids,
        widget=[{"text": text} for text in facts["phrases" if fills_masks else "texts"]],
        model_name=publication.name,
        eval_results=model_index(publication, results),
    )


def base_model(
    publication: Publication, training_args: dict[str, Any], metrics: dict[str, Any], results: Results
) -> str | None:
    """The Hub id of the model that this one was trained from, None where there is none or it has no such id.

    A local folder is known by its weights: those of a model that was compared are the family's of its region. The
    model itself cannot be its own base.
    """
    name = started_from(training_args)
    if name is None:
        return None
    for model in results.get("mlm_matrix", {}).get("models", []):
        own = f"bilma-{model['region']}"
        if model["fingerprint"] == metrics.get("base_fingerprint") and own != publication.name:
            return f"{publication.org}/{own}"
    return name if "/" in name and is_hub_id(name) and name != publication.repo_id else None


def started_from(training_args: dict[str, Any]) -> str | None:
    """The model that was trained on: `--init_from` of pretrain.py, `--model` of finetune.py."""
    return training_args.get("model" if "task" in training_args else "init_from")


def first_part(
    publication: Publication, training_args: dict[str, Any], metrics: dict[str, Any]
) -> dict[str, Any] | None:
    """The metrics.json of the base beside the model, where `train_family.py` leaves it, if these are its weights."""
    folder = publication.folder.resolve().parent / Path(started_from(training_args) or ".").name
    known = metrics.get("base_fingerprint")
    if known is None or not (folder / "metrics.json").is_file() or weights_fingerprint(folder) != known:
        return None
    return read_json(folder / "metrics.json")


def is_hub_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def recipe(training_args: dict[str, Any]) -> str:
    """The flags that decided the model, as a recipe of YAML."""
    told = {name: training_args[name] for name in RECIPE.split() if training_args.get(name) not in (None, "")}
    return yaml.safe_dump(told, sort_keys=False).strip()


def count_parameters(weights: Path) -> int:
    """Read from the file's header; a tied head is stored, and counted, once."""
    with safe_open(weights, framework="pt") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    return sum(map(math.prod, shapes))


# The filters do arithmetic before they format: on what is missing that is an UndefinedError, and formatting is not.
def thousands(number: float) -> str:
    return f"{+number:,}"


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
