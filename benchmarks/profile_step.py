"""Measure which operators take the time of a training step and of a fill-mask answer: `make profile`.

    python -m benchmarks.profile_step --train_file mx.jsonl.gz

Runs on one thread, after a warm-up. Writes benchmarks/results/profile.json, with the share of the time that each
operator of torch takes by itself.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import torch
from datasets import Dataset
from torch.profiler import ProfilerActivity, profile
from transformers import TokenizersBackend, pipeline

from benchmarks.contenders import MAX_LENGTH, with_learnt_vocabulary
from benchmarks.reporting import text_parser, write_result
from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.files import find_files

WARMUP, PROFILED = 8, 8  # repetitions
SHOWN = 12  # operators
STEPS = 4  # different ones
TEXTS_PER_STEP = 64  # of the default recipe


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


def answering(tokenizer: TokenizersBackend, dtype: torch.dtype) -> Callable[[int], Any]:
    """Return what completes a text with the pipeline that users call, on an untrained model."""
    model = BilmaForMaskedLM(BilmaConfig(vocab_size=len(tokenizer))).eval().to(dtype)
    fill = pipeline("fill-mask", model=model, tokenizer=tokenizer)
    return lambda _: fill(f"vamos {tokenizer.mask_token} comer tacos con los primos")


def main() -> None:
    args = text_parser(__doc__.splitlines()[0], "profile").parse_args()
    corpus = Corpus(find_files(args.train_file))
    texts = list(islice(corpus, 20_000))
    bilma = with_learnt_vocabulary(texts)
    torch.set_num_threads(1)
    ids = encode(texts[: STEPS * TEXTS_PER_STEP], bilma.tokenizer, MAX_LENGTH)
    steps = bilma.make_steps(Dataset.from_dict({"input_ids": ids}), TEXTS_PER_STEP)
    write_result(
        args.output,
        torch.device("cpu"),
        vocab_size=len(bilma.tokenizer),
        texts_per_step=TEXTS_PER_STEP,
        training_step=shares(lambda number: bilma.take_step(steps, number % STEPS)),
        fill_mask_float32=shares(answering(bilma.tokenizer, torch.float32)),
        fill_mask_bfloat16=shares(answering(bilma.tokenizer, torch.bfloat16)),
    )
    print(args.output)


if __name__ == "__main__":
    main()
