"""The fast training step gives the loss and gradients of the plain one."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import nn

from benchmarks.packed_rows import texts_of
from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from training.pretraining.loop import forward_backward
from training.pretraining.steps import MaskedSteps
from training.texts.batches import IGNORED
from training.texts.synthetic import generate_texts

TEXTS = 40


@pytest.mark.parametrize("tied", [True, False])
def test_packed_sparse_micro_batches_give_the_loss_and_gradients_of_dense_padded_rows(tokenizer, tied):
    """Packed rows, logits only at labels and several micro-batches, with the same masks, without dropout, in fp32."""
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

    texts = list(texts_of(batch.micro_batches))
    assert len(texts) == TEXTS
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
    assert sums[1] == (logits.argmax(-1) == labels).sum()
    for (name, parameter), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-7, msg=name)
