"""Measure the time from text to logits of a converted model and of the authors' code, with the same random weights.

    python -m benchmarks.inference --authors_python .venv-parity/bin/python

The two take turns, batch by batch, so that other load on the machine affects both. Needs the environment of
`make parity`.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.convert_keras import convert
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.files import write_json

ROOT = Path(__file__).resolve().parents[1]
AUTHORS = ROOT / "tests" / "parity" / "authors.py"
TEXTS = [  # the first four are from the README of the authors' package
    "Vamos a comer unos tacos",
    "Tenemos tres dias sin internet ni senal de celular en el pueblo.",
    "Incomunicados en el siglo XXI tampoco hay servicio de telefonia fija",
    "Los del banco no dejan de llamarme",
    "¡Qué bonito día para salir a caminar con el perro! 😍",
    "jajajaja no puedo creer que otra vez perdimos el partido",
    "@usuario mañana te llamo y platicamos con calma",
    "El camión tardó una hora y media en pasar, ya ni modo https://url",
]
BATCHES = {"one_text": TEXTS[:1], "batch_of_8": TEXTS}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--authors_python", default=ROOT / ".venv-parity" / "bin" / "python", type=Path)
    parser.add_argument("--rounds", type=int, default=40, help="number of measurements for each batch")
    parser.add_argument("--warmup_rounds", type=int, default=5, help="rounds before them, which are not counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="number of cores for each side")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "inference.json")
    return parser.parse_args()


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median, quartiles and extremes in milliseconds."""
    low, first, median, third, high = np.percentile(np.array(seconds) * 1000, [0, 25, 50, 75, 100]).round(2).tolist()
    return {"median_ms": median, "quartile_1_ms": first, "quartile_3_ms": third, "min_ms": low, "max_ms": high}


def measure(authors: subprocess.Popen, folder: Path, rounds: int, warmup_rounds: int) -> dict[str, dict]:
    convert(str(folder / "mlm.h5"), "mx", folder / "converted", folder / "vocab.txt")
    model = BilmaForMaskedLM.from_pretrained(folder / "converted").eval()
    tokenizer = load_tokenizer(folder / "converted")
    seconds = {name: {"converted": [], "authors_predict": [], "authors_call": []} for name in BATCHES}
    for number in range(warmup_rounds + rounds):
        for name, texts in BATCHES.items():
            start = time.perf_counter()
            with torch.inference_mode():
                model(**tokenizer(texts, padding=True, return_tensors="pt"))
            ours = time.perf_counter() - start
            authors.stdin.write(json.dumps({"verb": "logits", "texts": texts}) + "\n")
            authors.stdin.flush()
            theirs = json.loads(authors.stdout.readline())["seconds"]
            if number >= warmup_rounds:
                seconds[name]["converted"].append(ours)
                seconds[name]["authors_predict"].append(theirs["predict"])
                seconds[name]["authors_call"].append(theirs["call"])
    return {name: {who: summary(times) for who, times in of_batch.items()} for name, of_batch in seconds.items()}


def main() -> None:
    args = parse_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # the authors' process inherits it
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [args.authors_python, AUTHORS, "serve", folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as authors:
            if authors.stdout.readline() != "ready\n":
                raise SystemExit("the authors' code did not start: its errors are above")
            times = measure(authors, folder, args.rounds, args.warmup_rounds)
            authors.stdin.close()
        theirs = json.loads((folder / "versions.json").read_text())
    packages = ("modeling-bilma", "torch", "transformers", "tokenizers")
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "threads_of_each_side": args.threads},
        "ours": {"python": platform.python_version(), **{package: version(package) for package in packages}},
        "authors": theirs,
        "rounds": args.rounds,
        "times": times,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, result)
    for name, of_batch in times.items():
        for who, figures in of_batch.items():
            print(f"{name:>10}  {who:<15}  {figures['median_ms']:8.1f} ms")


if __name__ == "__main__":
    main()
