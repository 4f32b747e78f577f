"""Initialise a new model from the texts: word vectors, and an output bias from token frequencies."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import TokenizersBackend

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import BIAS, log_frequency_ratios
from training.common.errors import InputError, as_input_error
from training.common.files import file_sha256
from training.pretraining.arguments import PretrainArguments
from training.pretraining.data import Data
from training.texts.word_vectors import FACTS_FILE, VECTORS_FILE, VECTORS_NAME, vocabulary_fingerprint


def start_from_texts(
    args: PretrainArguments, model: BilmaForMaskedLM, data: Data, tokenizer: TokenizersBackend
) -> None:
    """Set the word vectors and biases of a new model by the flags.

    Raises:
        InputError: if the word vectors cannot be read, or do not have the size of the model.
    """
    if args.word_vectors:
        set_word_vectors(model, Path(args.word_vectors))
    if args.add_regions:
        start_biases(model, data, tokenizer)
    if args.output_bias == "frequencies":
        bias = log_frequencies(data.count_tokens(model.config.vocab_size), tokenizer.all_special_ids)
        with torch.no_grad():
            model.decoder.bias.copy_(torch.from_numpy(bias))


def start_biases(model: BilmaForMaskedLM, data: Data, tokenizer: TokenizersBackend) -> None:
    """Set the bias of each region to the log ratio of token frequencies in its training texts."""
    counts = data.count_tokens_by_region(model.config)
    counts[:, tokenizer.all_special_ids] = 0  # never predicted
    with as_input_error(ValueError), torch.no_grad():
        model.get_parameter(BIAS).copy_(log_frequency_ratios(torch.from_numpy(counts)))


def set_word_vectors(model: BilmaForMaskedLM, folder: Path) -> None:
    """Copy word vectors into a model.

    Raises:
        InputError: if they cannot be read, or do not have the size of the model.
    """
    path = folder / VECTORS_FILE
    with as_input_error(OSError, SafetensorError, KeyError):
        vectors = load_file(path)[VECTORS_NAME]
    weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]  # Module says no more
    if vectors.shape != weight.shape:
        made, needed = (" x ".join(map(str, shape)) for shape in (vectors.shape, weight.shape))
        raise InputError(
            f"--word_vectors {folder}: {made} numbers, and the model has {needed} (tokens x hidden_size): make them "
            "with the same tokenizer and --size"
        )
    with torch.no_grad():
        weight.copy_(vectors)


def log_frequencies(counts: np.ndarray, special_ids: list[int]) -> np.ndarray:
    """Return the log frequency of each token among those that can be masked, with add-one smoothing.

    Args:
        counts: (V,) occurrences of each token.
        special_ids: tokens that are never masked; they count as tokens that do not occur.

    Returns:
        (V,) float32.
    """
    counts = counts.copy()
    counts[special_ids] = 0
    return np.log((counts + 1) / (counts + 1).sum()).astype(np.float32)


def vectors_fingerprint(folder: str | None, tokenizer: TokenizersBackend) -> str | None:
    """Return the SHA-256 of the file of word vectors; None if there is none.

    Raises:
        InputError: if the file cannot be read, or the vectors were made with another tokenizer.
    """
    if folder is None:
        return None
    with as_input_error(OSError, ValueError, KeyError):
        vocabulary = json.loads((Path(folder) / FACTS_FILE).read_text(encoding="utf-8"))["vocabulary"]
        digest = file_sha256(Path(folder) / VECTORS_FILE)
    if vocabulary != vocabulary_fingerprint(tokenizer):
        raise InputError(f"--word_vectors {folder}: made with another tokenizer: give that one as --tokenizer")
    return digest
