"""What a result has to say about where it came from: weights, versions, commit, machine."""

import hashlib
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("accelerate", "datasets", "huggingface-hub", "tokenizers", "torch", "transformers")


def versions() -> dict[str, str]:
    import modeling_bilma

    return {
        "modeling_bilma": modeling_bilma.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def commit() -> str | None:
    """The commit of this code, with `+changes` where files differ from it; None outside a git checkout."""
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
    """SHA-256 over the weights of a model folder, by the names that transformers gives them."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def base_fingerprint(path_or_id: str | None) -> str | None:
    """That of the weights a training begins with; None without any, and for a Hub id, which says itself what it is."""
    return weights_fingerprint(Path(path_or_id)) if path_or_id and Path(path_or_id).is_dir() else None


def cpu_name() -> str | None:
    """As Linux reports it; other systems have no place for it that Python can read."""
    path = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", path.read_text(), re.MULTILINE) if path.is_file() else []
    return names[0].removesuffix(" Processor") if names else None


def machine(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "gpus": torch.cuda.device_count()}
    return {
        "device": f"{cpu_name() or platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
