"""Labelled texts: the Emoji-15 task made from raw texts, or any file with a text and a label, in three parts."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from modeling_bilma.published import EMOJI_15
from training.common.arguments import option
from training.common.errors import InputError
from training.texts.columns import sorted_names
from training.texts.corpus import Corpus, CorpusArguments
from training.texts.emoji15 import EMOJI_TASK, emoji15
from training.texts.files import find_files
from training.texts.report import ReadingReport, Reason
from training.texts.splits import is_test, is_validation, split_hash, text_hash

# The parts of a split, by the names that the column `split` may give them.
_PARTS = {"train": "train", "test": "test"} | dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
_MOST_NAMES, _FIRST_NAMES, _LONGEST_NAME = 20, 5, 40  # of what a message quotes


@dataclass(kw_only=True)
class LabelledArguments(CorpusArguments):
    """Flags that name labelled texts; `open_labelled` opens them."""

    task: str = field(
        metadata={
            "help": f"{EMOJI_TASK} makes its labels from raw texts, tokens tags words, any other name uses the "
            "labels of the file"
        }
    )
    label_column: str | None = option(
        None, f"column or field that holds the labels (default: label; for {EMOJI_TASK}: made from the texts)"
    )
    region: str | None = option(None, "only texts with this value in the column region, in either case")
    validation_fraction: float = option(
        0.1, "share of the texts that choose the best model, by a hash of the text, if no column split names them"
    )


@dataclass
class LabelledTexts:
    """Texts, their labels and regions, in the order of the files.

    A region is in lower case, and None if no column `region` names it.
    """

    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    regions: list[str | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, label: str, region: str | None = None) -> None:
        self.texts.append(text)
        self.labels.append(label)
        self.regions.append(region)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over texts and labels, whatever files and order they came in."""
        pairs = sorted(zip(self.texts, self.labels, strict=True))
        return hashlib.sha256(repr(pairs).encode(errors="surrogatepass")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what a result records about these texts."""
        return {
            "texts": len(self),
            "labels": dict(sorted(Counter(self.labels).items())),
            "fingerprint": self.fingerprint,
        }


@dataclass
class LabelledSplits:
    """A task: texts to train on, to choose the best model by, and to test it on.

    `label_names` is in the order of a model's classes. `duplicates` counts the texts left out of a part because a
    later part holds the same text under the text rules.
    """

    task: str
    train: LabelledTexts
    validation: LabelledTexts
    test: LabelledTexts
    label_names: list[str]
    duplicates: int
    corpus: Corpus

    @property
    def report(self) -> ReadingReport:
        """What reading the corpus left out."""
        return self.corpus.report

    def parts(self) -> dict[str, LabelledTexts]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def describe(self) -> dict[str, Any]:
        """Return what a result records about its texts."""
        return {
            "names": self.corpus.names(),
            "fingerprint": self.corpus.fingerprint,
            "duplicates_left_out": self.duplicates,
            **{name: part.describe() for name, part in self.parts().items()},
        }


def open_labelled(args: LabelledArguments) -> LabelledSplits:
    """Open the labelled texts that flags name.

    Raises:
        InputError: as `load_labelled` does, and if flags contradict each other or are out of range.
    """
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the labelled texts")
    if not 0 < args.validation_fraction < 1:
        raise InputError(f"--validation_fraction {args.validation_fraction} is not between 0 and 1")
    if not 0 < args.test_fraction < 1 - args.validation_fraction:
        raise InputError(
            f"--test_fraction {args.test_fraction} is not above 0 and below 1 - --validation_fraction: "
            "a result needs texts of its own"
        )
    corpus = labelled_corpus(
        args.task,
        args.train_file,
        dataset_name=args.dataset_name,
        dataset_config_name=args.dataset_config_name,
        dataset_revision=args.dataset_revision,
        text_column=args.text_column,
        label_column=args.label_column,
        group_column=args.group_column,
        file_format=args.file_format,
        strict=args.strict,
    )
    return load_labelled(args.task, corpus, args.region, args.test_fraction, args.validation_fraction)


def labelled_corpus(task: str, files: Sequence[Any], label_column: str | None = None, **settings: Any) -> Corpus:
    """Open a corpus with the columns that a task needs beside its texts; Emoji-15 needs none."""
    if task != EMOJI_TASK:
        label_column = label_column or "label"
    return Corpus(files=find_files(files), label_column=label_column, optional_columns=("split", "region"), **settings)


def load_labelled(
    task: str,
    corpus: Corpus,
    region: str | None = None,
    test_fraction: float = 0.05,
    validation_fraction: float = 0.1,
) -> LabelledSplits:
    """Split the labelled texts of a corpus, as `labelled_corpus` opens it, into three parts.

    A part that the column `split` names is used as it is. Any other part is cut from the remaining texts, by the hash
    of a text's group or of the text as the file has it, so that the test texts are those that `pretrain.py` never saw.
    Texts that are the same under the text rules, without their emoji, are in one part only: the later one.

    Raises:
        InputError: as reading the corpus does; if a part is empty; if there is only one label; and if a label occurs
            in the validation or test texts only.
    """
    found = list(_labelled(task, corpus, region))
    named = {part for *_, part in found if part}
    parts = {name: LabelledTexts() for name in ("train", "validation", "test")}
    for text, label, text_region, hash_, part in found:
        if part in (None, "train"):
            if "test" not in named and is_test(hash_, test_fraction):
                part = "test"
            elif "validation" not in named and is_validation(hash_, validation_fraction):
                part = "validation"
        parts[part or "train"].add(text, label, text_region)
    duplicates = _leave_out_duplicates(parts)
    names = ", ".join(corpus.names())
    for part, texts in parts.items():
        if not texts:
            raise InputError(f"{names}: none of the {len(found)} labelled texts is left for {part}: give more texts")
    return LabelledSplits(
        task=task,
        **parts,
        label_names=_label_names(task, parts, names),
        duplicates=duplicates,
        corpus=corpus,
    )


def _labelled(task: str, corpus: Corpus, region: str | None) -> Iterator[tuple[str, str, str | None, int, str | None]]:
    """Yield each text, its label and region, the hash that decides its part, and the part that the file names.

    Texts of other regions, and for Emoji-15 those that have no label, are counted in the corpus's report.
    """
    region = region and region.lower()
    regions: set[str | None] = set()
    read = used = 0
    for text_as_read, *values in corpus.rows():
        group = values.pop() if corpus.group_column else None
        *label, split, text_region = values
        text_region = text_region and text_region.lower()
        regions.add(text_region)
        if region and text_region != region:
            corpus.report.count(Reason.OTHER_REGION)
            continue
        read += 1
        if pair := (text_as_read, cast(str, label[0])) if label else emoji15(text_as_read):
            used += 1
            yield *pair, text_region, split_hash(text_as_read, group), _part(split, corpus)
        else:
            corpus.report.count(Reason.NO_EMOJI_LABEL)
    names = ", ".join(corpus.names())
    if region and not read:
        there = _quoted(sorted(filter(None, regions))) or "nothing"
        raise InputError(f"{names}: no text of region {region!r}; the column region holds: {there}")
    if not read:
        raise corpus.no_text_error()
    if not used:
        raise InputError(
            f"{names}: none of the {read} texts has exactly one kind of the fifteen emoji; "
            "if they have labels already, name the column with --label_column"
        )


def _part(split: str | None, corpus: Corpus) -> str | None:
    if split is None:
        return None
    if split not in _PARTS:
        raise InputError(
            f"{', '.join(corpus.names())}: the column split holds {split!r}: write {', '.join(_PARTS)} or nothing"
        )
    return _PARTS[split]


def _leave_out_duplicates(parts: dict[str, LabelledTexts]) -> int:
    """Keep a text that is in several parts in the last one only; return how many were left out."""
    left_out, later = 0, set()
    for name in reversed(parts):
        part = parts[name]
        hashes = [text_hash(text) for text in part.texts]
        parts[name] = LabelledTexts()
        for text, label, region, hash_ in zip(part.texts, part.labels, part.regions, hashes, strict=True):
            if hash_ not in later:
                parts[name].add(text, label, region)
        left_out += len(part) - len(parts[name])
        later.update(hashes)
    return left_out


def _label_names(task: str, parts: dict[str, LabelledTexts], source: str) -> list[str]:
    """Return the classes of a model: the fifteen emoji in the published order, or the labels of the training texts."""
    if task == EMOJI_TASK:
        _check_emoji([label for part in parts.values() for label in part.labels], source)
    seen = sorted_names(parts["train"].labels)
    if len(seen) < 2:
        raise InputError(f"{source}: all training texts have the label {seen[0]!r}: a classifier needs two or more")
    names = list(EMOJI_15) if task == EMOJI_TASK else seen
    for part, texts in parts.items():
        label_ids(texts, names, f"{source} ({part})")
    return names


def _check_emoji(labels: Sequence[str], source: str) -> None:
    others = [label for label in labels if label not in EMOJI_15]
    if others:
        raise InputError(
            f"{source}: the labels of {len(others):,} of {len(labels):,} texts are not the fifteen emoji "
            f"({_quoted(sorted_names(others))}): mend them, or use another --task name, which takes any labels"
        )


def label_ids(texts: LabelledTexts, names: Sequence[str], source: str) -> np.ndarray:
    """Return the class of each text's label, (number of texts,) int64.

    Raises:
        InputError: if the model has no class for a label.
    """
    ids = {name: number for number, name in enumerate(names)}
    if unseen := Counter(label for label in texts.labels if label not in ids):
        label, count = unseen.most_common(1)[0]
        raise InputError(
            f"{source}: label {_cut(label)!r} ({count} texts) does not occur among the training texts' labels "
            f"({_quoted(names)}): mend it, or give training texts that have it"
        )
    return np.array([ids[label] for label in texts.labels], dtype=np.int64)


def _quoted(names: Sequence[str]) -> str:
    """Return names as a message quotes them: of many, the first few and their number."""
    if len(names) <= _MOST_NAMES:
        return ", ".join(map(_cut, names))
    return f"{', '.join(map(_cut, names[:_FIRST_NAMES]))}, ... {len(names):,} in all"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
