"""Complete phrases with several models, side by side.

    python training/complete.py --models bilma-mx bilma-ar --phrases "vamos a comer [MASK]" "estoy en [MASK]"

Models are folders or Hub ids. This runs the model code that lies beside their weights.
"""

import argparse
from pathlib import Path

from transformers import pipeline

from training.common.arguments import check_each
from training.common.errors import InputError, as_input_error, run

MASK = "[MASK]"  # not imported: with our package loaded, its classes would win over the folder's own code


def completions(model: str, phrases: list[str], top_k: int) -> list[list[tuple[str, float]]]:
    """For each phrase the `top_k` likeliest words at its mask, with their probabilities.

    Raises:
        InputError: if the model cannot be opened, or has fewer than `top_k` tokens.
    """
    with as_input_error(OSError, ValueError):
        fill_mask = pipeline("fill-mask", model=model, trust_remote_code=True)
    if top_k > len(fill_mask.tokenizer):
        raise InputError(f"--top_k {top_k} is more than the {len(fill_mask.tokenizer)} tokens of {model}")
    phrases = [phrase.replace(MASK, fill_mask.tokenizer.mask_token) for phrase in phrases]
    guesses = fill_mask(phrases, top_k=top_k, tokenizer_kwargs={"truncation": True})
    if len(phrases) == 1:
        guesses = [guesses]
    return [[(guess["token_str"], guess["score"]) for guess in answers] for answers in guesses]


def check_phrases(phrases: list[str]) -> None:
    """Every phrase has one [MASK].

    Raises:
        InputError: for one that has none or several.
    """
    for phrase in phrases:
        if phrase.count(MASK) != 1:
            raise InputError(f"phrase {phrase!r} holds {MASK} {phrase.count(MASK)} times: write it once")


def table(phrase: str, names: list[str], answers: list[list[tuple[str, float]]]) -> str:
    """One column for each model, one row for each rank."""
    columns = [
        [name, *(f"{word} {probability:.2f}" for word, probability in column)]
        for name, column in zip(names, answers, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = [phrase]
    for row in zip(*columns, strict=True):
        lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="model folders or Hub ids")
    parser.add_argument("--phrases", nargs="+", required=True, help="texts with one [MASK] each")
    parser.add_argument("--top_k", type=int, default=5, help="answers for each phrase")
    args = parser.parse_args()
    check_each(args, "1 or more", "top_k")
    check_phrases(args.phrases)
    by_model = [completions(model, args.phrases, args.top_k) for model in args.models]
    names = [Path(model).name for model in args.models]
    for number, phrase in enumerate(args.phrases):
        print(table(phrase, names, [answers[number] for answers in by_model]))


if __name__ == "__main__":
    run(main)
