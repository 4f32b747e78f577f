"""Provenance of a result: weights, versions, commit and machine."""

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.common.files import file_sha256

PACKAGES = ("accelerate", "datasets", "huggingface-hub", "tokenizers", "torch", "transformers")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the libraries that results depend on."""
    import modeling_bilma

    return {
        "modeling_bilma": modeling_bilma.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """Return the commit of this code, with `+changes` if files differ from it; None outside a git checkout."""
    here = Path(__file__).parent
    command = [
        "git",
        "-C",
        str(here),
        "describe",
        "--always",
        "--abbrev=40",
        "--exclude=*",
        "--dirty=+changes",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def weights_fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the weights of a model folder, by the names that transformers gives them."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.hexdigest()


def base_fingerprint(path_or_id: str | None) -> str | None:
    """Return the fingerprint of the starting checkpoint; None from scratch or from a Hub id."""
    return weights_fingerprint(Path(path_or_id)) if path_or_id and Path(path_or_id).is_dir() else None


def cpu_name() -> str | None:
    """Return the name of the CPU as Linux reports it; None on other systems."""
    path = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", path.read_text(), re.MULTILINE) if path.is_file() else []
    return names[0].removesuffix(" Processor") if names else None


def machine(device: torch.device) -> dict[str, Any]:
    """Return the facts of the machine that a timing depends on."""
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "gpus": torch.cuda.device_count()}
    return {
        "device": f"{cpu_name() or platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
