"""Measure how many texts training/predict.py classifies in a second, as a process of its own, and what bounds it.

    python -m benchmarks.predict --model models/bilma --input mx.jsonl.gz
    python -m benchmarks.predict --model models/bilma --input mx.jsonl.gz --before ../earlier

The classifier is the model with a new head of three labels: its answers are of no use, and take as long. Two sizes of
file tell the start from the texts. With --before, the script of another checkout takes turns with this one.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.reporting import write_result
from benchmarks.turns import summary
from modeling_bilma import BilmaForSequenceClassification
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.inference.annotation import ROWS_PER_PART
from training.inference.outputs import batched_outputs, encode_texts, open_model
from training.inference.tables import read_rows, table_at, write_rows
from training.texts.corpus import Corpus
from training.texts.files import find_files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "predict.json"
WORDS = 15  # of a short text, at most
LABELS = {0: "NEG", 1: "NEU", 2: "POS"}
DTYPES = ("float32", "bfloat16")
MAX_LENGTH, TEXTS_PER_BATCH = 128, 64  # as predict.py has them
T = TypeVar("T")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="models/bilma", help="BILMA folder or Hub id")
    parser.add_argument("--input", nargs="+", required=True, help="texts to measure with")
    parser.add_argument("--pooling", default="cls", help="that of the classifier")
    parser.add_argument("--sizes", nargs=2, type=int, default=[2048, 10240], help="texts of the two files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="another checkout to measure, such as a git worktree")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    texts = [text for text in Corpus(find_files(args.input)) if len(text.split()) <= WORDS]
    checkouts = {"now": ROOT} | ({"before": args.before} if args.before else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_classifier(args.model, args.pooling, folder / "model")
        files = {size: write_texts(folder / f"{size}.csv", texts, size) for size in args.sizes}
        speeds = measure(checkouts, folder / "model", files, args.rounds)
        shares = {dtype: shares_of_time(folder / "model", files[args.sizes[0]], dtype) for dtype in DTYPES}
    result = write_result(
        args.output,
        torch.device("cpu"),
        pooling=args.pooling,
        sizes=args.sizes,
        rounds=args.rounds,
        texts_per_second=speeds,
        shares_of_processor_time=shares,
    )
    print({name: result[name] for name in ("texts_per_second", "shares_of_processor_time")})


def save_classifier(model: str, pooling: str, folder: Path) -> None:
    """Save a model with a new head as scripts save models: in bfloat16."""
    classifier = BilmaForSequenceClassification.from_pretrained(
        model, id2label=LABELS, label2id={name: number for number, name in LABELS.items()}, pooling=pooling
    )
    classifier.to(torch.bfloat16).save_pretrained(folder)
    load_tokenizer(model).save_pretrained(folder)


def write_texts(file: Path, texts: Sequence[str], size: int) -> Path:
    """Write a file of so many texts, again from the first one if they are fewer."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([["text"], *([text] for text in islice(cycle(texts), size))])
    return file


def measure(checkouts: dict[str, Path], model: Path, files: dict[int, Path], rounds: int) -> dict[str, Any]:
    """Return the speeds of each type and checkout, which take turns."""
    cases = [(dtype, name, size) for dtype in DTYPES for name in checkouts for size in files]
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for dtype, name, size in cases:
            found[dtype, name, size].append(time_run(checkouts[name], model, files[size], dtype))
    few, many = files
    return {
        dtype: {name: speeds(few, many, found[dtype, name, few], found[dtype, name, many]) for name in checkouts}
        for dtype in DTYPES
    }


def time_run(checkout: Path, model: Path, file: Path, dtype: str) -> tuple[float, float]:
    """Run the script of a checkout, and return the seconds, and those of processor time, that it took."""
    output, errors = file.with_name("answers.csv"), file.with_name("errors.txt")
    script = [sys.executable, checkout / "training" / "predict.py", "--overwrite", "--dtype", dtype]
    begin = time.perf_counter()
    with errors.open("w") as opened:
        run = subprocess.Popen(
            [*script, "--model", model, "--input", file, "--output", output],
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stderr=opened,
        )
        _, status, usage = os.wait4(run.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        ended = f"{checkout}: predict.py ended with status {os.waitstatus_to_exitcode(status)}"
        raise SystemExit(f"{ended}: {errors.read_text()}")
    return seconds, usage.ru_utime + usage.ru_stime


def speeds(
    few: int, many: int, of_few: Sequence[tuple[float, float]], of_many: Sequence[tuple[float, float]]
) -> dict[str, dict[str, float]]:
    """Return texts per second with the start and without it, by the clock and by processor time, which a busy machine
    changes less.

    Args:
        of_few: seconds and processor seconds of each run over `few` texts.
        of_many: the same over `many` texts.
    """
    found = {}
    for number, clock in enumerate(("clock", "processor time")):
        short, long = ([run[number] for run in runs] for runs in (of_few, of_many))
        found[f"{clock}, start included"] = summary([many / seconds for seconds in long])
        without = [(many - few) / (end - begin) for begin, end in zip(short, long, strict=True)]
        found[f"{clock}, start excluded"] = summary(without)
    return found


def shares_of_time(model: Path, file: Path, dtype: str) -> dict[str, float]:
    """Return what the parts of a run take of its processor time after the start, each run by itself."""
    network, tokenizer = open_model(BilmaForSequenceClassification, str(model), dtype)
    table = table_at(str(file), "--input", ("csv",))
    rows, reading = timed(lambda: list(read_rows(table, "text", _refuse)))
    (ids, _), tokenising = timed(lambda: encode_texts([row["text"] for row in rows], tokenizer, MAX_LENGTH))

    def answer() -> None:
        for start in range(0, len(ids), ROWS_PER_PART):
            list(batched_outputs(ids[start : start + ROWS_PER_PART], network, tokenizer, TEXTS_PER_BATCH))

    _, answering = timed(answer)
    _, writing = timed(lambda: _write(file.with_suffix(".written"), rows))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        answer()
    operators = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    products = sum(operators.get(name, 0) for name in PRODUCTS) / sum(operators.values())
    total = reading + tokenising + answering + writing
    parts = {
        "reading": reading,
        "tokenising": tokenising,
        "matrix products": answering * products,
        "rest of the model": answering * (1 - products),
        "writing": writing,
    }
    return {name: round(seconds / total, 4) for name, seconds in parts.items()}


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what a function returns, and the seconds of processor time that it took."""
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin


def _refuse(reason: object, message: str) -> None:
    raise SystemExit(f"{message}: {reason}")


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("score", pa.float64())])
    write_rows(file, [row | {"label": LABELS[0], "score": 1 / 3} for row in rows], "csv", schema, with_header=True)


if __name__ == "__main__":
    main()
