"""Regional parts: one body with a small part for each region, and how to merge them into the plain model of a region.

A part is a bias over the vocabulary, added to the logits of its region's texts, and a vector, added to their word
vectors. Merged into the output bias and the word table, it makes a plain `BilmaForMaskedLM`. Its logits for a text are
those of the model with parts for the same text after the region's token. This file is not shipped to the Hub.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor
from transformers import TokenizersBackend

from .configuration_bilma import BilmaConfig
from .modeling_bilma import BilmaForMaskedLM
from .tokenization_bilma import with_region_tokens

VECTOR, BIAS = "bilma.embeddings.region_vector", "region_bias"
PARTS = (VECTOR, BIAS)
_WORDS, _OUTPUT, _OUTPUT_BIAS = "bilma.embeddings.word_embeddings.weight", "decoder.weight", "decoder.bias"
NEVER = -1e4  # the output bias of a token that is never predicted; within the range of fp16


def add_regions(
    model: BilmaForMaskedLM, tokenizer: TokenizersBackend, regions: Sequence[str]
) -> tuple[BilmaForMaskedLM, TokenizersBackend]:
    """Add a part for each region to a plain model, which changes no result yet, and their tokens to its tokenizer.

    Args:
        regions: two-letter country codes, in the order of the parts.

    Raises:
        ValueError: if the model has regions, attends to its padding or has another vocabulary size than its
            tokenizer, or if a region is repeated.
    """
    size = model.config.vocab_size
    if len(tokenizer) != size:
        raise ValueError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {size}: region tokens follow the last token of "
            "both, so give a model and a tokenizer of one size"
        )
    return add_parts(model, regions), with_region_tokens(tokenizer, regions)


def add_parts(model: BilmaForMaskedLM, regions: Sequence[str]) -> BilmaForMaskedLM:
    """Do what `add_regions` does to the model."""
    if model.config.regions is not None:
        raise ValueError(f"the model has parts for {', '.join(model.config.regions)} already: give a plain one")
    size = model.config.vocab_size
    regional = _like(
        model, vocab_size=size + len(regions), regions=list(regions), first_region_token_id=size, region=None
    )
    weights = model.state_dict()
    width = model.config.hidden_size
    for name in (_WORDS, _OUTPUT):
        weights[name] = torch.cat((weights[name], weights[name].new_zeros(len(regions), width)))
    weights[_OUTPUT_BIAS] = torch.cat((weights[_OUTPUT_BIAS], weights[_OUTPUT_BIAS].new_full((len(regions),), NEVER)))
    parts = {name: torch.zeros_like(part) for name, part in regional.state_dict().items() if name in PARTS}
    regional.load_state_dict(weights | parts)
    return regional


def merge_region(
    model: BilmaForMaskedLM, tokenizer: TokenizersBackend, region: str | None
) -> tuple[BilmaForMaskedLM, TokenizersBackend]:
    """Make the plain model of a region, or with None the body alone, and its tokenizer without region tokens.

    Sums are computed in fp32 and rounded once to the dtype of the model.

    Raises:
        ValueError: if the model has no regions, or not this one.
    """
    return merge_parts(model, region), with_region_tokens(tokenizer, [])


@torch.no_grad()
def merge_parts(model: BilmaForMaskedLM, region: str | None) -> BilmaForMaskedLM:
    """Do what `merge_region` does to the model."""
    regions = model.config.regions
    if regions is None:
        raise ValueError("the model has no regional parts: it is plain already")
    if region is not None and region not in regions:
        raise ValueError(f"the model has no part for the region {region}: it has {', '.join(regions)}")
    size = model.config.first_region_token_id
    weights = {name: weight for name, weight in model.state_dict().items() if name not in PARTS}
    for name in (_WORDS, _OUTPUT, _OUTPUT_BIAS):
        weights[name] = weights[name][:size]
    if region is not None:
        number = regions.index(region)
        vector = model.get_parameter(VECTOR)[number]
        tables = (_WORDS, _OUTPUT) if model.config.tie_word_embeddings else (_WORDS,)
        for name in tables:
            weights[name] = (weights[name].float() + vector.float()).to(weights[name].dtype)
        bias = weights[_OUTPUT_BIAS].float() + model.get_parameter(BIAS)[number, :size].float()
        weights[_OUTPUT_BIAS] = bias.to(vector.dtype)
    plain = _like(model, vocab_size=size, regions=None, first_region_token_id=None, region=region)
    plain.load_state_dict(weights)
    return plain


def log_frequency_ratios(counts: Tensor, smoothing: float = 5.0) -> Tensor:
    """Return initial biases: the log ratio of each token's frequency in a region to the mean over regions, (R, V).

    Args:
        counts: occurrences of each token in the texts of each region, (R, V).
        smoothing: added to the counted and to the expected occurrences, so that rare tokens stay near 0.

    Raises:
        ValueError: if a region has no tokens.
    """
    counts = counts.double()
    totals = counts.sum(1, keepdim=True)
    if (totals == 0).any():
        raise ValueError("a region without a token has no frequencies: give texts of every region")
    expected = totals * (counts / totals).mean(0)
    return ((counts + smoothing) / (expected + smoothing)).log().float()


def _like(model: BilmaForMaskedLM, **changes: object) -> BilmaForMaskedLM:
    """Make a new model with the same dtype, device and mode, and a configuration that differs by `changes`."""
    settings = deepcopy(model.config).to_dict() | changes
    # transformers types `to` as an unbound method.
    like = BilmaForMaskedLM(BilmaConfig.from_dict(settings)).to(model.device, model.dtype)  # type: ignore[arg-type]
    like.set_attn_implementation(model.config._attn_implementation)
    return like.train(model.training)
