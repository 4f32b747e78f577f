"""Texts from files or a Hub dataset, and their tokens in a memory-mapped cache; no corpus is held in memory."""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from training.common.arguments import option
from training.common.errors import InputError, as_input_error
from training.texts.files import Row, file_rows, find_files, hub_rows
from training.texts.regions import region_of_file


@dataclasses.dataclass(kw_only=True)
class CorpusArguments:
    """The flags that name the texts to learn from; `training.texts.corpus.open_corpus` opens them."""

    train_file: list[str] = dataclasses.field(
        default_factory=list,
        metadata={
            "help": "files (.txt .jsonl .csv .tsv .parquet, or with .gz) or folders of texts, one text a record"
        },
    )
    dataset_name: str | None = option(None, "take the texts of a dataset of the Hub instead")
    dataset_config_name: str | None = option(None, "configuration of that dataset")
    dataset_revision: str | None = option(None, "commit, tag or branch of that dataset (default: its main branch)")
    text_column: str = option("text", "column or field that holds the texts")
    test_fraction: float = option(
        0.05, "share of the texts kept out for testing, chosen by a hash of the text; evaluate_family.py asks these"
    )
    group_column: str | None = option(
        None,
        "column or field that names a text's group, such as its author: a group is on one side of every split, by a "
        "hash of its name; a text without one goes by its own hash",
    )
    strict: bool = option(False, "refuse texts that are not UTF-8 instead of skipping and counting them")


GroupedText = tuple[str, str | None]  # with the name of its group


@dataclass
class ReadingReport:
    """What was met while a corpus was read; `invalid` texts are not UTF-8, `empty` ones hold no token."""

    texts: int = 0
    tokens: int = 0
    invalid: int = 0
    empty: int = 0


@dataclass
class Corpus:
    """Texts by name: local files, or a dataset on the Hub. One text is one example.

    With `label_column` every text has to have a label; `optional_columns` and `group_column` may be missing.
    """

    files: tuple[Path, ...] = ()
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    dataset_revision: str | None = None
    split: str = "train"
    text_column: str = "text"
    label_column: str | None = None
    optional_columns: tuple[str, ...] = ()
    group_column: str | None = None
    strict: bool = False
    report: ReadingReport = field(default_factory=ReadingReport)

    def __iter__(self) -> Iterator[str]:
        """Every usable text, stripped.

        Raises:
            InputError: for a file that cannot be read as what its name says (with the line), for a missing text
                column, and with `strict` for text that is not UTF-8.
        """
        for text, *_ in self.rows():
            yield text

    def rows(self) -> Iterator[Row]:
        """Every usable text with its label, if there is a label column, its values in the optional columns, and, if
        there is a group column, its group.

        Raises:
            InputError: as iterating does, and for a missing label column or label.
        """
        self.report.invalid = self.report.empty = 0
        if self.dataset_name:
            yield from self.usable(hub_rows(self), self.dataset_name)
        for path in self.files:
            yield from self.usable(file_rows(path, self), str(path))

    def grouped(self) -> Iterator[GroupedText]:
        """Every usable text with its group; None where it has none.

        Raises:
            InputError: as iterating does.
        """
        if self.group_column is None:
            return ((text, None) for text in self)
        return ((text, group) for text, *_, group in self.rows())

    def usable(self, rows: Iterable[Row], source: str) -> Iterator[Row]:
        """Those whose text is text, stripped; the others are counted in the report."""
        for text, *values in rows:
            if text is None or not (text := text.strip()):
                self.report.empty += 1
            elif _is_unicode(text):
                yield text, *values
            else:
                self.refuse_invalid(
                    f"{source}: a text is not Unicode ({text.encode(errors='replace').decode()[:40]!r})"
                )

    def refuse_invalid(self, message: str) -> None:
        if self.strict:
            raise InputError(f"{message}: mend it, or leave out --strict to skip such texts")
        self.report.invalid += 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that a row is made of, in its order."""
        beside = (self.label_column, *self.optional_columns, self.group_column)
        return (self.text_column, *filter(None, beside))

    def check_columns(self, there: Iterable[str], where: str) -> None:
        """Raise `InputError` if the text column or the label column is missing."""
        for flag, column in (("--text_column", self.text_column), ("--label_column", self.label_column)):
            if column and column not in there:
                names = ", ".join(there) or "none"
                raise InputError(f"{where}: no column {column!r}; there are: {names}; name the right one with {flag}")

    def row(self, record: Mapping[str, Any], where: str) -> Row:
        """The row of a record that may hold more; a label may be a whole number too."""
        self.check_columns(record, where)
        text = record[self.text_column]
        if not isinstance(text, str | None):
            raise InputError(f"{where}: {self.text_column!r} holds a {type(text).__name__}, not a string")
        values = []
        for column in self.columns[1:]:
            value = record.get(column)
            if not isinstance(value, str | int | None):
                raise InputError(f"{where}: {column!r} holds a {type(value).__name__}, not a string or whole number")
            values.append(None if value is None else str(value).strip() or None)
        if self.label_column and text and not values[0]:
            raise InputError(f"{where}: no label in column {self.label_column!r}: fill it in or remove the text")
        return text, *values

    @cached_property
    def dataset_commit(self) -> str:
        """The commit of the Hub dataset that is read, asked for once, so that what is recorded is what is read."""
        with as_input_error(OSError, ValueError, HfHubHTTPError):
            return HfApi().dataset_info(self.dataset_name, revision=self.dataset_revision).sha

    @cached_property
    def sources(self) -> list[tuple[str, bytes]]:
        """Every file's name and the SHA-256 of its content; of a Hub dataset, its name and what says which texts."""
        if self.dataset_name:
            version = repr((self.dataset_name, self.dataset_config_name, self.split, self.dataset_commit)).encode()
            return [(self.dataset_name, version)]
        digests = []
        for path in self.files:
            with path.open("rb") as file:
                digests.append((path.name, hashlib.file_digest(file, "sha256").digest()))
        return digests

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents (of a Hub dataset, over its name and commit): the same texts, the same value."""
        columns = "".join(filter(None, (self.text_column, self.label_column)))
        return hashlib.sha256(b"".join([digest for _, digest in self.sources] + [columns.encode()])).hexdigest()

    def names(self) -> list[str]:
        """What a report may call the sources: no folders of the user's machine."""
        return [self.dataset_name] if self.dataset_name else [path.name for path in self.files]


def open_corpus(args: CorpusArguments) -> Corpus:
    """The corpus that flags name.

    Raises:
        InputError: as `find_files` does.
    """
    return Corpus(
        files=find_files(args.train_file),
        dataset_name=args.dataset_name,
        dataset_config_name=args.dataset_config_name,
        dataset_revision=args.dataset_revision,
        text_column=args.text_column,
        group_column=args.group_column,
        strict=args.strict,
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a JSON escape or a byte that is no UTF-8
        return False
    return True


def open_corpora(paths: Sequence[str], text_column: str, group_column: str | None = None) -> dict[str, Corpus]:
    """A corpus for each region: the files whose names hold its code, such as `mx.jsonl.gz`.

    Raises:
        InputError: for a file that names no region, and as `find_files` does.
    """
    files: dict[str, list[Path]] = {}
    for path in find_files(paths):
        files.setdefault(region_of_file(path), []).append(path)
    columns = {"text_column": text_column, "group_column": group_column}
    return {region: Corpus(tuple(files[region]), **columns) for region in sorted(files)}
