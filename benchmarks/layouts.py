"""Compare layouts of the texts of a training step: packed rows, batches of equal length, or padded rows.

    python -m benchmarks.layouts --train_file mx.jsonl.gz

The layouts take turns, with the same texts and masks. Writes benchmarks/results/layouts.json.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import islice

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from benchmarks.contenders import MAX_LENGTH, clipped_update, timed, with_learnt_vocabulary
from benchmarks.packed_rows import PAD_ID, texts_of
from benchmarks.pretraining import TEXTS_PER_STEP, ratio, summary
from benchmarks.reporting import text_parser, write_result
from training.pretraining.loop import forward_backward
from training.pretraining.steps import StepBatch
from training.texts.batches import IGNORED
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.files import find_files

ROUNDS, WARMUP = 12, 4


def in_equal_lengths(batch: StepBatch) -> StepBatch:
    """Make one micro-batch per length, without padding."""
    groups = defaultdict(list)
    for ids, labels in texts_of(batch.micro_batches):
        groups[len(ids)].append((ids, labels))
    micro_batches = [
        {name: torch.stack(rows) for name, rows in zip(("input_ids", "labels"), zip(*group, strict=True), strict=True)}
        for group in groups.values()
    ]
    return replace(batch, micro_batches=micro_batches)


def padded(batch: StepBatch) -> StepBatch:
    """Make one row per text, padded to the longest of the step."""
    ids, labels = zip(*texts_of(batch.micro_batches), strict=True)
    rows = {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        "attention_mask": pad_sequence([torch.ones_like(text) for text in ids], batch_first=True),
    }
    return replace(batch, micro_batches=[rows])


def main() -> None:
    args = text_parser(__doc__.splitlines()[0], "layouts").parse_args()
    texts = list(islice(Corpus(find_files(args.train_file)), 20_000))
    bilma = with_learnt_vocabulary(texts)
    ids = encode(texts[: (WARMUP + ROUNDS) * TEXTS_PER_STEP], bilma.tokenizer, MAX_LENGTH)
    steps = bilma.make_steps(Dataset.from_dict({"input_ids": ids}), TEXTS_PER_STEP)
    speeds = defaultdict(list)

    def train(batch: StepBatch) -> None:
        forward_backward(bilma.accelerator, bilma.model, batch)
        clipped_update(bilma.accelerator, bilma.model, bilma.optimizer)

    for number in tqdm(range(WARMUP + ROUNDS), unit="round"):
        packed = steps[number]
        layouts = {"packed": packed}
        layouts |= {make.__name__: make(packed) for make in (in_equal_lengths, padded)}
        for name, batch in layouts.items():
            seconds = timed(lambda batch=batch: train(batch))
            if number >= WARMUP:
                speeds[name].append(batch.texts / seconds)
    others = [name for name in speeds if name != "packed"]
    write_result(
        args.output,
        bilma.accelerator.device,
        texts_per_step=TEXTS_PER_STEP,
        texts_per_second={name: summary(values) for name, values in speeds.items()},
        packed_times_as_fast_as={name: ratio(speeds["packed"], speeds[name]) for name in others},
    )
    print(args.output)


if __name__ == "__main__":
    main()
