"""Tagged texts: words with BIO tags, from CoNLL, JSONL or Parquet files or a dataset of the Hub, in three parts."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from datasets import ClassLabel, Features, List, load_dataset
from huggingface_hub.errors import HfHubHTTPError

from training.common.arguments import check_each, option
from training.common.errors import InputError, as_input_error
from training.texts.files import find_files, json_objects, kind_of, readable
from training.texts.labelled import LabelledArguments
from training.texts.lines import TextFile
from training.texts.report import ReadingReport, Reason
from training.texts.splits import is_test, is_validation, text_hash
from training.texts.tables import open_parquet, record_batches

TOKEN_TASK = "tokens"
OUTSIDE = "O"
PARTS = ("train", "validation", "test")
SUFFIXES = (".conll", ".jsonl", ".ndjson", ".parquet")
_TAG = re.compile("O|[BI]-.+")


@dataclass(kw_only=True)
class TaggedArguments(LabelledArguments):
    """Flags that name tagged texts, for `--task tokens`; `open_tagged` opens them."""

    validation_file: list[str] = field(
        default_factory=list, metadata={"help": f"texts that choose the best model, for --task {TOKEN_TASK}"}
    )
    test_file: list[str] = field(
        default_factory=list, metadata={"help": f"texts to test the model on, for --task {TOKEN_TASK}"}
    )
    tokens_column: str = option("tokens", "column of .jsonl and .parquet files that holds the words of a text")
    tags_column: str = option("tags", "column of .jsonl and .parquet files that holds a BIO tag for each word")


@dataclass
class TaggedTexts:
    """The words of each text, and a tag for each word, in the order of the files."""

    words: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    def describe(self) -> dict[str, Any]:
        """Return the counts and the fingerprint that a result records."""
        pairs = sorted(zip(self.words, self.tags, strict=True))
        entities = Counter(tag[2:] for tags in self.tags for tag in tags if tag.startswith("B-"))
        return {
            "texts": len(self),
            "words": sum(map(len, self.words)),
            "labels": dict(sorted(entities.items())),
            "fingerprint": hashlib.sha256(repr(pairs).encode()).hexdigest(),
        }


@dataclass
class TaggedSplits:
    """A tagging task: texts to train on, to choose the best model by, and to test it on.

    Args:
        label_names: `O`, then `B-` and `I-` of every type of entity in the training texts.
        duplicates: number of texts left out of a part because a later part holds the same words.
        names: names of the files, or of the dataset.
        report: what reading them left out.
    """

    task: str
    train: TaggedTexts
    validation: TaggedTexts
    test: TaggedTexts
    label_names: list[str]
    duplicates: int
    names: list[str]
    report: ReadingReport = field(default_factory=ReadingReport)

    def parts(self) -> dict[str, TaggedTexts]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def describe(self) -> dict[str, Any]:
        """Return what a result records about its texts."""
        parts = {name: part.describe() for name, part in self.parts().items()}
        fingerprints = "".join(part["fingerprint"] for part in parts.values())
        return {
            "names": self.names,
            "fingerprint": hashlib.sha256(fingerprints.encode()).hexdigest(),
            "duplicates_left_out": self.duplicates,
            **parts,
        }


@dataclass(frozen=True)
class _Record:
    words: list[str]
    tags: list[str]
    part: str


def open_tagged(args: TaggedArguments) -> TaggedSplits:
    """Read tagged texts and share them out: a part without a file or split of its own is cut from the training texts.

    A text's hash decides its part, as in pretraining.

    Raises:
        InputError: if a file cannot be read, if tags break the BIO scheme (with file and line), if a part is empty,
            or if a type of entity occurs in the validation or test texts only.
    """
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the tagged texts")
    if args.label_column or args.region or args.group_column:
        raise InputError(f"--task {TOKEN_TASK} takes no --label_column, --region or --group_column: leave them out")
    check_each(args, "between 0 and 1", "validation_fraction", "test_fraction")
    report = ReadingReport()
    files = files_by_part(args)
    records = list(_hub_records(args, report) if args.dataset_name else file_records(files, args, report))
    named = {record.part for record in records}
    parts = {name: TaggedTexts() for name in PARTS}
    for record in records:
        part, hash_ = record.part, text_hash(" ".join(record.words))
        if part == "train" and "test" not in named and is_test(hash_, args.test_fraction):
            part = "test"
        elif part == "train" and "validation" not in named and is_validation(hash_, args.validation_fraction):
            part = "validation"
        parts[part].words.append(record.words)
        parts[part].tags.append(record.tags)
    duplicates = _leave_out_duplicates(parts)
    names = [args.dataset_name] if args.dataset_name else [file.name for file in files]
    for name, texts in parts.items():
        if not texts:
            raise InputError(f"{', '.join(names)}: no text is left for {name} ({report.summary()}): give more texts")
    return TaggedSplits(
        TOKEN_TASK, **parts, label_names=_label_names(parts), duplicates=duplicates, names=names, report=report
    )


def files_by_part(args: TaggedArguments) -> dict[Path, str]:
    """Return all files with their parts.

    Raises:
        InputError: if a file is given for two parts, and as `find_files` does.
    """
    parts: dict[Path, str] = {}
    for part, paths in {"train": args.train_file, "validation": args.validation_file, "test": args.test_file}.items():
        for file in find_files(paths, SUFFIXES):
            if parts.setdefault(file, part) != part:
                raise InputError(f"{file} is given as --{parts[file]}_file and --{part}_file: give different files")
    return parts


def file_records(files: Mapping[Path, str], args: TaggedArguments, report: ReadingReport) -> Iterator[_Record]:
    """Yield the tagged texts of files with their parts; count those without words in the report.

    Raises:
        InputError: if a file cannot be read as what its name says, or its tags break the BIO scheme.
    """
    for file, part in files.items():
        if kind_of(file) == ".parquet":
            yield from _parquet_records(str(file), args, part, report)
            continue
        with readable(file):
            opened = TextFile(file, args.encoding, _refuse)
            if kind_of(file) == ".conll":
                yield from _conll_records(opened.lines(), str(file), part)
            else:
                example = f'{{"{args.tokens_column}": ["..."], "{args.tags_column}": ["O"]}}'
                yield from _records(json_objects(opened, example), None, args, part, report)


def _refuse(reason: Reason, where: str) -> NoReturn:
    """A word that is left out would give its sentence another meaning."""
    raise InputError(f"{where}: mend or remove the line")


def _conll_records(lines: Iterable[tuple[int, str]], path: str, part: str) -> Iterator[_Record]:
    """One word a line in the first column, its tag in the last; an empty line ends a text, `# ` before it comments."""
    words: list[str] = []
    tags: list[str] = []
    for number, line in chain(lines, [(0, "")]):
        columns = line.split("\t") if "\t" in line else line.split()
        columns = [column.strip() for column in columns]
        if not any(columns) or columns[0] == "-DOCSTART-":
            if words:
                yield _Record(words, tags, part)
            words, tags = [], []
            continue
        if line.startswith("# ") and not words and not _TAG.fullmatch(columns[-1]):
            continue
        where = f"{path}, line {number}"
        if len(columns) < 2:
            raise InputError(f"{where}: {columns[0]!r} has no tag: write word and tag, separated by a tab")
        check_bio(columns[-1], tags[-1] if tags else OUTSIDE, where)
        words.append(columns[0])
        tags.append(columns[-1])


def _parquet_records(path: str, args: TaggedArguments, part: str, report: ReadingReport) -> Iterator[_Record]:
    with open_parquet(Path(path)) as table:
        names = _tag_names(Features.from_arrow_schema(table.schema_arrow), args.tags_column)
        batches = record_batches(table, Path(path))
        rows = (row for batch in batches for row in batch.to_pylist())
        yield from _records(_numbered(rows, f"{path}, row"), names, args, part, report)


def _numbered(records: Iterable[Mapping[str, Any]], source: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((f"{source} {number}", record) for number, record in enumerate(records, start=1))


def check_bio(tag: str, before: str, where: str) -> None:
    """Check that a tag may follow another: `O`, `B-TYPE`, or `I-TYPE` inside an entity of that type.

    Raises:
        InputError: if it may not, with the place.
    """
    if not _TAG.fullmatch(tag):
        raise InputError(f"{where}: {tag!r} is no BIO tag: write O, B-TYPE or I-TYPE")
    entity = tag[2:]
    if tag.startswith("I-") and before[2:] != entity:
        raise InputError(f"{where}: {tag} follows {before}: an entity begins with B-{entity}")


def _records(
    records: Iterable[tuple[str, Mapping[str, Any]]],
    names: list[str] | None,
    args: TaggedArguments,
    part: str,
    report: ReadingReport,
) -> Iterator[_Record]:
    """Take words and tags from records, each behind its place; the column `split` may name another part.

    Args:
        names: names of tags that are numbers; None where the tags are names.
    """
    parts = {"train": "train", "test": "test"} | dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
    for where, record in records:
        words, tags = (_column(record, column, where) for column in (args.tokens_column, args.tags_column))
        if len(words) != len(tags):
            raise InputError(f"{where}: {len(words)} words and {len(tags)} tags: give a tag for each word")
        tags = [_tag_name(tag, names, where) if names else str(tag) for tag in tags]
        for before, tag in zip([OUTSIDE, *tags], tags, strict=False):
            check_bio(tag, before, where)
        split = record.get("split") or part
        if split not in parts:
            raise InputError(f"{where}: the column split holds {split!r}: write {', '.join(parts)} or nothing")
        if words:
            yield _Record([str(word) for word in words], tags, parts[split])
        else:
            report.count(Reason.EMPTY)


def _tag_name(number: Any, names: list[str], where: str) -> str:
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise InputError(f"{where}: the tag {number!r} is none of the numbers 0 to {len(names) - 1}")
    return names[number]


def _tag_names(features: Mapping[str, Any], column: str) -> list[str] | None:
    """Return the names of tags that a dataset stores as numbers; None where the tags are names already."""
    feature = features.get(column)
    inside = feature.feature if isinstance(feature, List) else None
    return inside.names if isinstance(inside, ClassLabel) else None


def _column(record: Mapping[str, Any], column: str, where: str) -> list[Any]:
    if column not in record:
        raise InputError(
            f"{where}: no column {column!r}; there are: {', '.join(record)}; "
            "name the right ones with --tokens_column and --tags_column"
        )
    if not isinstance(record[column], list):
        raise InputError(f"{where}: {column!r} is of type {type(record[column]).__name__}, not a list")
    return record[column]


def _hub_records(args: TaggedArguments, report: ReadingReport) -> Iterator[_Record]:
    with as_input_error(ValueError, OSError, HfHubHTTPError):
        splits = load_dataset(
            args.dataset_name, args.dataset_config_name, revision=args.dataset_revision, streaming=True
        )
    for name, records in splits.items():
        tag_names = _tag_names(records.features or {}, args.tags_column)
        numbered = _numbered(records, f"dataset {args.dataset_name}, {name}, record")
        yield from _records(numbered, tag_names, args, str(name), report)


def _leave_out_duplicates(parts: dict[str, TaggedTexts]) -> int:
    """Of texts with the same words in several parts, keep those of the last part; return how many were left out."""
    left_out, later = 0, set[str]()
    for name in reversed(parts):
        part, parts[name] = parts[name], TaggedTexts()
        keys = [" ".join(words) for words in part.words]
        for key, words, tags in zip(keys, part.words, part.tags, strict=True):
            if key not in later:
                parts[name].words.append(words)
                parts[name].tags.append(tags)
        left_out += len(part) - len(parts[name])
        later.update(keys)
    return left_out


def _label_names(parts: dict[str, TaggedTexts]) -> list[str]:
    types = {name: {tag[2:] for tags in part.tags for tag in tags if tag != OUTSIDE} for name, part in parts.items()}
    if not types["train"]:
        raise InputError("the training texts hold no entity: every tag is O")
    for name, there in types.items():
        if unseen := there - types["train"]:
            raise InputError(f"the {name} texts hold entities of type {min(unseen)}, which no training text holds")
    return [OUTSIDE, *(f"{kind}-{entity}" for entity in sorted(types["train"]) for kind in "BI")]
