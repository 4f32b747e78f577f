"""The end of a preparation: its counts, which have to add up, and the corpus in its place."""

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats
from datatrove.utils.typeshelper import StatHints

from training.common.errors import InputError
from training.common.files import write_json, write_text
from training.common.markdown import markdown_table
from training.corpus_preparation.folder import WorkFolder
from training.corpus_preparation.stages import WRITTEN
from training.corpus_preparation.steps import WITHOUT_AUTHOR

REPORT, COUNTS, TIMES = "README.md", "counts.json", "times.json"


class FinishCorpus(PipelineStep):
    """Writes the report of a preparation, and moves the corpus into its place.

    Raises:
        InputError: if no text is left.
        RuntimeError: if the texts read are not those written and left out.
    """

    type = "report"
    name = "finish"

    def __init__(self, folder: WorkFolder):
        super().__init__()
        self.folder = folder

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> None:
        """Finish the preparation; it may have been interrupted here before."""
        if not self.folder.corpus.exists():
            return
        stages = {stage.name: stage_stats(stage) for stage in sorted(self.folder.logs.iterdir())}
        counts = count_texts([*stages["clean"], *stages["write"]])
        if not counts["written"]:
            reasons = why_none(counts)
            raise InputError(
                f"no text is left of {counts['read']:,} records ({reasons}): check the flags and rules that leave "
                "texts out, then start again with --overwrite"
            )
        write_json(self.folder.corpus / COUNTS, counts)
        write_json(self.folder.corpus / TIMES, seconds_by_step(stages))
        write_text(self.folder.corpus / REPORT, describe(counts))
        os.replace(self.folder.corpus, self.folder.output)
        self.folder.remove_intermediate()


def stage_stats(logs: Path) -> list[dict[str, Any]]:
    """Return the summed statistics of each step of a stage, in their order."""
    files = sorted((logs / "stats").glob("*.json"))
    tasks = [PipelineStats.from_json(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    return [step.to_dict() for step in sum(tasks, start=PipelineStats()).stats]


def count_texts(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Count the texts that went into the steps, out of them, and why others did not.

    Raises:
        RuntimeError: if the counts do not add up.
    """
    filters: list[dict[str, Any]] = []
    written: Counter[str] = Counter()
    without_author = 0
    for step in steps:
        counts = {name: int(_number(value)) for name, value in step["stats"].items()}
        name = step["name"].split(": ")[1]
        without_author += counts.get(WITHOUT_AUTHOR, 0)
        if StatHints.forwarded in counts or StatHints.dropped in counts:
            reasons = {key.removeprefix("dropped_"): n for key, n in counts.items() if key.startswith("dropped_")}
            dropped = counts.get(StatHints.dropped, 0)
            filters.append(
                {
                    "step": name,
                    "in": counts[StatHints.total],
                    "left_out": reasons or ({name: dropped} if dropped else {}),
                    "out": counts.get(StatHints.forwarded, 0),
                }
            )
        elif name == WRITTEN:  # of two writers the last one's count stays
            written = Counter({key: n for key, n in counts.items() if key.count("/") == 2})
    for before, after in pairwise(filters):
        _require(before["out"], after["in"], f"{after['step']} after {before['step']}")
    for step in filters:
        _require(step["in"], step["out"] + sum(step["left_out"].values()), step["step"])
    _require(filters[-1]["out"] if filters else 0, written.total(), WRITTEN)
    corpus: dict[str, dict[str, int]] = {}
    for name, number in sorted(written.items()):
        region, split, _ = name.split("/")
        corpus.setdefault(region, {})[split] = number
    return {
        "read": filters[0]["in"] if filters else 0,
        "steps": filters,
        "without_author": without_author,
        "written": written.total(),
        "corpus": corpus,
    }


def why_none(counts: dict[str, Any]) -> str:
    """Say what was left out, in one clause."""
    reasons = (f"{n:,} {reason}" for step in counts["steps"] for reason, n in step["left_out"].items())
    return ", ".join(reasons) or "empty dumps"


def _number(value: Any) -> float:
    return value["total"] if isinstance(value, dict) else value  # of nothing datatrove writes a plain 0


def _require(expected: int, counted: int, where: str) -> None:
    if expected != counted:
        raise RuntimeError(f"{where}: {expected:,} texts expected, {counted:,} counted")


def seconds_by_step(stages: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """Return the seconds of work of each step of each stage, over all processes."""
    return {
        stage: {step["name"].split(": ")[1]: round(_number(step["time_stats"]), 3) for step in steps}
        for stage, steps in stages.items()
    }


def describe(counts: dict[str, Any]) -> str:
    """Write the counts for a reader."""
    rows = []
    for step in counts["steps"]:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(step["left_out"].items()))
        rows.append([step["step"], f"{step['in']:,}", f"{step['out']:,}", reasons or "none"])
    splits = ("train", "validation", "test")
    regions = [
        [region, *(f"{numbers.get(split, 0):,}" for split in splits)] for region, numbers in counts["corpus"].items()
    ]
    head = (
        f"{counts['read']:,} records read, {counts['written']:,} texts written. Before duplicates were left out, "
        f"{counts['without_author']:,} texts named no author: these are split one by one."
    )
    steps = markdown_table(["step", "in", "out", "left out"], rows)
    return f"# Corpus\n\n{head}\n\n{steps}\n\n{markdown_table(['region', *splits], regions)}\n"
