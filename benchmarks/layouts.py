"""How the texts of a training step are laid out: packed into rows, in batches of equal length, or padded.

    PYTHONPATH=. python benchmarks/layouts.py --train_file mx.jsonl.gz

The same texts with the same masks, a step of each in turn. Writes benchmarks/results/layouts.json.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from benchmarks.contenders import MAX_LENGTH, Bilma, clipped_update, timed
from benchmarks.pretraining import TEXTS_PER_STEP, ratio, summary
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training.common.provenance import commit, machine, versions
from training.pretraining.loop import forward_backward
from training.pretraining.steps import StepBatch
from training.texts.batches import IGNORED
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.files import find_files

RESULTS_SCHEMA = 1
ROUNDS, WARMUP = 12, 4


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_file", nargs="+", required=True, help="texts to measure with")
    output = Path(__file__).parent / "results" / "layouts.json"
    parser.add_argument("--output", type=Path, default=output)
    return parser.parse_args()


def texts_of(batch: StepBatch, pad_id: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and labels of each text of packed rows; what fills a row up is left out."""
    for micro in batch.micro_batches:
        for ids, labels, positions in zip(micro["input_ids"], micro["labels"], micro["position_ids"], strict=True):
            starts = [*(positions == 0).nonzero().flatten().tolist(), len(positions)]
            for first, end in pairwise(starts):
                if ids[first] != pad_id:
                    yield ids[first:end], labels[first:end]


def in_equal_lengths(batch: StepBatch, pad_id: int) -> StepBatch:
    """As many micro-batches as there are lengths, none with padding."""
    groups = defaultdict(list)
    for ids, labels in texts_of(batch, pad_id):
        groups[len(ids)].append((ids, labels))
    micro_batches = [
        {name: torch.stack(rows) for name, rows in zip(("input_ids", "labels"), zip(*group, strict=True), strict=True)}
        for group in groups.values()
    ]
    return replace(batch, micro_batches=micro_batches)


def padded(batch: StepBatch, pad_id: int) -> StepBatch:
    """One row a text, as long as the longest of the step."""
    ids, labels = zip(*texts_of(batch, pad_id), strict=True)
    rows = {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_id),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        "attention_mask": pad_sequence([torch.ones_like(text) for text in ids], batch_first=True),
    }
    return replace(batch, micro_batches=[rows])


def main() -> None:
    args = parse_arguments()
    texts = list(islice(Corpus(find_files(args.train_file)), 20_000))
    with tempfile.TemporaryDirectory() as folder:
        build_tokenizer(train_vocabulary(texts)).save_pretrained(folder)
        bilma = Bilma(folder, [])
    ids = encode(texts[: (WARMUP + ROUNDS) * TEXTS_PER_STEP], bilma.tokenizer, MAX_LENGTH)
    steps = bilma._steps(Dataset.from_dict({"input_ids": ids}), TEXTS_PER_STEP)
    pad_id = bilma.tokenizer.pad_token_id
    speeds = defaultdict(list)

    def train(batch: StepBatch) -> None:
        forward_backward(bilma.accelerator, bilma.model, batch)
        clipped_update(bilma.accelerator, bilma.model, bilma.optimizer)

    for number in tqdm(range(WARMUP + ROUNDS), unit="round"):
        packed = steps[number]
        layouts = {"packed": packed}
        layouts |= {make.__name__: make(packed, pad_id) for make in (in_equal_lengths, padded)}
        for name, batch in layouts.items():
            seconds = timed(lambda batch=batch: train(batch))
            if number >= WARMUP:
                speeds[name].append(batch.texts / seconds)
    result = {
        "schema_version": RESULTS_SCHEMA,
        "commit": commit(),
        "machine": machine(bilma.accelerator.device),
        "versions": versions(),
        "texts_per_step": TEXTS_PER_STEP,
        "texts_per_second": {name: summary(values) for name, values in speeds.items()},
        "packed_times_as_fast_as": {
            name: ratio(speeds["packed"], values) for name, values in speeds.items() if name != "packed"
        },
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(args.output)


if __name__ == "__main__":
    main()
