"""Compare pretraining and tokenising with the authors' code and a plain BERT: `make bench`.

    python -m benchmarks.pretraining --train_file mx.jsonl.gz

The contenders take turns in every round, with the same texts and vocabulary. Needs the environment of `make parity`,
with the authors' code and vocabulary. Writes benchmarks/results/pretraining.json, and pretraining.png from it.
"""

import argparse
import gzip
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.draw import draw_pretraining
from benchmarks.reporting import text_parser, write_result
from benchmarks.turns import AUTHORS, ROOT, Contender, contender, ratio, summary
from modeling_bilma.tokenization_bilma import build_tokenizer, read_vocabulary
from training.texts.corpus import Corpus
from training.texts.files import find_files

TEXTS_PER_STEP = 64  # of the default recipe
TRAINED_TEXTS = 4 * TEXTS_PER_STEP  # at least a second for each, so that effects of the preceding wait are small
AUTHORS_TEXTS = 16  # their time per text does not depend on the number of texts
TOKENISED_TEXTS = 1000
Samples = dict[str, list[float]]


def parse_arguments() -> argparse.Namespace:
    parser = text_parser(__doc__.splitlines()[0], "pretraining")
    parser.add_argument("--authors_python", default=ROOT / ".venv-parity" / "bin" / "python", type=Path)
    parser.add_argument("--rounds", type=int, default=15, help="number of measurements")
    parser.add_argument("--warmup_rounds", type=int, default=2, help="rounds before them, which are not counted")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=[10_000, 100_000, 1_000_000, 2_000_000], help="sizes of the corpus"
    )
    parser.add_argument("--growth_steps", type=int, default=40, help="training steps for each size")
    return parser.parse_args()


def ours(name: str, *arguments: object, **environment: str) -> Any:
    return contender(sys.executable, "-m", "benchmarks.contenders", name, *arguments, **environment)


def compare(args: argparse.Namespace, texts: list[str], folder: Path) -> dict[str, Any]:
    """Measure the peak of the machine, and training and tokenising of all contenders."""
    with ExitStack() as stack:
        authors = stack.enter_context(contender(args.authors_python, AUTHORS, "serve", folder))
        vocabulary = folder / "tokenizer"
        build_tokenizer(read_vocabulary(folder / "vocab.txt")).save_pretrained(vocabulary)
        trainers = {
            name: stack.enter_context(ours(name, vocabulary)) for name in ("bilma", "bert-bf16", "bert-fp32")
        } | {"authors": authors}
        tokenizers = {
            "bilma": trainers["bilma"],
            "bilma_one_core": stack.enter_context(ours("bilma", vocabulary, RAYON_NUM_THREADS="1")),
            "authors": authors,
        }
        products = stack.enter_context(ours("products"))
        samples, peaks = defaultdict(list), {}
        for number in tqdm(range(args.warmup_rounds + args.rounds), desc="comparing", unit="round"):
            if number == args.warmup_rounds:
                samples.clear()
            measure_round(round_of(texts, number), trainers, tokenizers, products, samples, peaks)
    return summarise(samples, peaks)


def round_of(texts: list[str], number: int) -> list[str]:
    """Return the texts of a round: new ones each time, until all are used."""
    return list(islice(cycle(texts), number * TOKENISED_TEXTS, (number + 1) * TOKENISED_TEXTS))


def measure_round(
    texts: list[str],
    trainers: dict[str, Contender],
    tokenizers: dict[str, Contender],
    products: Contender,
    samples: Samples,
    peaks: dict[str, int],
) -> None:
    for dtype in ("float32", "bfloat16"):
        samples[f"peak {dtype}"].append(products.ask("multiply", dtype=dtype)["flops_per_second"])
    for name, trainer in trainers.items():
        batch = texts[: AUTHORS_TEXTS if name == "authors" else TRAINED_TEXTS]
        answer = trainer.ask("train", texts=batch, **({} if name == "authors" else {"texts_per_step": TEXTS_PER_STEP}))
        seconds = answer["seconds"]["train"] if name == "authors" else answer["seconds"]
        samples[f"train {name}"].append(len(batch) / seconds)
        peaks[name] = answer["peak_bytes"]
        if name != "authors":
            samples[f"tokens {name}"].append(answer["tokens"] / seconds)
        if name == "bilma":
            samples["flops"].append(answer["flops"] / seconds)
    for name, tokenizer in tokenizers.items():
        seconds = tokenizer.ask("tokenize", texts=texts)["seconds"]
        samples[f"tokenize {name}"].append(len(texts) / (seconds["tokenize"] if name == "authors" else seconds))


def summarise(samples: Samples, peaks: dict[str, int]) -> dict[str, Any]:
    peak_dtype = max(("float32", "bfloat16"), key=lambda dtype: np.median(samples[f"peak {dtype}"]))
    others = ("bert-bf16", "bert-fp32", "authors")
    return {
        "matrix_product_tflops": {
            dtype: summary(np.array(samples[f"peak {dtype}"]) / 1e12) for dtype in ("float32", "bfloat16")
        },
        "training": {
            "texts_per_second": {name: summary(samples[f"train {name}"]) for name in ("bilma", *others)},
            "tokens_per_second": {name: summary(samples[f"tokens {name}"]) for name in ("bilma", *others[:2])},
            "times_as_fast_as": {name: ratio(samples["train bilma"], samples[f"train {name}"]) for name in others},
            "flop_utilisation": {"of": peak_dtype, **ratio(samples["flops"], samples[f"peak {peak_dtype}"])},
            "peak_bytes": peaks,
        },
        "tokenising": {
            "texts_per_second": {
                name: summary(samples[f"tokenize {name}"]) for name in ("bilma", "bilma_one_core", "authors")
            },
            "one_core_times_as_fast_as_authors": ratio(
                samples["tokenize bilma_one_core"], samples["tokenize authors"]
            ),
            "all_cores_times_as_fast_as_one": ratio(samples["tokenize bilma"], samples["tokenize bilma_one_core"]),
        },
    }


def grow(args: argparse.Namespace, texts: list[str], folder: Path) -> list[dict[str, Any]]:
    """Measure tokenising, training and memory by the size of the corpus; the sizes take turns."""
    with ExitStack() as stack:
        workers, results = [], []
        for number in args.growth:
            corpus = folder / f"{number}.jsonl.gz"
            write_texts(corpus, islice(cycle(texts), number))
            worker = stack.enter_context(ours("bilma", folder / "tokenizer", corpus))
            loaded = worker.ask("load")
            corpus.unlink()
            workers.append(worker)
            results.append({"texts": number, "tokenised_texts_per_second": number / loaded["seconds"]})
        speeds = [[] for _ in workers]
        for step in tqdm(range(5 + args.growth_steps), desc="growing", unit="step"):
            for worker, speed, result in zip(workers, speeds, results, strict=True):
                answer = worker.ask("train_next")
                result["peak_bytes"] = answer["peak_bytes"]
                if step >= 5:
                    speed.append(answer["tokens"] / answer["seconds"])
    return [result | {"tokens_per_second": summary(speed)} for result, speed in zip(results, speeds, strict=True)]


def write_texts(path: Path, texts: Iterator[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        for number, text in enumerate(texts):
            file.write(json.dumps({"text": f"{text} {number}"}) + "\n")


def main() -> None:
    args = parse_arguments()
    corpus = Corpus(find_files(args.train_file))
    texts = list(corpus)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            "corpus": {"names": corpus.names(), "fingerprint": corpus.fingerprint, "texts": len(texts)},
            "texts_per_step": {"bilma and bert": TEXTS_PER_STEP, "authors": AUTHORS_TEXTS},
            "rounds": args.rounds,
            **compare(args, texts, folder),
            "growth": grow(args, texts, folder),
        }
        found["authors"] = json.loads((folder / "versions.json").read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = write_result(args.output, device, **found)
    draw_pretraining(result, args.output.with_suffix(".png"))
    print(f"{args.output}: written, and {args.output.with_suffix('.png').name} drawn from it")


if __name__ == "__main__":
    main()
