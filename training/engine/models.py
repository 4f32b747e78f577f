"""Open and save BILMA models in training: float32 in memory, bfloat16 in the folders that are published."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError

from modeling_bilma import BilmaPreTrainedModel
from training.common.errors import InputError, as_input_error

Model = TypeVar("Model", bound=BilmaPreTrainedModel)


def open_whole(model_class: type[Model], path_or_id: str, **settings: Any) -> Model:
    """Open a BILMA from a folder or the Hub in float32, every weight of it read from there.

    Args:
        settings: keys of the configuration to change.

    Raises:
        InputError: if there is no such model, or it lacks a weight of `model_class`.
    """
    with as_input_error(ValueError, OSError, RuntimeError, StrictDataclassError):
        model, info = model_class.from_pretrained(
            path_or_id, dtype=torch.float32, output_loading_info=True, **settings
        )
    if info["missing_keys"]:
        raise InputError(f"{path_or_id} is not a whole {model_class.__name__}: it lacks {min(info['missing_keys'])}")
    return model


def save_model(model: BilmaPreTrainedModel, folder: Path) -> None:
    """Save a copy of the model in bfloat16, half the size, with its code; the model itself stays as it is."""
    published = deepcopy(model).to(torch.bfloat16)
    published.config.sparse_prediction = False
    published.save_pretrained(folder)
    give_default_modes(folder)


def give_default_modes(folder: Path) -> None:
    """Give the files of a folder the mode that the umask asks for: safetensors leaves them private."""
    umask = os.umask(0)
    os.umask(umask)
    for file in folder.iterdir():
        if file.is_file():
            file.chmod(0o666 & ~umask)
