"""Answer a table of texts: the rows of the input come back in their order, with more columns.

Until it is complete, the output is a folder of parts beside its place, each written whole, so that an interrupted run
goes on after its last part.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from tqdm import tqdm

from training.common.arguments import public_arguments
from training.common.errors import InputError, as_input_error, resumable
from training.common.files import read_json, write_json
from training.common.locks import only_run_in
from training.common.progress import ProgressBar
from training.common.provenance import base_fingerprint
from training.inference.tables import (
    STANDARD,
    Row,
    Table,
    columns_of,
    join_parts,
    read_rows,
    schema_of,
    typed_field,
    write_lines,
    write_rows,
)
from training.texts.columns import Columns
from training.texts.corpus import is_blank
from training.texts.decoding import unicode_error
from training.texts.lines import LINE_LIMIT
from training.texts.report import IN_WORDS, ReadingReport, Reason

ROWS_PER_PART = 8192  # are read, sorted by length, answered and written together
RUN = "run.json"


class Answerer(Protocol):
    """What answers texts; `schema` holds the columns of an answer."""

    schema: pa.Schema

    def __call__(self, texts: Sequence[str], bar: tqdm) -> tuple[list[Row], Counter[str]]:
        """Answer each text, advance the bar by their number, and count what the user should know of, by its name."""
        ...


@as_input_error(OSError)  # a name too long
def check_output(source: str, output: str, resume: bool, overwrite: bool) -> None:
    """Check that nothing of the user's would be overwritten.

    Raises:
        InputError: if the output is the input, or if it or an unfinished run of it exists and no flag says what to do
            with it.
    """
    if output == STANDARD:
        if resume or overwrite:
            raise InputError("--resume and --overwrite are for files: leave them out for standard output")
        return
    if resume and overwrite:
        raise InputError("give --resume or --overwrite, not both")
    file = Path(output)
    if file.suffix.lower() == ".gz":
        raise InputError(f"{file}: the output is not compressed: leave out .gz")
    if file.is_dir():
        raise InputError(f"{file} is a folder: give a file")
    if file.exists() and Path(source).exists() and file.samefile(source):
        raise InputError(f"{file} is the input: give another output file")
    if file.exists() and not overwrite:
        raise InputError(f"{file} exists already: give another file, or --overwrite to replace it")
    if parts_folder(output).exists() and not (resume or overwrite):
        raise InputError(f"{file} is unfinished: continue with --resume, or start again with --overwrite")


def parts_folder(output: str) -> Path:
    """Return the folder of the parts of an unfinished output."""
    return Path(output).with_name(f".{Path(output).name}.parts")


def annotate(
    source: Table,
    output: Table,
    text_column: str,
    answer: Answerer,
    run: dict[str, Any],
    resume: bool = False,
    keep_columns: bool = True,
) -> Counter[str]:
    """Answer the texts of a table, and write its rows with their answers.

    Args:
        run: what has to be the same for an unfinished output to be continued.
        keep_columns: whether the input's own columns are written too.

    Returns:
        The number of `rows`, of those without a usable text, whose answers are empty, of lines that were left out,
        and what the answerer counts.

    Raises:
        InputError: if the input cannot be read, holds no rows or no such column, or has a column that an answer has
            too; if an unfinished output was begun with something else; if the output cannot be written, or another
            run writes it; and for a line to leave out where rows are known by their number alone.
    """
    report = ReadingReport()

    def leave_out(reason: Reason, message: str) -> None:
        if not keep_columns:
            raise InputError(f"{message}: mend or remove the line: the answers alone have to be one for each line")
        report.count(reason)

    chunks = _chunks(read_rows(source, text_column, leave_out))
    first = next(chunks, None)
    if first is None:
        raise InputError(f"{source.name}: holds no rows ({report.summary()})")
    Columns(text_column).check(columns_of(first.rows), source.name)
    fields = _own_fields(source, output, first.rows, answer.schema) if keep_columns else []
    schema = pa.schema([*fields, *answer.schema])
    free = not keep_columns or output.format == "jsonl"  # where a row may have columns of its own
    known = None if free else {field.name for field in fields}
    with ProgressBar(unit=" texts") as bar:
        answered = partial(_answer, source=source, text_column=text_column, known=known, answer=answer, bar=bar)
        if output.path == STANDARD:
            counts = _print_parts(chain([first], chunks), answered, output.format, schema)
        else:
            with only_run_in(Path(output.path)), _kept_to_resume(source, parts_folder(output.path)):
                counts = _write_parts(chain([first], chunks), answered, output, schema, run, resume)
    return counts + Counter({f"left out as {IN_WORDS[reason]}": number for reason, number in report.left_out.items()})


def run_identity(args: Any, source: Table) -> dict[str, Any]:
    """Return what must not change for a run to be continued: the flags, the weights, and the input's size and time.

    Args:
        args: the flags of a script, one of which is `model`.
    """
    identity = public_arguments(args)
    for name in ("input", "input_file", "output", "output_file", "texts_per_batch"):
        identity.pop(name, None)
    if source.path != STANDARD:
        with as_input_error(OSError):
            status = Path(source.path).stat()
        identity["texts"] = [Path(source.path).name, status.st_size, status.st_mtime_ns]
    return identity | {"weights": base_fingerprint(args.model)}


def describe_counts(counts: Counter[str]) -> str:
    """Write the counts in a few words, `rows` first and zeros left out."""
    others = [f"{number:,} {name}" for name, number in sorted(counts.items()) if number and name != "rows"]
    return ", ".join([f"{counts['rows']:,} rows", *others])


@dataclass(frozen=True)
class _Chunk:
    number: int
    rows: list[Row]


Answered = Callable[[_Chunk], tuple[list[Row], Counter[str]]]


def _chunks(rows: Iterator[Row]) -> Iterator[_Chunk]:
    for number in count():
        if not (chunk := list(islice(rows, ROWS_PER_PART))):
            return
        yield _Chunk(number, chunk)


def _own_fields(source: Table, output: Table, rows: Sequence[Row], answers: pa.Schema) -> list[pa.Field]:
    """Return the input's columns; their types matter to Parquet only, and are strings in CSV, TSV and text."""
    columns = columns_of(rows)
    if taken := [name for name in answers.names if name in columns]:
        raise InputError(
            f"{source.name}: has a column {taken[0]!r} already: rename it, or have predict.py name its new columns "
            "with --prefix"
        )
    if (schema := schema_of(source)) is not None:
        return list(schema)
    if source.format == "jsonl" and output.format == "parquet":
        return [typed_field(name, [row.get(name) for row in rows], source.name) for name in columns]
    return [pa.field(name, pa.string()) for name in columns]


def _answer(
    chunk: _Chunk, source: Table, text_column: str, known: set[str] | None, answer: Answerer, bar: tqdm
) -> tuple[list[Row], Counter[str]]:
    """Return the rows of a chunk with their answers; those of a row without a usable text are None.

    Args:
        known: columns that a row may have; None for any.
    """
    counts = Counter({"rows": len(chunk.rows)})
    usable = []
    for number, row in enumerate(chunk.rows):
        text, place = row.get(text_column), f"{source.name}, row {chunk.number * ROWS_PER_PART + number + 1}"
        if not isinstance(text, str | None):
            raise InputError(f"{place}: {text_column!r} is of type {type(text).__name__}, not a string")
        if known is not None and (new := [name for name in row if name not in known]):
            raise InputError(
                f"{place}: none of the first {ROWS_PER_PART:,} rows has its column {new[0]!r}: write .jsonl instead"
            )
        if text is None or is_blank(text):
            counts["without text"] += 1
        elif unicode_error(text):
            counts["not Unicode"] += 1
        elif len(text) > LINE_LIMIT:
            counts[IN_WORDS[Reason.TOO_LONG]] += 1
        else:
            usable.append(number)
    texts = [chunk.rows[number][text_column] for number in usable]
    answers, more = answer(texts, bar) if texts else ([], Counter())
    nothing = dict.fromkeys(answer.schema.names)
    rows = [row | nothing for row in chunk.rows]
    for number, values in zip(usable, answers, strict=True):
        rows[number] |= values
    return rows, counts + more


def _print_parts(chunks: Iterable[_Chunk], answered: Answered, table_format: str, schema: pa.Schema) -> Counter[str]:
    total: Counter[str] = Counter()
    for chunk in chunks:
        rows, counts = answered(chunk)
        write_lines(sys.stdout, rows, table_format, schema.names, with_header=chunk.number == 0)
        total += counts
    return total


def _write_parts(
    chunks: Iterable[_Chunk],
    answered: Answered,
    output: Table,
    schema: pa.Schema,
    run: dict[str, Any],
    resume: bool,
) -> Counter[str]:
    """Write what is missing of the parts, then join them in the place of the output."""
    folder = parts_folder(output.path)
    with as_input_error(OSError):
        _prepare(folder, run | {"columns": schema.names}, resume)
        parts = []
        for chunk in chunks:
            part = folder / f"part-{chunk.number:06d}"
            parts.append(part)
            if not part.exists():
                rows, counts = answered(chunk)
                beside = folder / "writing"
                write_rows(beside, rows, output.format, schema, with_header=chunk.number == 0)
                write_json(part.with_suffix(".json"), counts)
                os.replace(beside, part)
        joined = folder / "joined"
        join_parts(parts, output.format, joined)
        total = sum((Counter(read_json(part.with_suffix(".json"))) for part in parts), Counter())
        os.replace(joined, output.path)
        shutil.rmtree(folder)
    return total


@contextmanager
def _kept_to_resume(source: Table, folder: Path) -> Iterator[None]:
    """Keep the parts of a run that breaks off, unless its texts are from standard input, which has no second time."""
    with resumable(folder.exists):
        try:
            yield
        finally:
            if source.path == STANDARD:
                shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: Path, run: dict[str, Any], resume: bool) -> None:
    """Make the folder of parts, or check that the one to continue was begun with the same input, model and flags."""
    if folder.exists() and not resume:
        shutil.rmtree(folder)
    if not (folder / RUN).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RUN, run)
    before = read_json(folder / RUN)
    for name, value in run.items():
        if before.get(name) != value:
            raise InputError(
                f"{folder}: cannot resume, {name} was {before.get(name)} and is now {value}: give what the run began "
                "with, or start again with --overwrite"
            )
