"""The weight files of a model folder."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from training.common.errors import InputError

LFS_POINTER = b"version https://git-lfs"


def check_weights(path_or_id: str | Path) -> None:
    """Check that the weight files of a model folder are complete; what is no folder is left to the Hub.

    Raises:
        InputError: if a file is a Git LFS pointer, or is incomplete.
    """
    for file in sorted(Path(path_or_id).glob("*.safetensors")):
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise InputError(f"{file} is a Git LFS pointer instead of weights: fetch them with git lfs pull")
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise InputError(f"{file} is incomplete ({error}): check it out or copy it again") from error
