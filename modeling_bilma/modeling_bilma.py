"""BILMA, a small post-norm BERT with sinusoidal positions and wide heads (arXiv 2110.06128).

This file is shipped to the Hub beside the weights, so it imports only torch, transformers and its configuration.
Shapes in comments: B texts or rows, L positions, D hidden size, H heads, K head size, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import FillMaskPipeline
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import (
    create_bidirectional_mask,
    find_packed_sequence_indices,
    packed_sequence_mask_function,
)
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_bilma import BilmaConfig


def sinusoids(num_positions: int, size: int) -> torch.Tensor:
    """Position vectors of shape (num_positions, size): sines on even dimensions, cosines on odd ones."""
    positions = torch.arange(num_positions, dtype=torch.float64, device="cpu").unsqueeze(1)
    rates = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64, device="cpu") / size)
    angles = positions * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1).float()


@dataclass
class BilmaModelOutput(BaseModelOutput):
    """Hidden states and, for a model with regions, the region of each as ones and zeros: `regions`, (B, L, R)."""

    regions: torch.Tensor | None = None


def is_region_token(input_ids: torch.Tensor, config: BilmaConfig) -> torch.Tensor:
    ids = config.region_token_ids
    return (input_ids >= ids.start) & (input_ids < ids.stop)


def visible_tokens(
    input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, config: BilmaConfig
) -> torch.Tensor | None:
    """The attention mask, (B, L), without region tokens, which say how to read a text and are not part of it."""
    if config.regions is None or input_ids is None:
        return attention_mask
    visible = ~is_region_token(input_ids, config)
    return visible if attention_mask is None else visible & attention_mask.bool()


def read_region_tokens(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    position_ids: torch.Tensor,
    text_of_position: torch.Tensor | None,
    config: BilmaConfig,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The region of the text at every position, (B, L, R), at most one; and the positions without region tokens.

    The first region token of a text counts. `text_of_position`, (B, L), numbers the texts of a row; None for one text.
    """
    tokens = is_region_token(input_ids, config)
    if attention_mask is not None:
        tokens = tokens & attention_mask.bool()
    length = input_ids.shape[1]
    if text_of_position is None:
        text_of_position = torch.zeros_like(input_ids)

    def first_in_text(values: torch.Tensor) -> torch.Tensor:
        """(B, L): at every position the smallest value in its text, at most `length`."""
        least = torch.full_like(values, length).scatter_reduce(1, text_of_position, values, "amin")
        return least.gather(1, text_of_position)

    columns = torch.arange(length, device=input_ids.device).expand_as(input_ids)
    first = first_in_text(columns.masked_fill(~tokens, length))
    token = input_ids.gather(1, first.clamp(max=length - 1)).masked_fill(first == length, -1)
    ids = torch.arange(config.region_token_ids.start, config.region_token_ids.stop, device=input_ids.device)
    tokens_before = tokens.long().cumsum(1) - tokens.long()
    tokens_before_in_text = tokens_before - first_in_text(tokens_before)
    return token.unsqueeze(-1) == ids, position_ids - tokens_before_in_text


def only_input(input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Tensor:
    """The one of the two that is given.

    Raises:
        ValueError: for both or neither.
    """
    given = [inputs for inputs in (input_ids, inputs_embeds) if inputs is not None]
    if len(given) != 1:
        raise ValueError("give exactly one of input_ids and inputs_embeds")
    return given[0]


class BilmaEmbeddings(nn.Module):
    sinusoids: torch.Tensor

    def __init__(self, config: BilmaConfig):
        super().__init__()
        self.scale = math.sqrt(config.hidden_size)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        table = sinusoids(config.max_position_embeddings, config.hidden_size)  # not on meta, even if the model is
        self.register_buffer("sinusoids", table, persistent=False)
        if config.regions is not None:  # added to all word vectors of its region's texts
            self.region_vector = nn.Parameter(torch.empty(len(config.regions), config.hidden_size))

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        """Move or convert the module, and compute the table anew, as no checkpoint contains it.

        Otherwise `to_empty`, as in FSDP and big-model loading, would leave it unfilled, and `to(bfloat16)` round it.
        """
        shape = self.sinusoids.shape
        self.sinusoids = sinusoids(*shape)  # a table on meta cannot be moved
        super()._apply(fn, recurse)
        if not self.sinusoids.is_meta:
            self.sinusoids = sinusoids(*shape).to(self.sinusoids.device)
        return self

    def forward(self, inputs_embeds: torch.Tensor, position_ids: torch.Tensor) -> torch.Tensor:
        # The sum is computed in fp32: in bf16, neighbouring positions far into a text would round to the same vector.
        return (inputs_embeds * self.scale + self.sinusoids[position_ids].float()).to(inputs_embeds.dtype)


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention written out, the only implementation that returns the weights, (B, H, L, L)."""
    # Keys laid out head by head are read transposed; the view of split_heads would be copied, which is slow.
    scores = query @ key.contiguous().transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights


class BilmaAttention(nn.Module):
    """Multi-head self-attention with heads of `head_dim`, independent of the hidden size."""

    def __init__(self, config: BilmaConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = config.head_dim**-0.5
        self.is_causal = False
        width = config.num_attention_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width)
        self.k_proj = nn.Linear(config.hidden_size, width)
        self.v_proj = nn.Linear(config.hidden_size, width)
        self.o_proj = nn.Linear(width, config.hidden_size)

    def split_heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, L, H*K) -> (B, H, L, K)

    def forward(
        self,
        queries: torch.Tensor,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        context, weights = attend(
            self,
            self.split_heads(self.q_proj(queries)),
            self.split_heads(self.k_proj(hidden_states)),
            self.split_heads(self.v_proj(hidden_states)),
            attention_mask,
            scaling=self.scaling,
            dropout=0.0,  # BILMA was trained without attention dropout
            **kwargs,
        )
        return self.o_proj(context.flatten(2)), weights


class BilmaMLP(nn.Module):
    def __init__(self, config: BilmaConfig):
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.activation(self.up_proj(hidden_states)))


def take_positions(states: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """(B, L, D) to (B, Q, D): the states at `positions`, (B, Q), or all of them."""
    if positions is None:
        return states
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def chosen_positions(chosen: torch.Tensor) -> torch.Tensor:
    """(B, L) to (B, Q): the chosen positions of each row first, in order; Q is the most in any row, or 1."""
    most = max(1, int(chosen.sum(1).max()))
    return chosen.int().argsort(dim=1, descending=True, stable=True)[:, :most]


class BilmaLayer(GradientCheckpointingLayer):
    def __init__(self, config: BilmaConfig):
        super().__init__()
        self.attention = BilmaAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = BilmaMLP(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        """States at `positions`, (B, Q), or at all of them; they attend to every position."""
        residual = take_positions(hidden_states, positions)
        attended, _ = self.attention(residual, hidden_states, attention_mask, **kwargs)
        residual = self.attention_norm(residual + self.dropout(attended))
        return self.mlp_norm(residual + self.dropout(self.mlp(residual)))


class BilmaPreTrainedModel(PreTrainedModel):
    config: BilmaConfig
    base_model_prefix = "bilma"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BilmaEmbeddings", "BilmaLayer"]
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": BilmaLayer, "attentions": BilmaAttention}

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args, **kwargs) -> nn.Embedding:
        """Resize the vocabulary as in every model of transformers.

        Raises:
            ValueError: for a model with regions, whose tokens must be last in the vocabulary.
        """
        if self.config.regions is not None and new_num_tokens not in (None, self.config.vocab_size):
            raise ValueError(
                f"the vocabulary of a model with regions cannot be resized ({self.config.vocab_size} tokens, the last "
                f"{len(self.config.regions)} are those of regions): merge a region first, training/merge_region.py"
            )
        return super().resize_token_embeddings(new_num_tokens, *args, **kwargs)

    def _must_return_all_states(self, **kwargs) -> bool:
        """Whether the caller, or the configuration, asks for hidden states or attentions."""
        names = ("output_hidden_states", "output_attentions")
        return any(kwargs.get(name, getattr(self.config, name)) for name in names)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, BilmaEmbeddings):
            init.copy_(module.sinusoids, sinusoids(*module.sinusoids.shape))
            if self.config.regions is not None:
                init.zeros_(module.region_vector)
        elif isinstance(module, BilmaForMaskedLM) and self.config.regions is not None:
            init.zeros_(module.region_bias)
        elif isinstance(module, nn.Embedding):
            # Word vectors are multiplied by sqrt(D): this gives them the variance 1, beside the sinusoids' 1/2.
            # With the usual 0.02 words are drowned by positions, and an untied model hardly learns.
            init.normal_(module.weight, std=self.config.hidden_size**-0.5)


class BilmaModel(BilmaPreTrainedModel):
    """The encoder: token ids of shape (B, L) to hidden states of shape (B, L, D)."""

    # Heads of the classes below.
    _keys_to_ignore_on_load_unexpected = [r"^decoder\.", r"^classifier\.", r"^region_bias$"]

    def __init__(self, config: BilmaConfig):
        super().__init__(config)
        self.embeddings = BilmaEmbeddings(config)
        self.layers = nn.ModuleList([BilmaLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding):  # type: ignore[override]  # transformers: any module
        self.embeddings.word_embeddings = value

    @merge_with_config_defaults
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        output_positions: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BilmaModelOutput:
        """Encode texts, one per row, or several packed in a row.

        In a model with regions, the first region token of a text sets its region; a text without one has none.
        Region tokens are never attended to and take no position, so the other states are those of the text without
        them.

        Args:
            input_ids: (B, L); or `inputs_embeds`, (B, L, D), the word vectors before scaling, of texts of no region.
            attention_mask: (B, L), 0 where the row is padding.
            position_ids: (B, L) or (1, L); only for packed rows. A text begins wherever the positions do not
                increase by one, and attention never crosses from one text to another.
            output_positions: (B, Q), positions of the last states to return (default: all). The last layer computes
                only these, and `last_hidden_state` is (B, Q, D).

        Raises:
            ValueError: for a text longer than `max_position_embeddings`, for both or neither of the inputs, for
                packed rows in a model that attends to its padding, and for an attention mask of another shape in a
                model with regions.
        """
        only_input(input_ids, inputs_embeds)
        if inputs_embeds is None:
            inputs_embeds = self.embeddings.word_embeddings(input_ids)
        if self.config.attend_to_padding:
            self._check_positions(inputs_embeds.shape[1], position_ids)
            return self._forward_attending_to_padding(
                inputs_embeds, attention_mask, position_ids, output_positions, **kwargs
            )

        same_text = text_of_position = regions = None
        packed = position_ids is not None
        if position_ids is None:
            position_ids = torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device).unsqueeze(0)
        else:
            text_of_position = find_packed_sequence_indices(position_ids)
            if text_of_position is not None:
                text_of_position = text_of_position.expand(inputs_embeds.shape[0], -1)
                same_text = packed_sequence_mask_function(text_of_position)
        if self.config.regions is not None and input_ids is not None:
            if attention_mask is not None and attention_mask.ndim != 2:
                raise ValueError(
                    f"attention_mask has the shape {tuple(attention_mask.shape)}: a model with regions hides region "
                    "tokens and needs one of shape (texts, positions)"
                )
            regions, position_ids = read_region_tokens(
                input_ids, attention_mask, position_ids, text_of_position, self.config
            )
            regions = regions.to(inputs_embeds.dtype)
            inputs_embeds = inputs_embeds + regions @ self.embeddings.region_vector
            attention_mask = visible_tokens(input_ids, attention_mask, self.config)
            packed = True  # for the length check: a row may have more tokens than its texts take positions
        self._check_positions(inputs_embeds.shape[1], position_ids if packed else None)
        mask = create_bidirectional_mask(self.config, inputs_embeds, attention_mask, and_mask_function=same_text)
        outputs = self._encode(self.embeddings(inputs_embeds, position_ids), mask, output_positions, **kwargs)
        if regions is not None:
            outputs.regions = take_positions(regions, output_positions)
        return outputs

    @capture_outputs
    def _encode(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None,
        positions: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BilmaModelOutput:
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states, attention_mask, **kwargs)
        if attention_mask is None:
            hidden_states = self.layers[-1](hidden_states, None, positions, **kwargs)
        elif positions is not None and isinstance(
            attention_mask, torch.Tensor
        ):  # (B, 1, L, L): keep the rows of `positions`
            rows = positions[:, None, :, None].expand(-1, -1, -1, attention_mask.shape[-1])
            attention_mask = attention_mask.expand(positions.shape[0], -1, -1, -1).gather(2, rows)
            hidden_states = self.layers[-1](hidden_states, attention_mask, positions, **kwargs)
        else:  # the block masks of flex attention cannot be cut
            hidden_states = take_positions(self.layers[-1](hidden_states, attention_mask, **kwargs), positions)
        return BilmaModelOutput(last_hidden_state=hidden_states)

    def _forward_attending_to_padding(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.Tensor | None,
        output_positions: torch.Tensor | None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BilmaModelOutput:
        """Encode as the published model was trained: pad every row to `max_position_embeddings` and mask nothing."""
        if position_ids is not None:
            raise ValueError(
                "position_ids were given to a model with attend_to_padding=True, which cannot take packed rows: "
                "give one text per row, without position_ids"
            )
        batch, length, _ = inputs_embeds.shape
        pad = self.embeddings.word_embeddings.weight[self.config.pad_token_id].to(inputs_embeds.dtype)
        if attention_mask is not None:
            inputs_embeds = torch.where(attention_mask.bool().unsqueeze(-1), inputs_embeds, pad)
        full_length = self.config.max_position_embeddings
        padded = torch.cat((inputs_embeds, pad.expand(batch, full_length - length, -1)), dim=1)
        positions = torch.arange(full_length, device=padded.device).unsqueeze(0)
        if output_positions is None:  # the last states of the added padding are never read
            output_positions = positions[:, :length].expand(batch, -1)
        outputs = self._encode(self.embeddings(padded, positions), None, output_positions, **kwargs)
        if outputs.hidden_states is not None:
            outputs.hidden_states = tuple(states[:, :length] for states in outputs.hidden_states)
        if outputs.attentions is not None:
            outputs.attentions = tuple(weights[:, :, :length] for weights in outputs.attentions)
        return outputs

    def _check_positions(self, length: int, position_ids: torch.Tensor | None):
        limit = self.config.max_position_embeddings
        if position_ids is not None:  # rows may be longer than any text in them
            if torch.compiler.is_compiling():
                return
            length = int(position_ids.max()) + 1
        if length > limit:
            raise ValueError(
                f"the input has {length} tokens, more than the {limit} positions of this model: truncate it, with "
                f"tokenizer(text, truncation=True, max_length={limit}), or in a pipeline with "
                'tokenizer_kwargs={"truncation": True}'
            )


class BilmaForMaskedLM(BilmaPreTrainedModel):
    """BILMA with a dense layer over the vocabulary and, for each region, a bias over the vocabulary."""

    _tied_weights_keys = {"decoder.weight": "bilma.embeddings.word_embeddings.weight"}

    def __init__(self, config: BilmaConfig):
        super().__init__(config)
        self.bilma = BilmaModel(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        if config.regions is not None:
            self.region_bias = nn.Parameter(torch.empty(len(config.regions), config.vocab_size))
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear):
        self.decoder = new_embeddings

    def predict(self, states: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
        """Logits (..., V) of states (..., D), for the region of each in `regions`, (..., R)."""
        logits = self.decoder(states)
        if regions is None:
            return logits
        if self.config.tie_word_embeddings:  # the region's vector is added to the word vectors here, too
            vectors = regions @ self.bilma.embeddings.region_vector
            logits = logits + (states * vectors).sum(-1, keepdim=True)
        return logits + regions @ self.region_bias

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_positions: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """Logits of shape (B, L, V), and the loss over the positions whose label is not -100.

        With `output_positions`, (B, Q), logits are (B, Q, V), and only these positions are scored. With `labels` and
        `config.sparse_prediction`, logits are (labelled positions, V), in row order.
        """
        sparse = self.config.sparse_prediction
        if labels is not None and sparse and output_positions is None:
            output_positions = self._labelled_positions(labels, **kwargs)
        outputs = self.bilma(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_positions=output_positions,
            **kwargs,
        )
        states, regions = outputs.last_hidden_state, outputs.regions
        if labels is not None and output_positions is not None:
            labels = labels.gather(1, output_positions)
        if labels is not None and sparse:
            labelled = labels != -100
            states, labels = states[labelled], labels[labelled]
            regions = None if regions is None else regions[labelled]
        logits = self.predict(states, regions)

        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def _labelled_positions(self, labels: torch.Tensor, **kwargs) -> torch.Tensor | None:
        """Positions of the labels, as from `chosen_positions`.

        None if the caller wants all states, and in a compiled model, whose shapes cannot depend on the labels.
        """
        if torch.compiler.is_compiling():
            return None
        return None if self._must_return_all_states(**kwargs) else chosen_positions(labels != -100)


def multiplies_bf16() -> bool:
    """Whether the CPU has instructions for products in bf16."""
    capabilities: dict[str, bool] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older versions of torch cannot tell
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class BilmaFillMaskPipeline(FillMaskPipeline):
    """The fill-mask pipeline of transformers, with logits only at the masks and softmax in fp32.

    A bf16 model is converted to fp32 on a CPU that would emulate bf16, where that takes three times as long for 64
    texts. `BilmaConfig.custom_pipelines` names the class, so that `pipeline("fill-mask", model=name)` builds it.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        assert self.model is not None and self.device is not None  # set by every pipeline
        if self.device.type == "cpu" and self.model.dtype == torch.bfloat16 and not multiplies_bf16():
            self.model.float()

    # FillMaskPipeline itself narrows the signatures of its base class.

    def _forward(self, model_inputs):  # type: ignore[override]
        masks = self._masks(model_inputs["input_ids"])
        outputs = self.model(**model_inputs, output_positions=chosen_positions(masks))
        outputs["input_ids"] = model_inputs["input_ids"]
        return outputs

    def postprocess(self, model_outputs, top_k=5, target_ids=None):  # type: ignore[override]
        ids, logits = model_outputs["input_ids"], model_outputs["logits"]
        masks = self._masks(ids[0]).nonzero().squeeze(-1)
        everywhere = logits.new_empty(1, ids.shape[1], logits.shape[-1], dtype=torch.float32)
        everywhere[0, masks] = logits[0, : len(masks)].float()  # the rest is never read or written
        return super().postprocess({"input_ids": ids, "logits": everywhere}, top_k, target_ids)

    def _masks(self, input_ids: torch.Tensor) -> torch.Tensor:
        assert self.tokenizer is not None  # every fill-mask pipeline has one
        return input_ids == self.tokenizer.mask_token_id


def pooled_position(attention_mask: torch.Tensor, pooling: str) -> torch.Tensor | None:
    """(B, L) to (B, 1): where the one state is that a pooling reads, that of `[START]` ("cls") or of a `[MASK]`
    before `[END]` ("mask"); None for a pooling of all states."""
    if pooling == "cls":  # after any padding and region tokens before it
        return attention_mask.int().argmax(1, keepdim=True)
    if pooling == "mask":  # cumsum is largest at the last visible token, first there, and on to the end
        return attention_mask.cumsum(1).argmax(1, keepdim=True) - 1
    return None


def pool(states: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, L, D) to (B, D), without padding: one state, as in `pooled_position`, or the "mean" or "max" of all."""
    position = pooled_position(attention_mask, pooling)
    if position is not None:
        return take_positions(states, position).squeeze(1)
    real = attention_mask.bool().unsqueeze(-1)
    if pooling == "mean":
        return states.masked_fill(~real, 0).sum(1) / real.sum(1)
    return states.masked_fill(~real, torch.finfo(states.dtype).min).amax(1)


class BilmaClassificationHead(nn.Module):
    """The published Emoji-15 head: two dense ReLU layers of the hidden size, then the classes.

    With the pooling "mask" the classes come at once, as words do in the masked language model.
    """

    def __init__(self, config: BilmaConfig):
        super().__init__()
        self.pooling = config.pooling
        if self.pooling != "mask":
            self.dense_1 = nn.Linear(config.hidden_size, config.hidden_size)
            self.dense_2 = nn.Linear(config.hidden_size, config.hidden_size)
        assert config.num_labels is not None  # every configuration of transformers has labels
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        if self.pooling == "mask":
            return self.out_proj(pooled)
        return self.out_proj(self.dense_2(self.dense_1(pooled).relu()).relu())


class BilmaForSequenceClassification(BilmaPreTrainedModel):
    """One label per text, from one vector of it (`config.pooling`)."""

    def __init__(self, config: BilmaConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bilma = BilmaModel(config)
        self.classifier = BilmaClassificationHead(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> SequenceClassifierOutput:
        """Logits of shape (B, num_labels), one text per row."""
        inputs = only_input(input_ids, inputs_embeds)
        visible = visible_tokens(input_ids, attention_mask, self.config)
        if visible is None:
            visible = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        position = None if self._must_return_all_states(**kwargs) else pooled_position(visible, self.config.pooling)
        outputs = self.bilma(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_positions=position,
            **kwargs,
        )
        states = outputs.last_hidden_state
        pooled = pool(states, visible, self.config.pooling) if position is None else states.squeeze(1)
        logits = self.classifier(pooled)
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config, **kwargs)
            items = kwargs.get("num_items_in_batch")  # number of label values accumulated into one step
            if items is not None and self.config.problem_type != "single_label_classification":
                loss = loss * labels.numel() / items  # here the library's losses are means over the batch
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class BilmaForTokenClassification(BilmaPreTrainedModel):
    """One label per token."""

    def __init__(self, config: BilmaConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bilma = BilmaModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        assert config.num_labels is not None  # as above
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TokenClassifierOutput:
        """Logits of shape (B, L, num_labels); labels of -100 are not scored."""
        outputs = self.bilma(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


__all__ = [
    "BilmaFillMaskPipeline",
    "BilmaForMaskedLM",
    "BilmaForSequenceClassification",
    "BilmaForTokenClassification",
    "BilmaModel",
    "BilmaPreTrainedModel",
]
