"""Turn texts into vectors."""

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from modeling_bilma.modeling_bilma import pool
from training.texts.batches import batches_by_length


@torch.no_grad()
def embed(
    texts: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: str = "mean",
    layers: str = "last",
    max_length: int = 128,
    texts_per_batch: int = 64,
    bar: tqdm | None = None,
) -> Tensor:
    """Vectors of shape (texts, size), in the order of the texts; padding has no part in them."""
    pad = DataCollatorWithPadding(tokenizer)
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    vectors: list[Tensor] = [torch.empty(0)] * len(texts)
    for batch in batches_by_length([len(text) for text in ids], texts_per_batch):
        inputs = pad([{"input_ids": ids[text]} for text in batch]).to(model.device)
        states = chosen_layers(model(**inputs, output_hidden_states=True).hidden_states, layers)
        pooled = pool(states, inputs["attention_mask"], pooling).cpu()
        for text, vector in zip(batch, pooled, strict=True):
            vectors[text] = vector
        if bar is not None:
            bar.update(len(batch))
    return torch.stack(vectors)


def chosen_layers(hidden_states: Sequence[Tensor], layers: str) -> Tensor:
    """(B, L, D) of the embeddings and of every layer to (B, L, D), or (B, L, 2 D) where two are concatenated."""
    if layers == "last":
        return hidden_states[-1]
    before_last, last = hidden_states[-2:]
    return before_last + last if layers == "last_two_summed" else torch.cat((before_last, last), dim=-1)
