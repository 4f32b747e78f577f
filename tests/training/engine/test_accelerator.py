import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from training.engine.accelerator import available_cores, choose_attention, make_scheduler, set_threads
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
    chosen = ["sdpa"]  # by default
    model = SimpleNamespace(set_attn_implementation=chosen.append)
    choose_attention(model, SimpleNamespace(device=torch.device(device), mixed_precision=precision))
    assert chosen[-1] == implementation


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


@pytest.mark.parametrize(
    ("flag", "environment", "expected"),
    [
        (None, {}, 0),
        (None, {"OMP_NUM_THREADS": "3"}, 5),  # what torch has set already
        (2, {"OMP_NUM_THREADS": "3"}, 2),
        (None, {"OMP_NUM_THREADS": "3", "TORCHELASTIC_RUN_ID": "x"}, 5),
        (None, {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, 0),  # set by the launcher
    ],
)
def test_threads_come_from_the_flag_or_the_environment_or_the_cores(monkeypatch, flag, environment, expected):
    for name in ("OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    torch.set_num_threads(5)
    set_threads(flag)
    assert torch.get_num_threads() == (expected or available_cores())


FAULTS = """
import resource, sys, torch
from training.engine.accelerator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for number in range(30):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_freed_memory_is_used_again():
    faults = {
        setting: int(subprocess.run([sys.executable, "-c", FAULTS, setting], capture_output=True, check=True).stdout)
        for setting in ("keep", "default")
    }
    assert faults["keep"] < faults["default"] / 10
