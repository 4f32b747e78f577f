from types import SimpleNamespace

import pytest
import torch

from modeling_bilma import BilmaModel
from tests.conftest import tiny_config
from training.engine import choose_attention


@pytest.mark.parametrize(
    ("device", "precision", "amx", "implementation"),
    [
        ("cpu", "bf16", False, "eager"),
        ("cpu", "bf16", True, "sdpa"),
        ("cpu", "no", False, "sdpa"),
        ("cuda", "bf16", False, "sdpa"),
    ],
)
def test_attention_is_written_out_where_that_is_faster(monkeypatch, device, precision, amx, implementation):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx})
    model = BilmaModel(tiny_config())
    choose_attention(model, SimpleNamespace(device=torch.device(device), mixed_precision=precision))
    assert model.config._attn_implementation == implementation
