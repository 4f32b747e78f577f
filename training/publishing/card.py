"""The card of a model, which is the README.md of its repository, made from results, metrics and regional facts.

The text is in `model_cards/card.md.jinja`; this module collects the values that fill it in.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from huggingface_hub.utils import HFValidationError, validate_repo_id
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, UndefinedError
from safetensors import safe_open

from modeling_bilma.tokenization_bilma import region_token
from training.common.errors import InputError
from training.common.files import read_json
from training.common.markdown import markdown_table
from training.evaluation.results import number
from training.publishing.card_evaluation import card_evaluation
from training.publishing.command import training_command
from training.publishing.eval_results import EVALUATIONS, Results, model_index
from training.publishing.facts import MODEL_CARDS, Facts, read_facts
from training.publishing.publication import Publication, repository_name

TEMPLATE = "card.md.jinja"
LICENSE_NAME = "bilma-research"  # of the weights: their training texts may be used for research only
WATTS_PER_CORE = 10  # assumed: the power of a server, memory and cooling included, divided by its cores
GRAMS_PER_KWH = 475  # of CO2: world mean of electricity, IEA Global Energy & CO2 Status Report 2019
EXAMPLE = re.compile(r"```python\n(?P<code>(?:(?!```).*\n)*?)(?P<printed>(?:# .*\n)+)```")


def render_card(publication: Publication, results: Results, printed: str, picture: str | None) -> str:
    """Render the README.md of a model.

    Args:
        printed: output of `example_code`.
        picture: path of a picture in the repository, None for none.

    Raises:
        InputError: if the facts, metrics or results of the model are missing.
    """
    metrics, training_args = (read_json(publication.trained / name) for name in ("metrics.json", "training_args.json"))
    config = read_json(publication.folder / "config.json")
    facts = read_facts(publication.region)
    family = read_facts(None)
    memorisation = family.get("memorisation")
    base = base_model(publication, training_args, metrics, results)
    try:
        carbon = carbon_footprint(publication, metrics)
        return card_template().render(
            front_matter=metadata(publication, results, training_args, facts, base, carbon).to_yaml(),
            publication=publication,
            facts=facts,
            family=family,
            memorisation=memorisation if memorisation and memorisation["model"] == publication.fingerprint else None,
            metrics=metrics,
            config=config,
            parameters=count_parameters(publication.folder / "model.safetensors"),
            base=base,
            command=training_command(training_args),
            seconds=training_seconds(metrics),
            carbon=carbon,
            evaluation=card_evaluation(publication, results),
            code=example_code(publication, facts),
            printed=printed,
            picture=picture,
        )
    except (UndefinedError, KeyError) as error:
        raise InputError(
            f"{publication.trained}: its card cannot be filled in ({error}): publish a folder of the present "
            "pretrain.py or finetune.py, with results of the present evaluate_family.py"
        ) from error


def card_template() -> Template:
    """Return the template; a missing value is an error instead of a gap in the text."""
    environment = Environment(
        loader=FileSystemLoader(MODEL_CARDS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"thousands": thousands, "duration": duration}
    environment.globals |= {"markdown_table": markdown_table, "number": number, "license_name": LICENSE_NAME}
    environment.globals["grams_per_kwh"] = GRAMS_PER_KWH
    return environment.get_template(TEMPLATE)


def example_code(publication: Publication, facts: Facts, folder: Path | None = None) -> str:
    """Return the first code example of the card.

    Args:
        folder: folder to open the model from, instead of the Hub.
    """
    source = json.dumps(str(folder or publication.repo_id), ensure_ascii=False)
    pin = f', revision="{publication.tag}"' if publication.tag and not folder else ""
    start = f"pipe = pipeline({json.dumps(publication.pipeline_tag)}, {source}{pin}, trust_remote_code=True)\n"
    if not publication.fills_masks:
        ask = f'print([answer["label"] for answer in pipe({quoted(texts_to_try(publication, facts)[0])}, top_k=3)])\n'
    elif publication.regions:
        ask = "".join(
            f'print([answer["token_str"] for answer in pipe({quoted(phrase)})])\n' for phrase in facts["phrases"]
        )
    else:
        ask = f'print([answer["token_str"] for answer in pipe({quoted(facts["phrases"][0])})])\n'
    return f"from transformers import pipeline\n\n{start}{ask}"


def texts_to_try(publication: Publication, facts: Facts) -> list[str]:
    """Return the examples among the facts, behind the token of a region if that is how a classifier was trained."""
    if publication.fills_masks:
        return facts["phrases"]
    token = f"{region_token(publication.regions[0])} " if publication.regions else ""
    return [f"{token}{text}" for text in facts["texts"]]


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def card_example(card: str) -> tuple[str, str]:
    """Return the first code example in a card that shows its output, and that output.

    Raises:
        InputError: if the card has no such example.
    """
    found = EXAMPLE.search(card)
    if not found:
        raise InputError("the card has no Python code with its output as comments below it")
    return found["code"], found["printed"].replace("# ", "", 1).replace("\n# ", "\n").strip()


def metadata(
    publication: Publication,
    results: Results,
    training_args: dict[str, Any],
    facts: Facts,
    base: str | None,
    carbon: dict[str, Any] | None,
) -> ModelCardData:
    """Return the front matter, by which the Hub indexes the model."""
    regions = [publication.region] if publication.region else list(publication.regions)
    locales = [f"es-{region.upper()}" for region in regions]
    dataset = training_args.get("dataset_name")
    evaluation = EVALUATIONS[publication.pipeline_tag]
    return ModelCardData(
        language="es",
        license="other",
        license_name=LICENSE_NAME,
        license_link="LICENSE",
        library_name="transformers",
        pipeline_tag=publication.pipeline_tag,
        tags=["bilma", "spanish", "regional-spanish", *locales, *([] if publication.fills_masks else ["emoji"])],
        base_model=base,
        base_model_relation="finetune" if base else None,
        datasets=[dataset] if dataset and is_hub_id(dataset) else None,
        metrics=[metric for metric, _ in evaluation.metrics.values()],
        widget=[{"text": text} for text in texts_to_try(publication, facts)],
        co2_eq_emissions=carbon,
        model_name=publication.name,
        eval_results=model_index(publication, results),
    )


def base_model(
    publication: Publication, training_args: dict[str, Any], metrics: dict[str, Any], results: Results
) -> str | None:
    """Return the Hub id of the model that this one was trained from; None if there is none, or none on the Hub.

    The base of a regional model is the body that its part was merged into. A local folder is recognised by its
    weights, if they belong to an evaluated model.
    """
    body = f"{publication.org}/{repository_name(None)}"
    if publication.folder != publication.trained:
        return body
    name = training_args.get("model" if "task" in training_args else "init_from")
    if name is None:
        return None
    compared = results.get("mlm_matrix", {}).get("models", [])
    regions = {model["region"] for model in compared if model["fingerprint"] == metrics.get("base_fingerprint")}
    if regions:
        base = body if len(regions) > 1 else f"{publication.org}/{repository_name(regions.pop())}"
        return base if base != publication.repo_id else None
    return name if "/" in name and is_hub_id(name) and name != publication.repo_id else None


def is_hub_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def training_seconds(metrics: dict[str, Any]) -> float:
    """Return the wall time of all stages that metrics.json lists, or else of its only training."""
    if stages := metrics.get("stages"):
        return sum(stage["seconds"] for stage in stages)
    return metrics["seconds"] if "seconds" in metrics else metrics["training"]["seconds"]


def carbon_footprint(publication: Publication, metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Estimate the grams of CO2 from the wall time on CPU cores; None for a GPU, whose power is not known."""
    machine = metrics["machine"]
    if "gpus" in machine:
        return None
    cores = machine["threads"] * machine.get("processes", 1)
    kilowatt_hours = training_seconds(metrics) / 3600 * cores * WATTS_PER_CORE / 1000
    return {
        "emissions": round(kilowatt_hours * GRAMS_PER_KWH, 1),
        "source": (
            f"estimated from the wall time: {cores} {'core' if cores == 1 else 'cores'} at {WATTS_PER_CORE} W, "
            f"{GRAMS_PER_KWH} g of CO2 per kWh"
        ),
        "training_type": "pre-training" if publication.fills_masks else "fine-tuning",
        "hardware_used": machine["device"],
    }


def count_parameters(weights: Path) -> int:
    """Count parameters by the header of the weights file; a tied head is stored, and so counted, once."""
    with safe_open(weights, framework="pt") as tensors:
        shapes = [tensors.get_slice(name).get_shape() for name in tensors.keys()]  # noqa: SIM118
    return sum(map(math.prod, shapes))


# The filters calculate before they format: with a missing value this raises UndefinedError, which formatting does not.
def thousands(number: float) -> str:
    return f"{+number:,}"


def duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
