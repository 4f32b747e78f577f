"""Turn texts into vectors."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel, TokenizersBackend

from modeling_bilma.modeling_bilma import pool
from training.inference.outputs import batched_outputs, encode_texts
from training.inference.tables import Row


class Embedder:
    """Answers texts with their vectors, for `annotate`."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: TokenizersBackend,
        pooling: str = "mean",
        layers: str = "last",
        max_length: int = 128,
        texts_per_batch: int = 64,
    ):
        self.model, self.tokenizer = model, tokenizer
        self.pooling, self.layers = pooling, layers
        self.max_length, self.texts_per_batch = max_length, texts_per_batch
        self.size = model.config.hidden_size * (2 if layers == "concatenated" else 1)
        self.schema = pa.schema({"vector": pa.list_(pa.float32(), self.size)})

    def __call__(self, texts: Sequence[str], bar: tqdm | None = None) -> tuple[list[Row], Counter[str]]:
        """Return the vectors as lists, and the number of texts that were cut."""
        vectors, cut = self.embed(texts, bar)
        return [{"vector": vector} for vector in vectors.tolist()], Counter(cut=cut)

    def embed(self, texts: Sequence[str], bar: tqdm | None = None) -> tuple[Tensor, int]:
        """Return the vectors, (texts, size), of which padding is no part, and the number of texts that were cut."""
        ids, cut = encode_texts(texts, self.tokenizer, self.max_length)
        vectors = torch.zeros(len(texts), self.size)
        batches = batched_outputs(
            ids, self.model, self.tokenizer, self.texts_per_batch, bar, output_hidden_states=True
        )
        for batch, inputs, outputs in batches:
            states = chosen_layers(outputs.hidden_states, self.layers)
            vectors[torch.from_numpy(batch)] = pool(states, inputs["attention_mask"], self.pooling).float().cpu()
        return vectors, cut


def chosen_layers(hidden_states: Sequence[Tensor], layers: str) -> Tensor:
    """Choose from the states of the embeddings and of every layer, (B, L, D): (B, L, D), or (B, L, 2 D) of two."""
    if layers == "last":
        return hidden_states[-1]
    before_last, last = hidden_states[-2:]
    return before_last + last if layers == "last_two_summed" else torch.cat((before_last, last), dim=-1)
