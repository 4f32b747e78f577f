"""The flags that benchmarks share, and the JSON file of a benchmark."""

import argparse
import datetime
from pathlib import Path
from typing import Any

import torch

from training.common.files import write_json
from training.common.provenance import commit, machine, versions

RESULTS = Path(__file__).parent / "results"


def text_parser(description: str, name: str) -> argparse.ArgumentParser:
    """Make a parser with `--train_file`, and `--output`, a JSON file of that name among the results."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--train_file", nargs="+", required=True, help="texts to measure with")
    parser.add_argument("--output", type=Path, default=RESULTS / f"{name}.json", help="file for the result")
    return parser


def write_result(path: Path, device: torch.device, **found: Any) -> dict[str, Any]:
    """Write what was found, with date, commit, machine and versions unless `found` has them; return it all."""
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(device),
        "versions": versions(),
        **found,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    return result
