"""Results as JSON: one file per result, whole or absent; pictures and report are made from these and nothing else."""

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch

from training.common.errors import InputError, as_input_error
from training.common.files import write_text
from training.common.provenance import commit, machine, versions
from training.evaluation.models import ModelFolder
from training.evaluation.questions import AskedTexts

SCHEMA = 1
WAYS = "ways_matrix"
KINDS = (
    "mlm_matrix",
    "per_word_matrix",
    WAYS,
    "completions",
    "region_words",
    "similarity",
    "emoji15_matrix",
)


def header(
    kind: str, settings: dict[str, Any], folders: Sequence[ModelFolder], device: torch.device
) -> dict[str, Any]:
    """What a result begins with: what it is, how it was made, of which models, by which code."""
    return {
        "schema_version": SCHEMA,
        "kind": kind,
        "settings": settings,
        "models": [folder.facts() for folder in folders],
        "commit": commit(),
        "versions": versions(),
        "machine": machine(device),
    }


def corpus_facts(test: AskedTexts) -> dict[str, Any]:
    return {
        "region": test.region,
        "names": test.corpus.names(),
        "fingerprint": test.corpus.fingerprint,
        "test_texts": len(test.texts),
    }


def check_new(output_dir: Path, kinds: Sequence[str], overwrite: bool) -> None:
    """The results to be made are not there yet, or are meant to be replaced.

    Raises:
        InputError: else.
    """
    if output_dir.is_file():
        raise InputError(f"{output_dir} is a file: give a folder as --output_dir")
    for kind in kinds:
        if (output_dir / f"{kind}.json").exists() and not overwrite:
            raise InputError(
                f"{output_dir} already holds {kind}.json: give another --output_dir, or --overwrite to replace it"
            )


def write_result(output_dir: Path, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False, default=plain)
    write_text(output_dir / f"{result['kind']}.json", text + "\n")


def plain(value: Any) -> Any:
    """Estimates and numpy values as JSON has them."""
    if is_dataclass(value):
        return asdict(value)
    return value.tolist()


def read_results(output_dir: Path) -> dict[str, dict[str, Any]]:
    """The results of a folder by kind.

    Raises:
        InputError: if there is none, or one was written by code of another schema.
    """
    results = {}
    for kind in KINDS:
        path = output_dir / f"{kind}.json"
        if not path.is_file():
            continue
        with as_input_error(OSError, ValueError):
            result = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict) or (result.get("schema_version"), result.get("kind")) != (SCHEMA, kind):
            raise InputError(f"{path}: not a result of schema {SCHEMA} and kind {kind}: make it again")
        results[kind] = result
    if not results:
        raise InputError(f"{output_dir}: no result in this folder")
    return results


def models_in_order(result: dict[str, Any]) -> list[str]:
    """The columns of a matrix: models in the order given, then baselines."""
    return list(dict.fromkeys(cell["model"] for cell in result["cells"]))


def regions_in_order(result: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(cell["region"] for cell in result["cells"]))


def target_sets(result: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(cell["targets"] for cell in result["cells"]))


def number(estimate: dict[str, float] | None, digits: int = 3, to: str = "to") -> str:
    """A value with its interval, as `0.345 (0.331 to 0.359)`, or alone where it has none."""
    if estimate is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:.{digits}f}"
    value, low, high = (f"{estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} {to} {high})"
