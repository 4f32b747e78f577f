"""The JSON file of a benchmark."""

import datetime
from pathlib import Path
from typing import Any

import torch

from training.common.files import write_json
from training.common.provenance import commit, machine, versions


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
