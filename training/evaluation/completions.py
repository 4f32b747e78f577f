"""Completions of phrases, models side by side."""

from collections.abc import Sequence
from pathlib import Path

from training.common.errors import InputError, as_input_error
from training.common.progress import ProgressBar
from training.evaluation import published
from training.evaluation.models import ModelFolder
from training.evaluation.results import CompletionsResult, PhraseCompletions
from training.inference.completions import MASK, check_phrases, completions, table


def read_phrases(path: str | None) -> list[str]:
    """Read the phrases of a file, one a line; without a file, return the five of the published table.

    Raises:
        InputError: for a file that cannot be read or holds none, and a phrase without exactly one [MASK].
    """
    if path is None:
        return list(published.completions())
    with as_input_error(OSError, ValueError):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    phrases = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not phrases:
        raise InputError(f"{path}: no phrase in this file: write one a line, with {MASK} in it")
    check_phrases(phrases)
    return phrases


def completion_table(folders: Sequence[ModelFolder], phrases: list[str], top_k: int) -> list[PhraseCompletions]:
    """Complete each phrase with the `top_k` likeliest words of every model, with their probabilities."""
    answers = {
        folder.name: completions(str(folder.path), [folder.prefix + phrase for phrase in phrases], top_k)
        for folder in ProgressBar(folders, desc="completions", unit=" models")
    }
    return [
        {
            "phrase": phrase,
            "by_model": [
                {
                    "model": name,
                    "answers": [
                        {"word": word.strip(), "probability": probability} for word, probability in found[number]
                    ],
                }
                for name, found in answers.items()
            ],
        }
        for number, phrase in enumerate(phrases)
    ]


def as_text(result: CompletionsResult) -> str:
    """Format a result as `complete.py` prints it."""
    return "\n\n".join(
        table(
            entry["phrase"],
            [column["model"] for column in entry["by_model"]],
            [
                [(answer["word"], answer["probability"]) for answer in column["answers"]]
                for column in entry["by_model"]
            ],
        )
        for entry in result["phrases"]
    )
