"""Damaged and hostile files, read by every reader: each gives its texts, or one line that says what is wrong.

    python -m benchmarks.fuzz_readers --files 100000

Each file is a good one of some kind, with up to four mutations. Its reading has to end in time, either with the texts
read and those left out adding up to the records that another count finds, or with an `InputError` of one line. No
other error may come, and memory has a limit. Then benchmarks/results/fuzz_readers.json says what was read.
"""

import argparse
import csv
import gzip
import io
import random
import re
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datatrove.utils.typeshelper import StatHints

from benchmarks.fuzz_files import DrawnFile, make_file
from benchmarks.reporting import write_result
from modeling_bilma.tokenization_bilma import read_vocabulary
from training.common.errors import InputError, as_input_error
from training.common.progress import ProgressBar
from training.corpus_preparation.records import find_dumps
from training.corpus_preparation.regions import region_finder
from training.inference.tables import INPUT_FORMATS, read_rows, table_at
from training.prepare_corpus import PrepareArguments, cleaning_steps
from training.texts.corpus import Corpus
from training.texts.files import find_files
from training.texts.parquet_stream import Lane, ParquetStream
from training.texts.report import ReadingReport
from training.texts.tagged import TOKEN_TASK, TaggedArguments, file_records, files_by_part

RESULTS = Path(__file__).with_name("results") / "fuzz_readers.json"
SECONDS = 20  # for one file
PART = 1000  # files that a process reads in one go
MEMORY = 2**30  # bytes at the peak, of the whole process


class NotSurvivedError(Exception):
    """A reading that did not end as it has to."""


class OutOfTimeError(BaseException):
    """No `Exception`, so that no reader takes it for an error of its own."""


@dataclass
class Found:
    """What a reader found: its records, with their texts if the reader gives some, and those left out by reason."""

    records: int
    texts: list[str] | None = None
    left_out: Counter[str] = field(default_factory=Counter)


def left_out_of(report: ReadingReport) -> Counter[str]:
    return Counter({reason.value: count for reason, count in report.left_out.items()})


def read_corpus(path: Path, draw: random.Random) -> Found:
    with_labels = ".txt" not in path.suffixes and draw.random() < 0.5
    corpus = Corpus(find_files([path]), label_column="label" if with_labels else None)
    texts = [text for text, *_ in corpus.rows()]
    return Found(len(texts), None if with_labels else texts, left_out_of(corpus.report))


def read_stream(path: Path, draw: random.Random) -> Found:
    stream = ParquetStream(Corpus(find_files([path])))
    texts = list(Lane(stream).texts((0, 0), 0, len(stream)))
    return Found(len(texts), texts, left_out_of(stream.corpus.report))


def read_table(path: Path, draw: random.Random) -> Found:
    report, table = ReadingReport(), table_at(str(path), "--input_file", INPUT_FORMATS)
    rows = sum(1 for _ in read_rows(table, "text", lambda reason, _: report.count(reason)))
    return Found(rows, None, left_out_of(report))


def read_tagged(path: Path, draw: random.Random) -> Found:
    report = ReadingReport()
    args = TaggedArguments(task=TOKEN_TASK, train_file=[str(path)])
    records = sum(1 for _ in file_records(files_by_part(args), args, report))
    return Found(records, None, left_out_of(report))


def read_words(path: Path, draw: random.Random) -> Found:
    with as_input_error(OSError, ValueError):
        return Found(len(read_vocabulary(path)))


def read_dump(path: Path, draw: random.Random) -> Found:
    """Read a dump, and take its texts through the steps that each goes through by itself."""
    args = PrepareArguments(input=[str(path)], output_dir="", region="mx", anonymise=draw.random() < 0.5)
    files = find_dumps(args.input)
    reader, *filters = cleaning_steps(args, files, region_finder(args.region, None, None, files))
    documents = list(reader.run())
    texts = [document.text for document in documents]
    for step in filters:
        documents = list(step.run(documents))
    dropped = f"{StatHints.dropped}_"
    counts = ((name, stat.total) for step in (reader, *filters) for name, stat in step.stats.stats.items())
    left_out = {name.removeprefix(dropped): count for name, count in counts if name.startswith(dropped)}
    return Found(len(documents), texts, Counter(left_out))


READERS: dict[str, Callable[[Path, random.Random], Found]] = {
    "corpus": read_corpus,
    "stream": read_stream,
    "table": read_table,
    "tagged": read_tagged,
    "vocabulary": read_words,
    "dump": read_dump,
}


def counts_by_another_way(path: Path, reader: str) -> set[int]:
    """Return the numbers of records that a file may be said to have, found without its reader."""
    if path.suffix == ".parquet":
        return {pq.ParquetFile(path).metadata.num_rows}
    content = unpacked(path)
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    wide = next((name for mark, name in marks.items() if content.startswith(mark)), None)
    if wide:  # decoding removes the byte-order mark
        text = content.decode(wide, "surrogatepass")
    else:
        text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    rows = text.removesuffix("\n").split("\n") if text else []
    if ".txt" in path.suffixes or ".vocab" in path.suffixes:
        return {len(rows)}
    if ".conll" in path.suffixes:
        return {count_sentences(rows)}
    if not {".jsonl", ".json", ".ndjson"}.isdisjoint(path.suffixes):
        return {sum(bool(row.removeprefix("\ufeff").strip()) for row in rows)}
    csv.field_size_limit(sys.maxsize)
    dialects = [{}] if ".csv" in path.suffixes else [{}, {"quoting": csv.QUOTE_NONE}, {"escapechar": "\\"}]
    delimiter = "," if ".csv" in path.suffixes else "\t"
    readers = (csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **dialect) for dialect in dialects)
    counts = {sum(1 for _ in rows) - 1 for rows in readers}
    return {max(0, count) for count in counts} if reader in ("table", "dump") else counts


def unpacked(path: Path) -> bytes:
    """Return the content of a file, unpacked as its name says."""
    if path.suffix != ".zst":
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    with pa.input_stream(str(path), compression="zstd") as file:
        return file.read()


def count_sentences(rows: list[str]) -> int:
    """Count the runs of lines of a CoNLL file that are more than comments."""
    runs, words = 0, 0
    for row in [*(row.removeprefix("\ufeff") for row in rows), ""]:
        if not row.strip() or row.strip().startswith("-DOCSTART-"):
            runs, words = runs + bool(words), 0
        elif words or not row.startswith("# ") or re.search(r"\s(O|[BI]-\S+)\s*$", row):
            words += 1
    return runs


@contextmanager
def in_time() -> Iterator[None]:
    """Stop what takes over `SECONDS`."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def try_file(file: DrawnFile, draw: random.Random) -> Counter[str]:
    """Read a file and return what became of its records.

    Raises:
        NotSurvivedError: if an error is not of one line, or a record is neither read nor counted.
    """
    try:
        found = READERS[file.reader](file.path, draw)
    except InputError as error:
        if "\n" in str(error) or file.path.name not in str(error):
            raise NotSurvivedError(f"a message of several lines or without the file: {error}") from error
        if file.texts:
            raise NotSurvivedError(f"a good file was refused: {error}") from error
        return Counter(refused=1)
    possible = counts_by_another_way(file.path, file.reader)
    if found.records + found.left_out.total() not in possible:
        raise NotSurvivedError(f"{found.records} read and {dict(found.left_out)} left out, of {possible}")
    if file.texts is not None and found.texts is not None and sorted(found.texts) != sorted(file.texts):
        raise NotSurvivedError("a good file gave other texts")
    return Counter(read_files=1, records=found.records) + found.left_out


@dataclass
class Outcome:
    """What became of files: counts by reader and kind, what was not survived, and the most memory of a process."""

    became: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    memory: int = 0  # bytes

    def add(self, other: "Outcome") -> None:
        for kind, counts in other.became.items():
            self.became.setdefault(kind, Counter()).update(counts)
        self.faults += other.faults
        self.memory = max(self.memory, other.memory)


def fuzz(numbers: range, seed: int, keep: Path) -> Outcome:
    """Read the mutated files of these numbers.

    Args:
        keep: folder for files that were not survived.
    """
    outcome = Outcome()
    with TemporaryDirectory() as folder:
        for number in numbers:
            draw = random.Random(f"{seed} {number}")
            file = make_file(Path(folder), draw)
            try:
                with in_time():
                    result = try_file(file, draw)
            except (Exception, OutOfTimeError) as error:
                kept = shutil.move(file.path, keep / f"{number}-{file.path.name}")
                outcome.faults.append(f"{kept} ({file.reader}): {type(error).__name__}: {error}")
                continue
            outcome.became.setdefault(f"{file.reader} {''.join(file.path.suffixes)}", Counter()).update(result)
    outcome.memory = peak_memory()
    return outcome


def peak_memory() -> int:
    """Return the most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000, help="number of files (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other files (default: 0)")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the files (default: 1)")
    args = parser.parse_args()
    parts = [range(args.files)[first : first + PART] for first in range(0, args.files, PART)]
    total = Outcome()
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
        outcomes = pool.map(partial(fuzz, seed=args.seed, keep=Path.cwd()), parts)
        for outcome in ProgressBar(outcomes, "thousands of files", total=len(parts)):
            print("\n".join(outcome.faults), end="\n" * bool(outcome.faults), flush=True)
            total.add(outcome)
    for kind, counts in sorted(total.became.items()):
        print(f"{kind}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")
    print(f"{args.files:,} files, at most {total.memory / 2**20:,.0f} MiB of memory")
    if total.memory > MEMORY:
        sys.exit(f"that is over {MEMORY / 2**20:,.0f} MiB")
    if total.faults:
        sys.exit(f"{len(total.faults)} files were not survived")
    facts = {"files": args.files, "seed": args.seed, "peak_memory_mib": round(total.memory / 2**20)}
    write_result(RESULTS, torch.device("cpu"), **facts, became=dict(sorted(total.became.items())))


if __name__ == "__main__":
    main()
