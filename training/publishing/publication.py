"""A trained folder and the repository it is to become."""

import json
from dataclasses import dataclass
from pathlib import Path

from training.errors import InputError, as_input_error
from training.regions import Region, get_region

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
    with as_input_error(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = (config.get("architectures") or ["no architecture"])[0]
    if architecture not in TASKS:
        raise InputError(f"{folder}: holds {architecture}; published are {' and '.join(TASKS)}")
    if not config.get("region"):
        raise InputError(f"{folder}: config.json names no region: train it with --region")
    region = get_region(config["region"])
    pipeline_tag, ending = TASKS[architecture]
    return Publication(folder, region, pipeline_tag, f"bilma-{region.code}{ending}", org, tag)
