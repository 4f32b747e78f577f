"""Cross-validation of a task, the authors of its texts, and checks of flags that models and baselines share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.common.errors import InputError
from training.texts.emoji15 import emoji15
from training.texts.labelled import LabelledSplits, LabelledTexts
from training.texts.splits import split_hash, text_hash
from training.texts.tagged import TOKEN_TASK, TaggedArguments

VALIDATION = 10  # one in so many texts outside a fold chooses the best model


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise `InputError` for seeds that are out of range, repeated or missing."""
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise InputError(f"--seeds {' '.join(map(str, seeds))}: give different numbers from 0 to below 2^32")


def check_folds(folds: int, task: str) -> None:
    """Raise `InputError` for a number of folds that cannot be, or that the task does not take."""
    if folds < 0 or folds == 1:
        raise InputError(f"--folds {folds}: give 2 or more, or 0 for the one test part")
    if folds and task == TOKEN_TASK:
        raise InputError(f"--folds is for classes of texts: leave it out with --task {TOKEN_TASK}")


def check_part_files(args: TaggedArguments) -> None:
    """Raise `InputError` for files of parts that the task does not take."""
    if (args.validation_file or args.test_file) and args.task != TOKEN_TASK:
        raise InputError(
            f"--validation_file and --test_file are for --task {TOKEN_TASK}: name the parts in a column split"
        )


def authors_of(splits: LabelledSplits) -> dict[str, str]:
    """Return the author of each text that names one (`--group_column`), by the text without its label."""
    corpus = splits.corpus
    authors: dict[str, str] = {}
    if corpus.group_column:
        for text, *values in corpus.rows():
            without_label = text if corpus.label_column else (emoji15(text) or (text,))[0]
            if values[-1]:
                authors.setdefault(without_label, values[-1])
    return authors


def cross_validation(splits: LabelledSplits, folds: int) -> list[LabelledSplits]:
    """Cut all texts of a task anew, so that each is a test text once.

    The hash of a text's author, or of the text, decides its fold, whatever part the file named for it. Texts outside a
    fold that equal one of its test texts, or for training one of its validation texts, are left out.

    Raises:
        InputError: if a fold has no text for one of its parts.
    """
    authors = authors_of(splits)
    parts = splits.parts().values()
    rows = [row for part in parts for row in zip(part.texts, part.labels, part.regions, strict=True)]
    hashes = np.array([split_hash(text, authors.get(text)) for text, *_ in rows])
    contents = np.array([text_hash(text) for text, *_ in rows])
    found = []
    for fold in range(folds):
        test = hashes % folds == fold
        outside = ~test & ~np.isin(contents, contents[test])
        validation = outside & (hashes // folds % VALIDATION == 0)
        train = outside & ~validation & ~np.isin(contents, contents[validation])
        chosen = {"train": train, "validation": validation, "test": test}
        for name, texts in chosen.items():
            if not texts.any():
                raise InputError(
                    f"--folds {folds}: fold {fold} has no text for {name}: give more texts, or fewer folds"
                )
        left_out = len(rows) - sum(int(texts.sum()) for texts in chosen.values())
        named = {name: labelled(rows, np.flatnonzero(texts)) for name, texts in chosen.items()}
        found.append(
            replace(
                splits,
                train=named["train"],
                validation=named["validation"],
                test=named["test"],
                duplicates=splits.duplicates + left_out,
            )
        )
    return found


def labelled(rows: Sequence[tuple[str, str, str | None]], numbers: np.ndarray) -> LabelledTexts:
    texts = LabelledTexts()
    for number in numbers:
        texts.add(*rows[number])
    return texts


def all_tests(folds: Sequence[LabelledSplits]) -> LabelledTexts:
    """Put the test texts of all folds together."""
    texts = LabelledTexts()
    for fold in folds:
        for row in zip(fold.test.texts, fold.test.labels, fold.test.regions, strict=True):
            texts.add(*row)
    return texts
