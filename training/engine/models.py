"""Open and save BILMA models: float32 in memory during training, bfloat16 in the folders that are published."""

from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError

from modeling_bilma import BilmaPreTrainedModel
from modeling_bilma.file_modes import give_default_modes
from training.common.errors import InputError, as_input_error
from training.common.weights import check_weights

Model = TypeVar("Model", bound=BilmaPreTrainedModel)


def open_whole(model_class: type[Model], path_or_id: str, **settings: Any) -> Model:
    """Open a BILMA model and all of its weights from a folder or the Hub, in float32 unless `dtype` is given.

    Args:
        settings: values of the configuration to change.

    Raises:
        InputError: if there is no such model, its weights are incomplete, or it lacks a weight of `model_class`.
    """
    check_weights(path_or_id)
    with as_input_error(ValueError, OSError, RuntimeError, StrictDataclassError):
        opened: Any = model_class.from_pretrained(
            path_or_id, output_loading_info=True, **{"dtype": torch.float32, **settings}
        )
    model, info = opened
    if info["missing_keys"]:
        raise InputError(f"{path_or_id} is not a whole {model_class.__name__}: it lacks {min(info['missing_keys'])}")
    return model


def save_model(model: BilmaPreTrainedModel, folder: Path) -> None:
    """Save the model with its code, as a bfloat16 copy of half the size; the model itself is not changed."""
    published = deepcopy(model).bfloat16()
    published.config.sparse_prediction = False
    published.save_pretrained(folder)
    give_default_modes(folder)
