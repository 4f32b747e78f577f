"""Read damaged and hostile files with every reader: each gives its texts, or one line that says what is wrong.

    python -m benchmarks.fuzz_readers --files 100000

Each file is a valid one with up to four mutations. Reading it must end in time, either with texts read and left out
that add up to an independent count of its records, or with an `InputError` of one line. No other error may occur, and
memory is limited. Writes benchmarks/results/fuzz_readers.json.
"""

import argparse
import csv
import gzip
import io
import json
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from benchmarks.reporting import write_result
from training.common.errors import InputError
from training.texts.corpus import Corpus
from training.texts.files import find_files
from training.texts.parquet_stream import Lane, ParquetStream
from training.texts.synthetic import generate_texts

RESULTS = Path(__file__).with_name("results") / "fuzz_readers.json"
SECONDS = 20  # for one file
MEMORY = 2**30  # bytes at the peak, of the whole process
WORDS = generate_texts("mx", 300)
ENCODINGS = ("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-16-le")
ODD_BYTES = [b"\0", b"\xff", b"\xed\xa0\x80", b'"', b'""', b"\\", b"\n", b"\r", b"\t", b",", b";", b"{", b"[" * 3000]
ODD_BYTES += [b"\xff\xfe", b"\xef\xbb\xbf", "\u200b".encode(), b"9" * 5000, b'{"delete": {}}\n', b"\x1f\x8b\x08"]


class NotSurvivedError(Exception):
    """A file that was not read as it should be."""


class OutOfTimeError(BaseException):
    """Not an `Exception`, so that no reader handles it."""


def lines(texts: list[str], draw: random.Random) -> str:
    return "\n".join(texts) + "\n" * draw.randint(0, 2)


def records(texts: list[str], draw: random.Random) -> str:
    ascii_only = draw.random() < 0.3
    labels = ["a", 1, 1.0, True, None]
    rows = ({"text": text, "label": draw.choice(labels), "id": 7} for text in texts)
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)


def table(texts: list[str], draw: random.Random, delimiter: str = ",") -> str:
    content = io.StringIO()
    quoting = draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    writer = csv.writer(content, delimiter=delimiter, quoting=quoting, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerows([("text", "label"), *((text, draw.choice("ab1")) for text in texts)])
    return content.getvalue()


def tabs(texts: list[str], draw: random.Random) -> str:
    if draw.random() < 0.5:
        return table(texts, draw, "\t")
    return "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *((text, "a") for text in texts)])


WRITERS: dict[str, Callable[[list[str], random.Random], str]] = {
    ".txt": lines,
    ".jsonl": records,
    ".csv": table,
    ".tsv": tabs,
}


def parquet(texts: list[str], draw: random.Random) -> bytes:
    content = io.BytesIO()
    kind = draw.choice([pa.int8(), pa.float32(), pa.bool_(), pa.string()])
    labels = pa.array([draw.choice([0, 1, None]) for _ in texts], pa.int8()).cast(kind)
    columns = pa.table({"text": pa.array(texts, pa.string()), "label": labels})
    compression = draw.choice(["none", "snappy", "zstd", "gzip"])
    pq.write_table(columns, content, row_group_size=draw.randint(1, 40), compression=compression)
    return content.getvalue()


def flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def remove(content: bytearray, draw: random.Random) -> None:
    first = draw.randrange(len(content))
    del content[first : first + draw.randint(1, 50)]


def repeat(content: bytearray, draw: random.Random) -> None:
    first, place = draw.randrange(len(content)), draw.randrange(len(content))
    content[place:place] = content[first : first + draw.randint(1, 200)]


def insert(content: bytearray, draw: random.Random) -> None:
    place = draw.choice([0, draw.randrange(len(content))])
    content[place:place] = draw.choice(ODD_BYTES) * draw.randint(1, 3)


def lengthen(content: bytearray, draw: random.Random) -> None:
    if draw.random() < 0.02:  # these take long
        place = draw.randrange(len(content))
        content[place:place] = draw.choice([b"x", b'"', b"\xc3\xb1", b"\0", b"["]) * draw.choice([2**20, 2**22])


MUTATIONS = (flip, cut, remove, repeat, insert, lengthen)


def make_file(folder: Path, draw: random.Random) -> tuple[Path, list[str] | None]:
    """Write a file, and return it with its texts if it was not mutated."""
    texts = draw.sample(WORDS, draw.randint(0, 40))
    suffix = draw.choice([*WRITERS, ".parquet"])
    if suffix == ".parquet":
        content, encoding = bytearray(parquet(texts, draw)), "utf-8"
    else:
        encoding = draw.choice(ENCODINGS)
        content = bytearray(WRITERS[suffix](texts, draw).encode(encoding, "replace"))
    packed = suffix != ".parquet" and draw.random() < 0.25
    packed_first = packed and draw.random() < 0.5
    if packed_first:
        content = bytearray(gzip.compress(content, 1))
    number = draw.choice([0, 1, 1, 2, 3, 4])
    for _ in range(number):
        if content:
            draw.choice(MUTATIONS)(content, draw)
    if packed and not packed_first:
        content = bytearray(gzip.compress(content, 1))
    path = folder / f"texts{suffix}{'.gz' * packed}"
    path.write_bytes(content)
    is_good = number == 0 and encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")
    return path, texts if is_good else None


def independent_counts(path: Path) -> set[int]:
    """Return the possible numbers of records in a file, counted without its reader."""
    if path.suffix == ".parquet":
        return {pq.ParquetFile(path).metadata.num_rows}
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    marks = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    wide = next((name for mark, name in marks.items() if content.startswith(mark)), None)
    text = content.decode(wide, "surrogatepass") if wide else content.decode("utf-8", "surrogateescape")
    text = text.removeprefix("\ufeff")
    rows = text.removesuffix("\n").split("\n") if text else []
    if ".txt" in path.suffixes:
        return {len(rows)}
    if ".jsonl" in path.suffixes:
        return {sum(bool(row.removeprefix("\ufeff").strip()) for row in rows)}
    csv.field_size_limit(sys.maxsize)
    dialects = [{}] if ".csv" in path.suffixes else [{}, {"quoting": csv.QUOTE_NONE}, {"escapechar": "\\"}]
    delimiter = "," if ".csv" in path.suffixes else "\t"
    readers = (csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **dialect) for dialect in dialects)
    return {sum(1 for _ in reader) - 1 for reader in readers}


@contextmanager
def in_time() -> Iterator[None]:
    """Stop the block after `SECONDS`."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def read_rows(path: Path, with_labels: bool) -> tuple[list[str], Counter[str]]:
    corpus = Corpus(find_files([path]), label_column="label" if with_labels else None)
    texts = [text for text, *_ in corpus.rows()]
    return texts, Counter({reason.value: count for reason, count in corpus.report.left_out.items()})


def read_stream(path: Path) -> tuple[list[str], Counter[str]]:
    stream = ParquetStream(Corpus(find_files([path])))
    texts = sorted(Lane(stream).texts((0, 0), 0, len(stream)))
    return texts, Counter({reason.value: count for reason, count in stream.corpus.report.left_out.items()})


def try_file(path: Path, expected: list[str] | None, draw: random.Random) -> Counter[str]:
    """Read a file and count what happened to its records.

    Raises:
        NotSurvivedError: if an error is not one line, or a record is neither read nor counted.
    """
    streamed = path.suffix == ".parquet" and draw.random() < 0.3
    with_labels = ".txt" not in path.suffixes and draw.random() < 0.5
    try:
        texts, left_out = read_stream(path) if streamed else read_rows(path, with_labels)
    except InputError as error:
        if "\n" in str(error) or path.name not in str(error):
            raise NotSurvivedError(f"a message with several lines or without the file name: {error}") from error
        if expected:
            raise NotSurvivedError(f"a valid file was refused: {error}") from error
        return Counter(refused=1)
    found, possible = len(texts) + left_out.total(), independent_counts(path)
    if found not in possible:
        raise NotSurvivedError(f"{len(texts)} read and {dict(left_out)} left out, of {possible}")
    if expected is not None and not with_labels and sorted(texts) != sorted(expected):
        raise NotSurvivedError("a valid file gave other texts")
    return Counter(read_files=1, texts=len(texts)) + left_out


def fuzz(files: int, seed: int, keep: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Read mutated files; return counts of the outcomes by kind of file, and a line for each fault.

    Args:
        keep: folder for files with a fault.
    """
    became: dict[str, Counter[str]] = {}
    faults = []
    with TemporaryDirectory() as folder:
        for number in tqdm(range(files), "files", leave=False):
            draw = random.Random(f"{seed} {number}")
            path, expected = make_file(Path(folder), draw)
            try:
                with in_time():
                    result = try_file(path, expected, draw)
            except (Exception, OutOfTimeError) as error:
                kept = shutil.move(path, keep / f"{number}-{path.name}")
                faults.append(f"{kept}: {type(error).__name__}: {error}")
                continue
            became.setdefault("".join(path.suffixes), Counter()).update(result)
    return became, faults


def peak_memory() -> int:
    """Return the peak memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000, help="number of files (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the files (default: 0)")
    args = parser.parse_args()
    became, faults = fuzz(args.files, args.seed, Path.cwd())
    memory = peak_memory()
    if memory > MEMORY:
        faults.append(f"peak memory was {memory / 2**20:,.0f} MiB, over {MEMORY / 2**20:,.0f}")
    for kind, counts in sorted(became.items()):
        print(f"{kind}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")
    print(f"{args.files:,} files, peak memory {memory / 2**20:,.0f} MiB")
    if faults:
        sys.exit("\n".join(["not survived:", *faults]))
    facts = {"files": args.files, "seed": args.seed, "peak_memory_mib": round(memory / 2**20)}
    write_result(RESULTS, torch.device("cpu"), **facts, became=became)


if __name__ == "__main__":
    main()
