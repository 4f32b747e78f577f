"""The Emoji-15 matrix, classifiers by test regions: accuracy and macro-F1 with intervals, and confusion matrices."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification

from modeling_bilma.published import EMOJI_15
from training.common.errors import InputError
from training.common.progress import ProgressBar, say
from training.evaluation.intervals import clusters_of, interval, resampled_together, sums_of_clusters
from training.evaluation.masked_texts import split_texts
from training.evaluation.models import ModelFolder
from training.evaluation.results import EmojiCell, EmojiDifference, Estimate, LabelledFacts, RegionWin
from training.evaluation.wins import own_differences, region_wins
from training.finetuning.scores import classification_scores, confusion
from training.texts.batches import batches_by_tokens
from training.texts.corpus import Corpus
from training.texts.emoji15 import emoji15
from training.texts.labelled import LabelledTexts, label_ids, labelled_corpus
from training.texts.lines import UTF8, FileFormat
from training.texts.report import Reason
from training.texts.splits import is_test, split_hash

FEWEST_LABELLED = 100  # test texts of a region; with fewer, the interval of an accuracy is 0.1 or more to each side


@dataclass
class LabelledTest:
    """The labelled test texts of one region with their authors, if any are named, and the files that they are from."""

    region: str
    names: list[str]
    texts: LabelledTexts
    authors: list[str | None]

    @property
    def drawn(self) -> str:
        """The unit that the bootstrap resamples: "authors" or "texts"."""
        return "authors" if any(self.authors) else "texts"

    def facts(self) -> LabelledFacts:
        described = self.texts.describe()
        return {
            "resampled": self.drawn,
            "authors": len(set(self.authors) - {None}) or None,
            "region": self.region,
            "names": self.names,
            "texts": described["texts"],
            "labels": described["labels"],
            "fingerprint": described["fingerprint"],
        }


@dataclass
class RegionScores:
    """What one test region adds to the matrix."""

    cells: list[EmojiCell]
    comparisons: list[EmojiDifference]
    wins: list[RegionWin]


def from_raw_texts(region: str, corpus: Corpus, test_fraction: float) -> LabelledTest:
    """Make the Emoji-15 test of the test part of a corpus, the same that `finetune.py` is tested on.

    Raises:
        InputError: if no text of that part has exactly one kind of the fifteen emoji.
    """
    texts, authors = LabelledTexts(), []
    for for_test, text, author in split_texts(corpus, test_fraction):
        if not for_test:
            continue
        if pair := emoji15(text):
            texts.add(*pair)
            authors.append(author)
        else:
            corpus.report.count(Reason.NO_EMOJI_LABEL)
    say(f"{region}: {len(texts):,} texts to test on; {corpus.report.summary()}")
    if not texts:
        raise InputError(
            f"{', '.join(corpus.names())}: the test set is empty, no text of the test part of {test_fraction:g} has "
            "exactly one kind of the fifteen emoji: give more texts, or labelled ones with --emoji_files"
        )
    return LabelledTest(region, corpus.names(), texts, authors)


def from_labelled_files(
    files: Sequence[str],
    text_column: str,
    label_column: str,
    test_fraction: float,
    group_column: str | None = None,
    file_format: FileFormat = UTF8,
) -> list[LabelledTest]:
    """Read the test texts of labelled files by region, in the order of the regions' codes.

    They are those that the column `split` calls `test`; where it names none, the test part by the hash of the group
    or the text.

    Raises:
        InputError: as reading the files does; for a text without region; if no text is for testing.
    """
    columns = {"text_column": text_column, "group_column": group_column}
    corpus = labelled_corpus("labelled", files, label_column, **columns, file_format=file_format)
    rows: list[tuple[str | None, ...]] = [row if group_column else (*row, None) for row in corpus.rows()]
    names = ", ".join(corpus.names())
    say(f"{names}: {corpus.report.summary()}")
    if not any(split == "test" for _, _, split, *_ in rows):
        rows = [row for row in rows if is_test(split_hash(row[0] or "", row[-1]), test_fraction)]
    else:
        rows = [row for row in rows if row[2] == "test"]
    tests: dict[str, LabelledTest] = {}
    for text, label, _, region, author in rows:
        assert text is not None and label is not None  # what a labelled corpus gives
        if not region:
            raise InputError(f"{names}: text {text[:40]!r} has no region: the matrix needs a column region")
        region = region.lower()
        test = tests.setdefault(region, LabelledTest(region, corpus.names(), LabelledTexts(), []))
        test.texts.add(text, label)
        test.authors.append(author or None)
    if not rows:
        raise InputError(f"{names}: the test set is empty: give more texts, or a larger --test_fraction")
    return [tests[region] for region in sorted(tests)]


def with_enough_texts(
    tests: Sequence[LabelledTest], own: Collection[str | None]
) -> tuple[list[LabelledTest], list[str]]:
    """Keep the regions with enough test texts or, in `own`, a model of their own; return them and notes on the others.

    Raises:
        InputError: if none is left.
    """
    enough = [test for test in tests if test.region in own or len(test.texts) >= FEWEST_LABELLED]
    if not enough:
        most = max(len(test.texts) for test in tests)
        raise InputError(
            f"{', '.join(tests[0].names)}: no region has {FEWEST_LABELLED} texts to test on, only {most}: give more"
        )
    return enough, [
        f"{test.region} is left out: {len(test.texts)} test texts are too few to tell models apart."
        for test in tests
        if test not in enough
    ]


def label_names(folders: Sequence[ModelFolder]) -> list[str]:
    """Return the labels that all models have, Emoji-15 in the published order.

    Raises:
        InputError: if models have different labels.
    """
    first = folders[0]
    labels = set(first.label_names)
    for other in folders[1:]:
        if set(other.label_names) != labels:
            raise InputError(f"{first.name} and {other.name} have different labels: compare models of one task")
    return [label for label in EMOJI_15 if label in labels] + sorted(labels - set(EMOJI_15))


def check_labels(tests: Sequence[LabelledTest], labels: Sequence[str]) -> None:
    """Check that the models can be scored on the texts.

    Raises:
        InputError: for a label that the models do not have, and if all texts have the same label.
    """
    for test in tests:
        label_ids(test.texts, labels, ", ".join(test.names))
    seen = {label for test in tests for label in test.texts.labels}
    if len(seen) == 1:
        raise InputError(f"all test texts have the label {seen.pop()!r}: there is nothing to tell apart")


@torch.no_grad()
def classify(
    folder: ModelFolder,
    tests: Sequence[LabelledTest],
    labels: Sequence[str],
    tokens_per_batch: int,
    device: torch.device,
) -> list[np.ndarray]:
    """Classify each test set; return the number of the likeliest label of each text, (texts,) for each set."""
    model = folder.open(AutoModelForSequenceClassification, device)
    to_label = np.array([labels.index(name) for name in folder.label_names])
    found = []
    for test in tests:
        ids = folder.tokenizer(
            [folder.prefix + text for text in test.texts.texts], truncation=True, max_length=folder.longest
        )["input_ids"]
        guesses = np.empty(len(ids), np.int64)
        with ProgressBar(total=len(ids), desc=f"{folder.name} on {test.region}", unit=" texts") as bar:
            for numbers in batches_by_tokens([len(text) for text in ids], tokens_per_batch):
                inputs = {"input_ids": [ids[number] for number in numbers]}
                batch = folder.tokenizer.pad(inputs, return_tensors="pt").to(device)
                guesses[numbers] = to_label[model(**batch).logits.argmax(-1).cpu().numpy()]
                bar.update(len(numbers))
        found.append(guesses)
    return found


def score_region(
    test: LabelledTest,
    guesses: dict[str, np.ndarray],
    labels: Sequence[str],
    regions: dict[str, str | None],
    resamples: int,
    seed: int,
) -> RegionScores:
    """Score every model on one region's texts, and compare the region's own models with every other, text by text.

    Intervals draw whole authors, or texts where none is named.
    """
    right = label_ids(test.texts, labels, ", ".join(test.names))
    clusters, size = clusters_of(test.authors), len(labels)
    sums = {name: sums_of_clusters(text_sums(right, guessed, size), clusters) for name, guessed in guesses.items()}
    resampled = resampled_together(sums, resamples, seed)
    cells: list[EmojiCell] = [
        {
            "model": name,
            "region": test.region,
            "count": len(right),
            **cell_scores(right, guessed, len(labels), resampled[name]),
        }
        for name, guessed in guesses.items()
    ]
    accuracies = {name: float((guessed == right).mean()) for name, guessed in guesses.items()}
    differences = own_differences(
        test.region, regions, accuracies, {name: accuracy(values) for name, values in resampled.items()}
    )
    comparisons: list[EmojiDifference] = [
        {"region": test.region, "own": entry.own, "other": entry.other, "accuracy_difference": entry.estimate}
        for entry in differences
    ]
    return RegionScores(cells, comparisons, region_wins(test.region, regions, differences))


def baseline_cells(folders: Sequence[str], tests: Sequence[LabelledTest]) -> list[EmojiCell]:
    """Read the test scores of baselines from the metrics.json that `baselines.py` wrote.

    The fingerprint of texts and labels that a baseline was tested on says which region it belongs to.

    Raises:
        InputError: for a folder without such a file, or one that was tested on other texts.
    """
    by_fingerprint = {test.texts.fingerprint: test for test in tests}
    cells: list[EmojiCell] = []
    for folder in folders:
        path = Path(folder) / "metrics.json"
        try:
            metrics = json.loads(path.read_text(encoding="utf-8"))
            name, scores, texts = metrics["classifier"], metrics["test"], metrics["texts"]["test"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}: no metrics.json as baselines.py writes it ({error!r})") from error
        test = by_fingerprint.get(texts["fingerprint"])
        if test is None:
            raise InputError(
                f"{folder}: {name} was tested on other texts than these: make it with the same files, the same "
                "--test_fraction, and --region if the file holds several"
            )
        accuracy_, macro_f1_ = (without_interval(scores[score]) for score in ("accuracy", "macro_f1"))
        cells.append(
            {
                "model": name,
                "region": test.region,
                "count": len(test.texts),
                "accuracy": accuracy_,
                "macro_f1": macro_f1_,
            }
        )
    return cells


def without_interval(value: float) -> Estimate:
    return {"value": value, "low": None, "high": None}


class Scores(TypedDict):
    accuracy: Estimate
    macro_f1: Estimate
    confusion: list[list[int]]


def cell_scores(right: np.ndarray, guessed: np.ndarray, num_labels: int, resampled: np.ndarray) -> Scores:
    """Score guesses, with intervals from the bootstrap sums, (resamples, 3 x labels)."""
    value = classification_scores(right, guessed, num_labels)
    return {
        "accuracy": interval(value["accuracy"], accuracy(resampled)),
        "macro_f1": interval(value["macro_f1"], macro_f1(resampled)),
        "confusion": confusion(right, guessed, num_labels).tolist(),
    }


def text_sums(right: np.ndarray, guessed: np.ndarray, num_labels: int) -> np.ndarray:
    """(texts, 3 x labels): for each label the right guesses, then the texts, then the guesses."""
    classes = np.eye(num_labels)
    return np.concatenate([classes[right] * (right == guessed)[:, None], classes[right], classes[guessed]], axis=1)


def accuracy(sums: np.ndarray) -> np.ndarray:
    hits, texts, _ = np.split(sums, 3, axis=-1)
    return hits.sum(-1) / texts.sum(-1)


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Mean F1 of the labels that occur or are guessed, as `training.finetuning.scores` has it."""
    hits, texts, guessed = np.split(sums, 3, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(2 * hits / (texts + guessed), axis=-1)
