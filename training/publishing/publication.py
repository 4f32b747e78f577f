"""A trained folder and the repository it is to become."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_bilma.convert_keras import EMOJI_15
from training.common.errors import InputError
from training.common.files import read_json
from training.texts.regions import ALL_REGIONS, Region, get_region

# The pipeline of each architecture that is published, and what its repository's name ends with.
TASKS = {
    "BilmaForMaskedLM": ("fill-mask", ""),
    "BilmaForSequenceClassification": ("text-classification", "-emoji"),
}


@dataclass(frozen=True)
class Publication:
    """A trained folder on its way to the repository `repo_id` of the Hub, where `tag` will name the commit."""

    folder: Path
    region: Region
    pipeline_tag: str
    name: str
    org: str
    tag: str | None

    @property
    def repo_id(self) -> str:
        return f"{self.org}/{self.name}"


def open_publication(folder: Path, org: str, tag: str | None) -> Publication:
    """What a folder of pretrain.py or finetune.py is published as.

    Raises:
        InputError: if it is no trained BILMA folder, or is of no region or of a task that is not published.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a model folder, it holds no config.json")
    config = read_json(folder / "config.json")
    architecture = (config.get("architectures") or ["no architecture"])[0]
    if architecture not in TASKS:
        raise InputError(f"{folder}: holds {architecture}; published are {' and '.join(TASKS)}")
    if not config.get("region"):
        raise InputError(f"{folder}: config.json names no region: train it with --region")
    region = get_region(str(config["region"]))
    if region.code == ALL_REGIONS:
        raise InputError(f"{folder}: is of all regions; published are the models of one region each")
    pipeline_tag, ending = TASKS[architecture]
    if pipeline_tag == "text-classification":
        check_labels(folder, config)
    return Publication(folder, region, pipeline_tag, f"bilma-{region.code}{ending}", org, tag)


def check_labels(folder: Path, config: dict[str, Any]) -> None:
    """Of classifiers only those of emoji are published: the name, the card and the results speak of Emoji-15."""
    if others := sorted(set((config.get("id2label") or {0: "no labels"}).values()) - set(EMOJI_15)):
        raise InputError(f"{folder}: a classifier with the label {others[0]}; published are those of Emoji-15")
