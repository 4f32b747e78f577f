"""The authors' published results (arXiv 2110.06128 and the README of their package): two matrices and completions.

The files beside this module hold their figures as published; this project measured none of them.
"""

import csv
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "published"


def matrix(name: str) -> dict[tuple[str, str], float]:
    """Read a published matrix, `mlm_accuracy` or `emoji15_accuracy`: (test region, model's region) -> accuracy."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return {
            (row["test_region"].lower(), region.lower()): float(value)
            for row in csv.DictReader(file)
            for region, value in row.items()
            if region != "test_region"
        }


def completions() -> dict[str, dict[str, list[str]]]:
    """Read the ten words, the likeliest first, that the authors report for each phrase and region of a model."""
    found = json.loads((FOLDER / "fill_mask_top10.json").read_text(encoding="utf-8"))
    return {
        phrase: {region.lower(): words for region, words in by_region.items()} for phrase, by_region in found.items()
    }
