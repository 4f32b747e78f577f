"""The models to publish: a trained folder, or one region of a body with regional parts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub.utils import HFValidationError, validate_repo_id

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.published import EMOJI_15
from modeling_bilma.regional import merge_region
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError, as_input_error
from training.common.files import read_json
from training.common.provenance import weights_fingerprint
from training.engine.models import open_whole
from training.texts.regions import ALL_REGIONS, get_region

FILL_MASK, CLASSIFICATION = "fill-mask", "text-classification"
# The pipeline of each published architecture, and the ending of its repository name.
TASKS = {
    "BilmaForMaskedLM": (FILL_MASK, ""),
    "BilmaForSequenceClassification": (CLASSIFICATION, "-emoji"),
}


@dataclass(frozen=True)
class Publication:
    """A model to be pushed to the repository `repo_id`, in a commit tagged `tag`.

    Args:
        folder: weights, tokenizer and configuration to publish.
        trained: the folder that was trained and evaluated, with metrics.json and training_args.json. It differs
            from `folder` for a regional model merged from a body with regional parts.
        region: country code, None for a model of all regions.
        regions: the regions whose tokens the model takes in front of a text: those that a body has parts for, or
            that a classifier was trained with; empty for any other model.
    """

    folder: Path
    trained: Path
    region: str | None
    pipeline_tag: str
    name: str
    org: str
    tag: str | None
    regions: tuple[str, ...] = ()

    @property
    def repo_id(self) -> str:
        return f"{self.org}/{self.name}"

    @property
    def fills_masks(self) -> bool:
        return self.pipeline_tag == FILL_MASK

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the weights that were evaluated."""
        return weights_fingerprint(self.trained)


def repository_name(region: str | None, ending: str = "") -> str:
    return f"bilma-{region}{ending}" if region else f"bilma{ending}"


def open_publications(folder: Path, org: str, tag: str | None, home: Path) -> Iterator[Publication]:
    """Yield the models to publish from a trained folder: itself and, if it has regional parts, one for each region.

    Args:
        home: folder for the merged regional models.

    Raises:
        InputError: if the folder contains no trained BILMA, its task is not published, or its repository name is not
            valid on the Hub.
    """
    config = read_config(folder)
    pipeline_tag, ending = TASKS[config["architectures"][0]]
    region, regions = region_of(folder, config), tuple(config.get("regions") or ())
    if pipeline_tag == CLASSIFICATION:
        check_labels(folder, config)
        regions = tuple(code for code in regions if config.get("region_tokens") and region in (None, code))
    elif region is None and not regions:
        raise InputError(
            f"{folder}: a model without a region or regional parts is not published: train it with --region, or add "
            "regional parts"
        )
    name = repository_name(region, ending)
    with as_input_error(HFValidationError):
        validate_repo_id(f"{org}/{name}")
    whole = Publication(folder, folder, region, pipeline_tag, name, org, tag, regions)
    yield whole
    if regions and whole.fills_masks:
        yield from merged_publications(whole, home)


def merged_publications(body: Publication, home: Path) -> Iterator[Publication]:
    """Write the plain model of every region into `home`, and yield it."""
    model = open_whole(BilmaForMaskedLM, str(body.folder), dtype="auto")
    with as_input_error(OSError, ValueError):
        tokenizer = load_tokenizer(body.folder)
    for region in body.regions:
        name = repository_name(region)
        with as_input_error(OSError, ValueError):
            plain, plain_tokenizer = merge_region(model, tokenizer, region)
            plain.save_pretrained(home / name)
            plain_tokenizer.save_pretrained(home / name)
        yield Publication(home / name, body.trained, region, FILL_MASK, name, body.org, body.tag)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a model.

    Raises:
        InputError: if there is none, or its architecture is not published.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a model folder, as it has no config.json")
    config = read_json(folder / "config.json")
    architecture = (config.get("architectures") or ["no architecture"])[0]
    if architecture not in TASKS:
        raise InputError(f"{folder}: the architecture is {architecture}; published are {' and '.join(TASKS)}")
    return config


def region_of(folder: Path, config: dict[str, Any]) -> str | None:
    """Return the region of a model, None for all: a classifier's base may be of all regions, and its texts of one."""
    region, records = config.get("region"), folder / "training_args.json"
    if region in (None, ALL_REGIONS) and records.is_file():
        region = read_json(records).get("region")
    return None if region in (None, ALL_REGIONS) else get_region(str(region)).code


def check_labels(folder: Path, config: dict[str, Any]) -> None:
    """Raise `InputError` unless all labels are of Emoji-15, the task that names, cards and results are about."""
    if others := sorted(set((config.get("id2label") or {0: "no labels"}).values()) - set(EMOJI_15)):
        raise InputError(f"{folder}: a classifier with the label {others[0]}; only those of Emoji-15 are published")
