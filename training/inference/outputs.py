"""Open a model, and run it over texts in batches of similar length."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BatchEncoding,
    PreTrainedConfig,
    PreTrainedModel,
    TokenizersBackend,
)

from training.common.errors import InputError, as_input_error
from training.common.weights import check_weights
from training.engine.accelerator import best_precision
from training.texts.batches import batches_by_length
from training.texts.encoding import encode

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def open_config(path_or_id: str, trust_remote_code: bool = False) -> PreTrainedConfig:
    """Read the configuration of a model.

    Raises:
        InputError: if there is none.
    """
    try:
        return AutoConfig.from_pretrained(path_or_id, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        if not Path(path_or_id).exists():
            reason = f"{path_or_id}: no such folder, and no model of the Hub ({reason})"
        raise InputError(reason) from error


def open_model(
    auto_class: Any, path_or_id: str, dtype: str = "auto", trust_remote_code: bool = False
) -> tuple[PreTrainedModel, TokenizersBackend]:
    """Open a model with its tokenizer, on a GPU if there is one.

    Args:
        auto_class: what the model is opened with, such as `AutoModel`.
        dtype: float32, bfloat16, or auto: bfloat16 where the hardware multiplies in it.

    Raises:
        InputError: if they cannot be opened, if the model lacks weights, or if the tokenizer is no fast one.
    """
    check_weights(path_or_id)
    if dtype == "auto":
        dtype = "bfloat16" if best_precision() == "bf16" else "float32"
    with as_input_error(OSError, ValueError):
        tokenizer = AutoTokenizer.from_pretrained(path_or_id, trust_remote_code=trust_remote_code)
        model, info = auto_class.from_pretrained(
            path_or_id, dtype=DTYPES[dtype], trust_remote_code=trust_remote_code, output_loading_info=True
        )
    if info["missing_keys"]:
        raise InputError(f"{path_or_id} is not a whole {type(model).__name__}: it lacks {min(info['missing_keys'])}")
    if not isinstance(tokenizer, TokenizersBackend):
        raise InputError(f"{path_or_id}: its tokenizer has no tokenizer.json: save it as a fast tokenizer first")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def check_max_length(max_length: int, model: PreTrainedModel) -> None:
    """Raise `InputError` if texts may be longer than the model takes."""
    positions = model.config.max_position_embeddings
    if max_length > positions:
        raise InputError(f"--max_length {max_length} is more than the {positions} positions of the model")


def encode_texts(texts: Sequence[str], tokenizer: TokenizersBackend, max_length: int) -> tuple[list[list[int]], int]:
    """Return the token ids of each text, at most `max_length`, and the number of texts that were cut."""
    ids = encode(texts, tokenizer, max_length + 1)
    cut = [number for number, text in enumerate(ids) if len(text) > max_length]
    for number in cut:
        ids[number] = [*ids[number][: max_length - 1], ids[number][-1]]
    return ids, len(cut)


@torch.no_grad()
def batched_outputs(
    ids: Sequence[list[int]],
    model: PreTrainedModel,
    tokenizer: TokenizersBackend,
    texts_per_batch: int,
    bar: tqdm | None = None,
    **settings: Any,
) -> Iterator[tuple[np.ndarray, BatchEncoding, Any]]:
    """Run a model over texts; yield the numbers of the texts of a batch, the model's inputs, and its outputs.

    Args:
        ids: token ids of each text.
        settings: further arguments of the model.
    """
    for texts in batches_by_length([len(text) for text in ids], texts_per_batch):
        inputs = _padded([torch.tensor(ids[text]) for text in texts], tokenizer).to(model.device)
        yield texts, inputs, model(**inputs, **settings)
        if bar is not None:
            bar.update(len(texts))


def _padded(ids: list[Tensor], tokenizer: TokenizersBackend) -> BatchEncoding:
    """Pad the ids of texts as the tokenizer would, at less cost."""
    pad = partial(pad_sequence, batch_first=True, padding_side=tokenizer.padding_side)
    masks = [torch.ones_like(text) for text in ids]
    return BatchEncoding({"input_ids": pad(ids, padding_value=tokenizer.pad_token_id), "attention_mask": pad(masks)})
