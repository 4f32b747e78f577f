"""What a result has to say about where it came from: versions, commit, machine."""

import os
import platform
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


def machine(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "gpus": torch.cuda.device_count()}
    return {
        "device": f"{platform.machine()} CPU",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }
