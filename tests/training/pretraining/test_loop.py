"""The fast way to train gives what the plain one gives."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from training.pretraining.loop import forward_backward
from training.pretraining.steps import MaskedSteps
from training.texts.batches import IGNORED
from training.texts.synthetic import generate_texts

TEXTS = 40


def plain_rows(rows: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(input ids, labels) of each text of a packed batch; what fills a row up has no label and stays a text."""
    texts = []
    for ids, labels, positions in zip(*(rows[name] for name in ("input_ids", "labels", "position_ids")), strict=True):
        starts = [*(positions == 0).nonzero().flatten().tolist(), len(positions)]
        texts += [(ids[a:b], labels[a:b]) for a, b in pairwise(starts)]
    return texts


@pytest.mark.parametrize("tied", [True, False])
def test_packed_sparse_micro_batches_give_the_loss_and_gradients_of_dense_padded_rows(tokenizer, tied):
    """Same masks, no dropout, fp32: rows packed, logits where scored, several micro-batches; against the plain way."""
    ids = [tokenizer(text, truncation=True, max_length=30)["input_ids"] for text in generate_texts("mx", TEXTS)]
    tokens = Dataset.from_dict({"input_ids": ids})
    batch = MaskedSteps(tokens, np.arange(TEXTS), tokenizer, TEXTS, tokens_per_micro_batch=200, shuffle=False)[0]
    assert len(batch.micro_batches) > 2

    config = tiny_config(vocab_size=len(tokenizer), hidden_dropout_prob=0.0, tie_word_embeddings=tied)
    plain = BilmaForMaskedLM(config).train()
    fast = BilmaForMaskedLM(config).train()
    fast.load_state_dict(plain.state_dict())
    fast.config.sparse_prediction = True

    sums = forward_backward(Accelerator(cpu=True), fast, batch)

    texts = [text for rows in batch.micro_batches for text in plain_rows(rows)]
    input_ids, labels = (
        nn.utils.rnn.pad_sequence(column, batch_first=True, padding_value=value)
        for column, value in zip(zip(*texts, strict=True), (tokenizer.pad_token_id, IGNORED), strict=True)
    )
    lengths = torch.tensor([len(text) for text, _ in texts])
    attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
    logits = plain(input_ids, attention_mask=attention_mask).logits
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    loss.backward()

    assert sums[0].item() / batch.scored_tokens == pytest.approx(loss.item(), rel=1e-6)
    for (name, parameter), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-7, msg=name)
