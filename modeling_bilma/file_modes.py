"""Modes of the files that are written."""

import os
from pathlib import Path


def give_default_modes(folder: Path) -> None:
    """Set the modes of all files in a folder by the umask: safetensors makes its files private."""
    umask = os.umask(0)
    os.umask(umask)
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o666 & ~umask)
