"""Complete phrases that hold a mask."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, pipeline

from training.common.errors import InputError, as_input_error
from training.common.weights import check_weights

MASK = "[MASK]"  # not imported: once our package is loaded, its classes replace the code in a model's folder


Answers = list[tuple[str, float]]  # words and their probabilities, the likeliest first


def completions_by_column(model: str, phrases: list[str], top_k: int) -> list[tuple[str, list[Answers]]]:
    """Complete phrases with a model, once for each region if it has regional parts.

    Returns:
        The name of each column, a region's code or the name of the folder, and its answers to each phrase.

    Raises:
        InputError: as `completions` does.
    """
    with as_input_error(OSError, ValueError):
        regions = getattr(AutoConfig.from_pretrained(model, trust_remote_code=True), "regions", None)
    tokens = {region: f"[{region.upper()}] " for region in regions} if regions else {Path(model).name: ""}
    answers = iter(completions(model, [token + phrase for token in tokens.values() for phrase in phrases], top_k))
    return [(name, [next(answers) for _ in phrases]) for name in tokens]


def completions(model: str, phrases: list[str], top_k: int) -> list[Answers]:
    """Return, for each phrase, the `top_k` likeliest tokens at its mask with their probabilities.

    Runs the code that comes with the model.

    Raises:
        InputError: if the model cannot be opened, or has fewer than `top_k` tokens.
    """
    check_weights(model)
    with as_input_error(OSError, ValueError):
        (architecture, *_) = AutoConfig.from_pretrained(model, trust_remote_code=True).architectures or [""]
        if architecture.endswith("Classification"):
            raise InputError(f"{model} is a {architecture}: give a masked language model")
        fill_mask = pipeline("fill-mask", model=model, trust_remote_code=True)
    tokenizer = fill_mask.tokenizer
    assert tokenizer is not None
    if top_k > len(tokenizer):
        raise InputError(f"--top_k {top_k} is more than the {len(tokenizer)} tokens of {model}")
    phrases = [phrase.replace(MASK, tokenizer.mask_token) for phrase in phrases]
    for phrase, ids in zip(phrases, tokenizer(phrases, truncation=True)["input_ids"], strict=True):
        if tokenizer.mask_token_id not in ids:
            raise InputError(
                f"{model} reads {len(ids)} tokens of a phrase, too few to reach its mask: {phrase[:60]!r}"
            )
    answers: Any = fill_mask(phrases, top_k=top_k, tokenizer_kwargs={"truncation": True})
    if len(phrases) == 1:
        answers = [answers]
    return [[(token["token_str"], token["score"]) for token in of_phrase] for of_phrase in answers]


def check_phrases(phrases: list[str]) -> None:
    """Check that every phrase has one [MASK].

    Raises:
        InputError: if one has none or several.
    """
    for phrase in phrases:
        if phrase.count(MASK) != 1:
            raise InputError(f"phrase {phrase!r} holds {MASK} {phrase.count(MASK)} times: write it once")


def table(phrase: str, names: list[str], answers: list[Answers]) -> str:
    """Lay out the answers of several models to a phrase: a column for each model, a row for each rank."""
    columns = [
        [name, *(f"{word} {probability:.2f}" for word, probability in column)]
        for name, column in zip(names, answers, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = [phrase]
    for row in zip(*columns, strict=True):
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(lines)
