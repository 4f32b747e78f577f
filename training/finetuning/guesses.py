"""What a classifier guesses of each test text, by seed: `test_guesses.json`, which paired comparisons need."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from training.common.errors import InputError
from training.common.files import read_json
from training.texts.labelled import LabelledTexts, label_ids

GUESSES_FILE = "test_guesses.json"
GUESSES_SCHEMA = 1


class Guesses(TypedDict):
    """The guesses of one method. Lists have an entry for each test text, in one order for all methods of a task.

    `fingerprint` is a SHA-256 of texts and labels in that order. `authors` numbers the authors, and is None where
    none is named. `folds` is 0 if the test texts are one part of the split. `by_seed` has classes by seed; `average`
    those of the classifier whose weights are the average over seeds, if it was made.
    """

    schema_version: int
    task: str
    method: str
    labels: list[str]
    fingerprint: str
    folds: int
    right: list[int]
    regions: list[str | None]
    authors: list[int] | None
    by_seed: dict[str, list[int]]
    average: list[int] | None


def describe_guesses(
    task: str,
    method: str,
    labels: Sequence[str],
    test: LabelledTexts,
    authors: Mapping[str, str],
    by_seed: Mapping[int, np.ndarray],
    average: np.ndarray | None = None,
    folds: int = 0,
) -> Guesses:
    """Compose the record of one method.

    Args:
        authors: by text, as `authors_of` finds them; a text without one counts as an author.
        by_seed: the number of the class of each test text, (texts,).
    """
    names = [authors.get(text, f"\0{number}") for number, text in enumerate(test.texts)]
    pairs = list(zip(test.texts, test.labels, strict=True))
    return {
        "schema_version": GUESSES_SCHEMA,
        "task": task,
        "method": method,
        "labels": list(labels),
        "fingerprint": hashlib.sha256(repr(pairs).encode(errors="surrogatepass")).hexdigest(),
        "folds": folds,
        "right": label_ids(test, labels, task).tolist(),
        "regions": test.regions,
        "authors": np.unique(names, return_inverse=True)[1].tolist() if authors else None,
        "by_seed": {str(seed): guessed.tolist() for seed, guessed in by_seed.items()},
        "average": None if average is None else average.tolist(),
    }


def read_guesses(path: Path) -> Guesses:
    """Read what `finetune.py` or `baselines.py` wrote.

    Raises:
        InputError: if the file is missing, or was written with another schema.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing: train the classifier, or measure the baselines, again")
    found = read_json(path)
    if found.get("schema_version") != GUESSES_SCHEMA:
        raise InputError(
            f"{path}: not of schema {GUESSES_SCHEMA}: train the classifier, or measure the baselines, again"
        )
    return Guesses(**found)  # type: ignore[typeddict-item]
