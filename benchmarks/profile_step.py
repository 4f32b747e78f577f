"""Measure which operators take the time of a training step and of a fill-mask answer: `make profile`.

    python -m benchmarks.profile_step --train_file mx.jsonl.gz

Runs on one thread, after a warm-up. Writes benchmarks/results/profile.json, with the share of the time that each
operator of torch takes by itself.
"""

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import MAX_LENGTH, with_learnt_vocabulary
from benchmarks.reporting import write_result
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.files import find_files

WARMUP, PROFILED = 8, 8  # repetitions
SHOWN = 12  # operators
STEPS = 4  # different ones
TEXTS_PER_STEP = 64  # of the default recipe


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", nargs="+", required=True, help="texts to measure with")
    output = Path(__file__).parent / "results" / "profile.json"
    parser.add_argument("--output", type=Path, default=output)
    return parser.parse_args()


def shares(work: Callable[[int], Any]) -> dict[str, Any]:
    """Return milliseconds per repetition, and the operators with the largest shares of them."""
    for number in range(WARMUP):
        work(number)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for number in range(PROFILED):
            work(number)
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}  # microseconds
    total = sum(times.values())
    largest = sorted(times.items(), key=lambda item: -item[1])[:SHOWN]
    return {
        "milliseconds": round(total / PROFILED / 1000, 2),
        "shares": {operator: round(time / total, 4) for operator, time in largest},
    }


def main() -> None:
    args = parse_arguments()
    corpus = Corpus(find_files(args.train_file))
    texts = list(islice(corpus, 20_000))
    bilma = with_learnt_vocabulary(texts)
    torch.set_num_threads(1)
    ids = encode(texts[: STEPS * TEXTS_PER_STEP], bilma.tokenizer, MAX_LENGTH)
    steps = bilma.make_steps(Dataset.from_dict({"input_ids": ids}), TEXTS_PER_STEP)
    phrase = ["vamos a comer tacos con los primos"]
    write_result(
        args.output,
        torch.device("cpu"),
        vocab_size=len(bilma.tokenizer),
        texts_per_step=TEXTS_PER_STEP,
        training_step=shares(lambda number: bilma.take_step(steps, number % STEPS)),
        fill_mask_float32=shares(lambda _: bilma.fill_mask(phrase, "float32")),
        fill_mask_bfloat16=shares(lambda _: bilma.fill_mask(phrase, "bfloat16")),
    )
    print(args.output)


if __name__ == "__main__":
    main()
