"""Small random models, two texts for them, and a comparison of their numbers."""

import pytest
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import PARTS, add_regions
from tests.conftest import tiny_config

REGIONS = ["ar", "mx", "ve"]
# There the kernel that torch 2.13 compiles gives NaN for lengths such as 40, without any model.
FLEX_IS_WRONG = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "AVX2", reason="flex attention of torch is wrong on CPUs with AVX2 only"
)
IMPLEMENTATIONS = ("eager", "sdpa", pytest.param("flex_attention", marks=(FLEX_IS_WRONG, pytest.mark.slow)))


def tiny(cls=BilmaForMaskedLM, implementation="sdpa", **changes):
    torch.manual_seed(0)
    model = cls(tiny_config(**changes)).eval()
    model.set_attn_implementation(implementation)
    return model


def make_regional(tokenizer, dtype=torch.float32, **changes):
    """A body with parts that are far from zero, and its tokenizer."""
    torch.manual_seed(0)
    body = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer), **{"tie_word_embeddings": True, **changes}))
    model, with_regions = add_regions(body.to(dtype), tokenizer, REGIONS)
    for name in PARTS:
        torch.nn.init.normal_(model.get_parameter(name))
    return model.eval(), with_regions


def two_texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of a text of 12 tokens and one of 7, padded."""
    ids = torch.randint(5, 100, (2, 12))
    mask = torch.ones_like(ids)
    ids[1, 7:], mask[1, 7:] = 0, 0
    return ids, mask


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-6):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=atol)
