import numpy as np
import pytest
import torch
from datasets import Dataset

from benchmarks.layouts import in_equal_lengths, padded
from modeling_bilma import BilmaForMaskedLM
from tests.conftest import TEXTS, tiny_config
from training.pretraining.steps import MaskedSteps
from training.texts.encoding import encode


def test_every_layout_gives_the_same_loss(tokenizer):
    ids = encode(TEXTS * 2, tokenizer, 40)
    packed = MaskedSteps(Dataset.from_dict({"input_ids": ids}), np.arange(len(ids)), tokenizer, len(ids), 10**6)[0]
    model = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).eval()

    def loss(batch):
        with torch.no_grad():
            losses = [model(**micro, num_items_in_batch=batch.scored_tokens).loss for micro in batch.micro_batches]
        return sum(losses).item()

    layouts = [make(packed) for make in (in_equal_lengths, padded)]
    assert [loss(batch) for batch in layouts] == pytest.approx([loss(packed)] * 2, rel=1e-5)
    assert len(layouts[0].micro_batches) == len(set(map(len, ids)))
