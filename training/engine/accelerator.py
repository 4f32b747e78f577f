"""Set-up shared by all training scripts: Accelerate, precision, threads, optimizer and learning rate schedule."""

import ctypes
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import nn
from torch.distributed import DistError
from transformers import PreTrainedModel, get_scheduler
from transformers.utils import logging as transformers_logging

from modeling_bilma.modeling_bilma import multiplies_bf16
from modeling_bilma.regional import PARTS
from training.common import progress
from training.common.beginning import is_launched
from training.common.errors import InputError, as_input_error
from training.engine.arguments import EngineArguments
from training.engine.run_folder import LOG_DIR

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

NO_TRACKER = "none"  # as --report_to of transformers' Trainer


def make_accelerator(args: EngineArguments, settings: dict[str, Any]) -> Accelerator:
    """Set up Accelerate with the precision, threads and tracker that the flags name.

    Args:
        settings: settings of the run, for the tracker to record.

    Raises:
        InputError: if this machine lacks the precision, or the tracker is not installed.
    """
    precision = args.mixed_precision if args.mixed_precision != "auto" else best_precision()
    transformers_logging.disable_progress_bar()  # of opening and saving models
    tracker = None if args.report_to == NO_TRACKER else args.report_to
    with as_input_error(ValueError, ImportError):
        accelerator = Accelerator(
            mixed_precision=precision,
            log_with=tracker,
            project_dir=str(Path(args.output_dir) / LOG_DIR),
            # The others wait while the first process reads the corpus, which may take hours.
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=24))],
        )
    if tracker and not accelerator.log_with:
        raise InputError(f"--report_to {tracker}: this tracker is not installed")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
        set_threads(args.num_threads)
    if tracker:
        # Trackers take plain values only.
        plain = {name: json.dumps(value) for name, value in settings.items()}
        accelerator.init_trackers("bilma", config=plain)
    return accelerator


def set_threads(num_threads: int | None) -> None:
    """Set the number of CPU threads: the one given, else that of OMP_NUM_THREADS, else an even share of the cores.

    Launchers set OMP_NUM_THREADS=1 in the processes that they start, so there that value is ignored.
    """
    by_environment = os.environ.get("OMP_NUM_THREADS", "")
    if num_threads is None and by_environment and not (is_launched() and by_environment == "1"):
        return  # torch has applied it
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    torch.set_num_threads(num_threads or max(1, available_cores() // processes_here))


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_precision() -> str:
    """Return bf16 if the hardware computes in it; emulated bf16 is slower than fp32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if multiplies_bf16() else "no"


def choose_attention(model: PreTrainedModel, accelerator: Accelerator) -> None:
    """Use eager attention where torch's fused kernel takes twice as long: in bf16 on a CPU without AMX.

    Measured with heads of 512 in rows of 36 tokens, forward and backward; not measured with AMX.
    """
    on_cpu = accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16"
    if on_cpu and not torch.cpu.get_capabilities().get("amx_bf16"):
        model.set_attn_implementation("eager")


def make_optimizer(args: EngineArguments, model: nn.Module) -> torch.optim.Optimizer:
    """Make an AdamW optimizer: weight decay for matrices only, and a separate learning rate for regional parts."""
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    regional = [trained.pop(name) for name in PARTS if name in trained]
    rate = getattr(args, "regional_learning_rate", None) or args.learning_rate
    groups = [
        {"params": [p for p in trained.values() if p.ndim >= 2], "weight_decay": args.weight_decay},
        {"params": [p for p in trained.values() if p.ndim < 2], "weight_decay": 0.0},
        {"params": regional, "weight_decay": 0.0, "lr": rate},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (args.adam_beta1, args.adam_beta2)
    return torch.optim.AdamW(groups, lr=args.learning_rate, betas=betas, eps=args.adam_epsilon, fused=True)


def make_scheduler(
    args: EngineArguments, optimizer: torch.optim.Optimizer, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Make the learning rate schedule for a run of `total_steps`."""
    warmup_steps = math.ceil(args.warmup_ratio * total_steps)
    own = {"num_decay_steps": int(args.decay_ratio * total_steps)} if args.decay_ratio is not None else None
    return get_scheduler(args.lr_scheduler_type, optimizer, warmup_steps, total_steps, own)


def say(accelerator: Accelerator, text: str) -> None:
    """Print a line, in the main process only."""
    if accelerator.is_main_process:
        progress.say(text)


@contextmanager
def as_lost_process_error() -> Iterator[None]:
    """Turn the errors that follow the death of another process into one line.

    Raises:
        InputError: if another process of the run died while the block ran.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, DistError) or "gloo" in str(error)):
            raise
        raise InputError(
            "another process of this run died (its error is the first one shown): continue with the same command and "
            "--resume"
        ) from error


def keep_freed_memory() -> None:
    """Keep freed memory for the next allocation instead of returning it to the system; for training on a CPU.

    A step allocates and frees the same few hundred megabytes over and over. glibc returns blocks of that size to the
    kernel at once, which then clears every page anew: a tenth of a step. Nothing is changed for other C libraries.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
