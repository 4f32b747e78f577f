from types import SimpleNamespace

import pytest
import torch

from modeling_bilma import BilmaModel
from tests.conftest import tiny_config
from training.engine.accelerator import choose_attention, make_scheduler
from training.engine.arguments import EngineArguments


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


def rates(total_steps, **settings):
    args = EngineArguments(output_dir="out", learning_rate=1.0, **settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(args, optimizer, total_steps)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_base_and_adaptation_have_the_rates_of_one_whole_training():
    """Half of the steps at the highest rate after a warm-up, and half on the way down: in one run or in two."""
    base = rates(100, lr_scheduler_type="constant_with_warmup", warmup_ratio=0.06)
    adaptation = rates(100, lr_scheduler_type="cosine", warmup_ratio=0)
    whole = rates(200, lr_scheduler_type="warmup_stable_decay", warmup_ratio=0.03, decay_ratio=0.5)
    assert whole == pytest.approx(base + adaptation)
    assert (whole[5], whole[6], whole[100]) == (pytest.approx(5 / 6), 1, 1)
    assert whole[-1] < 0.001
