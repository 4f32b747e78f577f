"""Corpora: texts by name, from files or a dataset of the Hub, read anew each time and never held in memory."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from training.common.arguments import option
from training.common.errors import InputError, as_input_error
from training.common.files import file_sha256
from training.common.progress import say
from training.texts.columns import Columns, Row
from training.texts.decoding import DecodingCheck, unicode_error
from training.texts.files import file_rows, find_files, hub_rows
from training.texts.lines import LINE_LIMIT, UTF8, FileFormat
from training.texts.regions import region_of_file
from training.texts.report import HARMLESS, ReadingReport, Reason

# Categories of Unicode in which no character is visible by itself: control, format, separators, combining marks.
INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"}
# Characters of other categories that show nothing: fillers of Korean syllables, and the Braille pattern without dots.
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
GroupedText = tuple[str, str | None]  # with the name of its group


@dataclass(kw_only=True)
class FormatArguments:
    """Flags that say how files of texts are written."""

    text_column: str = option("text", "column or field that holds the texts")
    encoding: str | None = option(
        None, "encoding of text files without a byte-order mark, such as latin-1 (default: UTF-8)"
    )
    delimiter: str | None = option(
        None, "character between the columns of .csv and .tsv files (default: a comma in .csv, a tab in .tsv)"
    )

    @property
    def file_format(self) -> FileFormat:
        return FileFormat(self.encoding, self.delimiter)


@dataclass(kw_only=True)
class CorpusArguments(FormatArguments):
    """Flags that name the texts to learn from; `open_corpus` opens them."""

    train_file: list[str] = field(
        default_factory=list,
        metadata={
            "help": "files (.txt .jsonl .csv .tsv .parquet, or with .gz) or folders of texts, one text a record; "
            "hidden files in a folder are not read"
        },
    )
    dataset_name: str | None = option(None, "take the texts of a dataset of the Hub instead")
    dataset_config_name: str | None = option(None, "configuration of that dataset")
    dataset_revision: str | None = option(None, "commit, tag or branch of that dataset (default: its main branch)")
    test_fraction: float = option(
        0.05, "share of the texts kept for testing, chosen by a hash of the text; evaluate_family.py scores these"
    )
    group_column: str | None = option(
        None,
        "column or field that names a text's group, such as its author: a group is on one side of every split, by a "
        "hash of its name; a text without one is split by its own hash",
    )
    strict: bool = option(
        False, "refuse texts that are not Unicode, over 1 MB or without their label, instead of counting them"
    )


@dataclass
class Corpus:
    """Texts by name: local files, or a dataset on the Hub. One text is one example.

    With `label_column` every text needs a label; `optional_columns` and `group_column` may be missing from a file.
    `report` counts what the last reading left out.
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
    file_format: FileFormat = UTF8
    strict: bool = False
    report: ReadingReport = field(default_factory=ReadingReport)

    def __iter__(self) -> Iterator[str]:
        """Yield every usable text, stripped.

        Raises:
            InputError: if a file cannot be read as what its name says (with the line), lacks the text column, or is
                not decodable in more than a small share; with `strict`, for a text that is left out but neither empty
                nor a notice.
        """
        for text, *_ in self.rows():
            yield text

    def rows(self) -> Iterator[tuple[str, *Row]]:
        """Yield every usable text with its label, if there is a label column, its values in the optional columns, and,
        if there is a group column, its group.

        Raises:
            InputError: as iterating does, and if the label column is missing.
        """
        self.report.forget_left_out()
        grouped = self.group_column is None or not self.names()
        for source, rows in self._rows_of_sources():
            decoding = DecodingCheck(source)
            for row in self.usable(rows, source, decoding):
                grouped = grouped or row[-1] is not None
                yield row
            decoding.check()
        if not grouped:
            say(f"{', '.join(self.names())}: no text names a group in {self.group_column!r}: each is split by itself")

    def _rows_of_sources(self) -> Iterator[tuple[str, Iterator[Row]]]:
        if self.dataset_name:
            dataset = (self.dataset_name, self.dataset_config_name, self.split, self.dataset_commit)
            yield self.dataset_name, hub_rows(*dataset, self.columns)
        for path in self.files:
            yield str(path), file_rows(path, self.columns, self.file_format, self.leave_out)

    def grouped(self) -> Iterator[GroupedText]:
        """Yield every usable text with its group; None where it has none.

        Raises:
            InputError: as iterating does.
        """
        if self.group_column is None:
            return ((text, None) for text in self)
        return ((row[0], row[-1]) for row in self.rows())

    def usable(
        self, rows: Iterable[Row], source: str, decoding: DecodingCheck | None = None
    ) -> Iterator[tuple[str, *Row]]:
        """Yield the rows with a text, stripped; count the others in the report, and all of them in `decoding`.

        Raises:
            InputError: with `strict`, for a text that is left out but not empty; and as `decoding` does.
        """
        for text, *values in rows:
            if text is not None and len(text) > LINE_LIMIT:
                self.leave_out(Reason.TOO_LONG, f"{source}: a text of over 1 MB ({_shown(text)})")
                continue
            whole = "\n".join(filter(None, (text, *values))) if values else text or ""
            error = unicode_error(whole)
            if decoding:
                decoding.count(whole, error)
            if text is None or is_blank(text := text.strip()):
                self.leave_out(Reason.EMPTY, source)
            elif error:
                self.leave_out(Reason.INVALID, f"{source}: a text is not Unicode ({_shown(text)})")
            elif self.label_column and values[0] is None:
                self.leave_out(
                    Reason.UNLABELLED, f"{source}: no label in column {self.label_column!r} ({_shown(text)})"
                )
            else:
                yield text, *values

    def leave_out(self, reason: Reason, message: str) -> None:
        """Count a text that is left out.

        Raises:
            InputError: with `strict`, if the reason is not harmless.
        """
        if self.strict and reason not in HARMLESS:
            raise InputError(f"{message}: mend it, or leave out --strict to skip such texts")
        self.report.count(reason)

    @property
    def columns(self) -> Columns:
        return Columns(self.text_column, self.label_column, self.optional_columns, self.group_column)

    @cached_property
    def dataset_commit(self) -> str:
        """The commit of the Hub dataset, resolved once, so that the commit recorded is the one read."""
        with as_input_error(OSError, ValueError, HfHubHTTPError):
            return str(HfApi().dataset_info(str(self.dataset_name), revision=self.dataset_revision).sha)

    @cached_property
    def sources(self) -> list[tuple[str, bytes]]:
        """Each file's name and the SHA-256 of its content; of a Hub dataset, its name, configuration and commit."""
        if self.dataset_name:
            version = repr((self.dataset_name, self.dataset_config_name, self.split, self.dataset_commit)).encode()
            return [(self.dataset_name, version)]
        with as_input_error(OSError):
            return [(path.name, bytes.fromhex(file_sha256(path))) for path in self.files]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents (of a Hub dataset, over its name and commit), the columns and the file format."""
        read_by = (self.text_column, self.label_column, self.file_format.encoding, self.file_format.delimiter)
        read_as = "".join(filter(None, read_by))
        return hashlib.sha256(b"".join([digest for _, digest in self.sources] + [read_as.encode()])).hexdigest()

    def no_text_error(self) -> InputError:
        """Return the error for a corpus whose reading gave no text."""
        reason = self.report.summary() if self.report.left_out else "no record: empty files, or a header alone"
        return InputError(f"{', '.join(self.names())}: no usable text ({reason})")

    def names(self) -> list[str]:
        """Return the names of the sources for reports, without folders of the user's machine."""
        return [self.dataset_name] if self.dataset_name else [path.name for path in self.files]


def open_corpus(args: CorpusArguments, files: Sequence[str] | None = None) -> Corpus:
    """Open the corpus that flags name, or other files that are read in the same way.

    Raises:
        InputError: as `find_files` and `FileFormat` do.
    """
    return Corpus(
        find_files(args.train_file if files is None else files),
        dataset_name=args.dataset_name if files is None else None,
        dataset_config_name=args.dataset_config_name,
        dataset_revision=args.dataset_revision,
        text_column=args.text_column,
        group_column=args.group_column,
        file_format=args.file_format,
        strict=args.strict,
    )


def open_corpora(
    paths: Sequence[str | Path],
    text_column: str,
    group_column: str | None = None,
    file_format: FileFormat = UTF8,
) -> dict[str, Corpus]:
    """Open a corpus for each region: the files whose names hold its code, such as `mx.jsonl.gz`.

    Raises:
        InputError: if the name of a file holds no region, and as `find_files` does.
    """
    files: dict[str, list[Path]] = {}
    for path in find_files(paths):
        files.setdefault(region_of_file(path), []).append(path)
    return {
        region: Corpus(
            tuple(files[region]), text_column=text_column, group_column=group_column, file_format=file_format
        )
        for region in sorted(files)
    }


def is_blank(text: str) -> bool:
    """Tell whether a text holds no visible character."""
    if text[:1].isalnum() and text[0] not in FILLERS:  # nearly every text
        return False
    return all(unicodedata.category(character) in INVISIBLE or character in FILLERS for character in text)


def _shown(text: str) -> str:
    """Return the beginning of a text for a message."""
    return repr(text[:40].encode(errors="replace").decode())
