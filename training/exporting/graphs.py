"""BILMA as ONNX graphs. Shapes: B texts, L positions, Q masks of a text, V vocabulary, R regions, D hidden size."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.modeling_bilma import is_region_token, pool

OPSET = 18
TABLE = "table"  # the initializer's name in the file


class Graph(nn.Module):
    """A body that reads one text a row, with its word table transposed: (D, V), as the output layer multiplies it."""

    table: Tensor

    def __init__(self, model: BilmaForMaskedLM | BilmaForSequenceClassification):
        super().__init__()
        model.set_attn_implementation("eager")  # plain products, which any runtime fuses or quantizes
        self.bilma = model.bilma
        words = model.bilma.embeddings.word_embeddings.weight
        self.register_buffer("table", words.detach().T.contiguous())

    def embed(self, input_ids: Tensor) -> Tensor:
        return self.table.index_select(1, input_ids.flatten()).T.unflatten(0, input_ids.shape)

    def encode(
        self, inputs_embeds: Tensor, visible: Tensor, position_ids: Tensor, output_positions: Tensor | None = None
    ) -> Tensor:
        """States (B, L, D), or (B, Q, D); nothing attends to a position where `visible`, (B, L), is 0."""
        length = visible.shape[1]
        hidden = (1.0 - visible.to(inputs_embeds.dtype)) * torch.finfo(inputs_embeds.dtype).min
        mask = hidden[:, None, None, :].expand(-1, -1, length, -1)
        states = self.bilma.embeddings(inputs_embeds, position_ids)
        return self.bilma._encode(states, mask, output_positions).last_hidden_state

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """States (B, L, D), what is visible (B, L), and the region of each text (B, R) as its token says."""
        embeds, regions = self.embed(input_ids), None
        visible = attention_mask.bool()
        if self.bilma.config.regions is not None:
            tokens = is_region_token(input_ids, self.bilma.config) & visible
            first = tokens & (tokens.long().cumsum(1) == 1)
            ids = torch.arange(self.bilma.config.region_token_ids.start, self.bilma.config.region_token_ids.stop)
            regions = (first[..., None] & (input_ids[..., None] == ids)).to(embeds.dtype).sum(1)
            embeds = embeds + (regions @ self.bilma.embeddings.region_vector)[:, None]
            position_ids = torch.arange(input_ids.shape[1]) - (tokens.long().cumsum(1) - tokens.long())
            visible = visible & ~tokens
        else:
            position_ids = torch.arange(input_ids.shape[1])[None]
        return self.encode(embeds, visible, position_ids), visible, regions


class DenseGraph(Graph):
    """input_ids, attention_mask (B, L) to logits (B, L, V): for transformers.js. `[MX]` in a text is its region."""

    def __init__(self, model: BilmaForMaskedLM):
        super().__init__(model)
        self.output = _Output(model, model.config.vocab_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states, _, regions = self.read(input_ids, attention_mask)
        return self.output(states, self.table, regions)


class MaskedGraph(Graph):
    """Logits at the masks alone, (B, Q, V): from ids without region tokens, (B, L), and positions of masks, (B, Q).

    A model with regions has one more input, `region`, (B,): its number in `config.regions`, or -1 for none. Region
    tokens are no answers, so V is without them.
    """

    def __init__(self, model: BilmaForMaskedLM):
        super().__init__(model)
        region_tokens = model.config.region_token_ids
        size = region_tokens.start if region_tokens else model.config.vocab_size
        self.table = self.table[:, :size].contiguous()
        self.output = _Output(model, size)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, mask_positions: Tensor, region: Tensor | None = None
    ) -> Tensor:
        embeds, regions = self.embed(input_ids), None
        if region is not None:
            numbers = torch.arange(len(self.bilma.config.region_token_ids))
            regions = (region[:, None] == numbers).to(embeds.dtype)
            embeds = embeds + (regions @ self.bilma.embeddings.region_vector)[:, None]
        positions = torch.arange(input_ids.shape[1])[None]
        states = self.encode(embeds, attention_mask, positions, mask_positions)
        return self.output(states, self.table, regions)


class _Output(nn.Module):
    """The output layer, over the table of the embedding where the model ties them."""

    bias: Tensor
    weight: Tensor
    region_bias: Tensor
    region_vector: Tensor

    def __init__(self, model: BilmaForMaskedLM, size: int):
        super().__init__()
        self.register_buffer("bias", model.decoder.bias.detach()[:size])
        self.tied = model.config.tie_word_embeddings
        if not self.tied:
            self.register_buffer("weight", model.decoder.weight.detach()[:size].T.contiguous())
        if model.config.regions is not None:
            self.register_buffer("region_bias", model.region_bias.detach()[:, :size].contiguous())
            self.register_buffer("region_vector", model.bilma.embeddings.region_vector.detach())

    def forward(self, states: Tensor, table: Tensor, regions: Tensor | None) -> Tensor:
        logits = states @ (table if self.tied else self.weight) + self.bias
        if regions is None:
            return logits
        if self.tied:  # the region's vector is in the word vectors, here as in the embedding
            logits = logits + (states * (regions @ self.region_vector)[:, None]).sum(-1, keepdim=True)
        return logits + (regions @ self.region_bias)[:, None]


class ClassifierGraph(Graph):
    """input_ids, attention_mask (B, L) to logits (B, labels)."""

    def __init__(self, model: BilmaForSequenceClassification):
        super().__init__(model)
        self.classifier, self.pooling = model.classifier, model.config.pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states, visible, _ = self.read(input_ids, attention_mask)
        return self.classifier(pool(states, visible, self.pooling))


def write_graph(graph: Graph, path: Path) -> None:
    """Write a graph in fp32 as one file. Numbers of texts, positions and masks are free."""
    ids = torch.full((2, 6), 5)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if isinstance(graph, MaskedGraph):
        inputs["mask_positions"] = torch.tensor([[1, 2, 3], [2, 3, 4]])
        if graph.bilma.config.regions is not None:
            inputs["region"] = torch.tensor([0, -1])
    shapes = {name: dict.fromkeys(range(tensor.ndim), Dim.DYNAMIC) for name, tensor in inputs.items()}
    with warnings.catch_warnings():
        # torch's own decomposition of the graph compares with a class that torch deprecates
        warnings.filterwarnings("ignore", r".*treespec, LeafSpec.* is deprecated", FutureWarning)
        torch.onnx.export(
            graph.float().eval(),
            (),
            path,
            kwargs=inputs,
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(inputs),
            output_names=["logits"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
