"""Time, memory and accuracy of training/prepare_corpus.py, at several sizes.

    python -m benchmarks.prepare_corpus --train_file corpora/ --sizes 100000 500000
    python -m benchmarks.prepare_corpus --train_file corpora/ --language_test languages.jsonl

Dumps are made from given texts: halves of different texts are joined, and a share of the results is
planted a second time, as it is or with one small change. A planted pair is found if one of it is in the corpus.
`languages.jsonl` holds texts with their `language`; those of --train_file count as Spanish.
"""

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import torch
from datatrove.data import Document
from datatrove.pipeline.dedup import ExactDedupSignature

from training.common.files import write_json
from training.common.provenance import commit, machine, versions
from training.corpus_preparation.duplicates import NearSignatures, exact_config
from training.corpus_preparation.records import find_dumps
from training.corpus_preparation.regions import region_finder
from training.corpus_preparation.stages import WriteShard
from training.corpus_preparation.steps import KeepLanguage, language_identifier
from training.prepare_corpus import PrepareArguments, cleaning_steps
from training.texts.corpus import Corpus
from training.texts.files import find_files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "prepare_corpus.json"
STEP_TEXTS = 10_000  # texts on which each step is timed by itself
PLANTED = 0.05  # share of the texts that is planted again as it is, and as much with a change
SAMPLE_SECONDS = 0.5
CHANGES = ("a word less", "a word more", "two words swapped", "a letter changed", "a link more", "shouted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", nargs="+", required=True, help="texts to make dumps of")
    parser.add_argument("--sizes", nargs="*", type=int, default=[], help="texts of the dumps")
    parser.add_argument("--dump_texts", type=int, default=50_000, help="texts of a dump")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--language_test", type=Path, help="JSON lines with text and language")
    args = parser.parse_args()
    seeds = list(Corpus(find_files(args.train_file)))
    random.Random(0).shuffle(seeds)
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            note({f"{size} texts": measure_size(seeds, size, args.dump_texts, args.workers, Path(folder))})
    with tempfile.TemporaryDirectory() as folder:
        note({"texts per second of processor time, by step": measure_steps(seeds, Path(folder))})
    if args.language_test:
        note({"language": measure_language(seeds[:4000], args.language_test)})


def note(results: dict[str, Any]) -> None:
    """Print results, and put them beside the earlier ones in the file."""
    print(json.dumps(results, indent=1), flush=True)
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    about = {"commit": commit(), "machine": machine(torch.device("cpu")), "versions": versions()}
    write_json(RESULTS, before | results | about)


def measure_size(seeds: Sequence[str], size: int, dump_texts: int, workers: int, folder: Path) -> dict[str, Any]:
    """Prepare a corpus of dumps that are made here, and return what it took and what was found."""
    pairs = write_dumps(folder / "dumps", seeds, size, dump_texts)
    script = [sys.executable, ROOT / "training" / "prepare_corpus.py", "--input", folder / "dumps", "--region", "mx"]
    begin = time.perf_counter()
    run = subprocess.Popen([*script, "--workers", str(workers), "--output_dir", folder / "corpus"])
    used = watch(run)
    seconds = time.perf_counter() - begin
    if run.returncode:
        raise RuntimeError(f"prepare_corpus.py ended with status {run.returncode}")
    counts = json.loads((folder / "corpus" / "counts.json").read_text(encoding="utf-8"))
    times = json.loads((folder / "corpus" / "times.json").read_text(encoding="utf-8"))
    return {
        "texts": size,
        "texts of a dump": dump_texts,
        "workers": workers,
        "seconds": round(seconds, 1),
        "texts per second": round(size / seconds),
        "seconds of work, by stage": {stage: round(sum(steps.values()), 1) for stage, steps in times.items()},
        "texts per second of processor time": round(size / used["processor seconds"]),
        **used,
        "counts": counts,
        "duplicates": judge(pairs, folder / "corpus", counts),
    }


def write_dumps(folder: Path, seeds: Sequence[str], size: int, dump_texts: int) -> dict[str, list[tuple[str, str]]]:
    """Write dumps with planted copies in random places; return the pairs of a text and its copy by kind."""
    draw = random.Random(size)
    planted = int(PLANTED * size)
    originals = [joined_halves(draw, seeds) for _ in range(size - 2 * planted)]
    pairs: dict[str, list[tuple[str, str]]] = {"exact": [(text, text) for text in draw.sample(originals, planted)]}
    for number, text in enumerate(draw.sample(originals, planted)):
        change = CHANGES[number % len(CHANGES)]
        pairs.setdefault(change, []).append((text, changed(draw, text, change)))
    texts = [*originals, *(copy for kind in pairs.values() for _, copy in kind)]
    draw.shuffle(texts)
    folder.mkdir()
    for number in range(0, size, dump_texts):
        with gzip.open(
            folder / f"{number // dump_texts:05d}.jsonl.gz", "wt", encoding="utf-8", compresslevel=1
        ) as file:
            for text in texts[number : number + dump_texts]:
                record = {"full_text": text, "user": {"id_str": str(draw.randrange(size // 20))}, "source": "Web"}
                file.write(json.dumps(record) + "\n")
    return pairs


def joined_halves(draw: random.Random, seeds: Sequence[str]) -> str:
    """Join the first half of a text and the second of another one, so that few have much in common."""
    first, second = draw.choice(seeds).split(), draw.choice(seeds).split()
    return " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])


def changed(draw: random.Random, text: str, change: str) -> str:
    """Make a near-duplicate of a text; one word is never taken from a text of one word."""
    words = text.split()
    place = draw.randrange(len(words))
    if change == "a word less" and len(words) > 1:
        del words[place]
    elif change == "a word more":
        words.insert(place, draw.choice(("hoy", "siempre", "entonces", "también")))
    elif change == "two words swapped" and len(words) > 1:
        place = draw.randrange(len(words) - 1)
        words[place : place + 2] = words[place + 1], words[place]
    elif change == "a letter changed":
        letter = draw.randrange(len(words[place]))
        words[place] = words[place][:letter] + draw.choice("aeiorsnt") + words[place][letter + 1 :]
    elif change == "a link more":
        words.append("https://url")
    elif change == "shouted":
        words = [*(word.upper() for word in words), "!!!"]
    return " ".join(words)


def watch(run: subprocess.Popen) -> dict[str, float]:
    """Wait for a run, and return its processor time, and the most memory that it and that one process of it held.

    Looking from time to time, it misses the end of each process.
    """
    together = alone = 0
    processor: dict[int, float] = {}
    tree = psutil.Process(run.pid)
    while run.poll() is None:
        shares = []
        for process in [tree, *tree.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
                times = process.cpu_times()
                processor[process.pid] = times.user + times.system
                shares.append(process.memory_full_info().pss)  # what several share is divided among them
        together, alone = max(together, sum(shares)), max([alone, *shares])
        time.sleep(SAMPLE_SECONDS)
    return {
        "processor seconds": round(sum(processor.values()), 1),
        "peak MiB": round(together / 2**20),
        "peak MiB of one process": round(alone / 2**20),
    }


def measure_steps(seeds: Sequence[str], folder: Path) -> dict[str, int]:
    """Return the texts per second of processor time of each step; unlike seconds, they hold on a busy machine."""
    write_dumps(folder / "dumps", seeds, STEP_TEXTS, STEP_TEXTS)
    args = PrepareArguments(input=[], output_dir="", region="mx", anonymise=True)
    files = find_dumps([str(folder / "dumps")])
    steps = cleaning_steps(args, files, region_finder("mx", None, None, files))
    language_identifier()  # opening it is no part of a text's time
    found, texts = {}, None
    last = [
        WriteShard(folder / "clean", "${rank}.parquet"),
        ExactDedupSignature(str(folder / "exact"), exact_config(within_regions=False)),
        NearSignatures(str(folder / "near"), within_regions=False),
    ]
    for step in [*steps, *last]:
        begin = time.process_time()
        results = list(step.run(texts) or ())
        seconds = time.process_time() - begin
        name = "exact signatures" if isinstance(step, ExactDedupSignature) else step.name
        found[name] = round(len(texts or results) / seconds)
        texts = results or texts
    return found


def judge(pairs: dict[str, list[tuple[str, str]]], corpus: Path, counts: dict[str, Any]) -> dict[str, Any]:
    """Return recall by kind of copy, and the share of near-duplicates left out that were planted.

    The latter is a lower bound of the precision: the texts given hold near-duplicates of their own.
    """
    written = Counter(
        text
        for file in corpus.rglob("*.parquet")
        for text in pq.read_table(file, columns=["text"])["text"].to_pylist()
    )
    recall, found = {}, 0
    for kind, of_kind in pairs.items():
        # Of a pair that another step left out nothing is known.
        left = [written[text] + (written[copy] if text != copy else 0) for text, copy in of_kind]
        once, both = left.count(1), sum(number > 1 for number in left)
        recall[kind] = {"pairs": once + both, "recall": round(once / (once + both), 4)}
        found += 0 if kind == "exact" else once
    left_out = {step["step"]: sum(step["left_out"].values()) for step in counts["steps"]}
    return {
        "recall": recall,
        "near-duplicates left out": left_out["near-duplicates"],
        "planted near-duplicates": found,
    }


def measure_language(spanish: Sequence[str], others: Path) -> dict[str, Any]:
    """Return the share of texts of each language that is kept as Spanish, and the texts per second."""
    step = KeepLanguage("es")
    step.filter(Document("hola", id=""))  # opens the identifier
    by_language: dict[str, list[str]] = {"es": list(spanish)}
    for line in others.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        by_language.setdefault(record["language"], []).append(record["text"])
    begin = time.perf_counter()
    kept = {
        language: [step.filter(Document(text, id="")) is True for text in texts]
        for language, texts in by_language.items()
    }
    seconds = time.perf_counter() - begin
    return {
        "kept as Spanish": {
            language: {"texts": len(of_language), "share": round(sum(of_language) / len(of_language), 4)}
            for language, of_language in kept.items()
        },
        "texts per second": round(sum(map(len, kept.values())) / seconds),
    }


if __name__ == "__main__":
    main()
