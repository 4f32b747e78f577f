"""What the training scripts share: Accelerate, the optimizer, and the opening of a model to go on from."""

import ctypes
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.distributed import DistError
from tqdm import tqdm
from transformers import PreTrainedModel, get_scheduler

from modeling_bilma import BilmaPreTrainedModel
from modeling_bilma.regional import PARTS
from training.common.errors import InputError, as_input_error
from training.engine.arguments import STABLE, EngineArguments
from training.engine.run_folder import LOG_DIR

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

LFS_POINTER = b"version https://git-lfs"
Model = TypeVar("Model", bound=BilmaPreTrainedModel)


def make_accelerator(args: EngineArguments, settings: dict[str, Any]) -> Accelerator:
    """Accelerate with the precision, the threads and the tracker that flags name; `settings` go to the tracker.

    Raises:
        InputError: for a precision that this machine lacks, or a tracker that is not installed.
    """
    precision = args.mixed_precision if args.mixed_precision != "auto" else best_precision()
    with as_input_error(ValueError, ImportError):
        accelerator = Accelerator(
            mixed_precision=precision,
            log_with=args.report_to,
            project_dir=str(Path(args.output_dir) / LOG_DIR),
            # The others wait while the first process reads the corpus, which may take hours.
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=24))],
        )
    if args.report_to and not accelerator.log_with:
        raise InputError(f"--report_to {args.report_to}: this tracker is not installed")
    if accelerator.device.type == "cpu":
        keep_freed_memory()
        # `accelerate launch` sets one thread for each process whatever the machine has.
        processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        torch.set_num_threads(args.num_threads or max(1, available_cores() // processes_here))
    if args.report_to:
        # Trackers take plain values only.
        plain = {name: json.dumps(value) for name, value in settings.items()}
        accelerator.init_trackers("bilma", config=plain)
    return accelerator


def tell_deepspeed(accelerator: Accelerator, max_grad_norm: float) -> None:
    """What DeepSpeed wants to know beforehand: it clips by itself. How large a micro-batch is, the loop decides."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        settings = {"train_micro_batch_size_per_gpu": 1, "gradient_clipping": max_grad_norm}
        accelerator.state.deepspeed_plugin.deepspeed_config.update(settings)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def best_precision() -> str:
    """bf16 where the hardware multiplies in it; elsewhere it is emulated and slower than fp32."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "no"


def choose_attention(model: PreTrainedModel, accelerator: Accelerator) -> None:
    """Write attention out where torch's fused kernel takes twice as long: in bf16 on a CPU without AMX.

    Measured with heads of 512 in rows of 36 tokens, forward and backward. With AMX it was not measured.
    """
    on_cpu = accelerator.device.type == "cpu" and accelerator.mixed_precision == "bf16"
    if on_cpu and not torch.cpu.get_capabilities().get("amx_bf16"):
        model.set_attn_implementation("eager")


def make_optimizer(args: EngineArguments, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW that decays matrices only, of what is trained; regional parts are biases and have a rate of their own."""
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
    warmup_steps = math.ceil(args.warmup_ratio * total_steps)
    own = {"num_decay_steps": int(args.decay_ratio * total_steps)} if args.lr_scheduler_type == STABLE else None
    return get_scheduler(args.lr_scheduler_type, optimizer, warmup_steps, total_steps, own)


def open_whole(model_class: type[Model], path_or_id: str, **settings: Any) -> Model:
    """A BILMA from a folder or the Hub, all of it: no part is new. In fp32, unless `dtype` is given.

    Raises:
        InputError: if there is none, if its weights are not whole, or if it lacks a part that `model_class` has.
    """
    check_weights_are_whole(Path(path_or_id))
    with as_input_error(ValueError, OSError, RuntimeError, StrictDataclassError):
        model, info = model_class.from_pretrained(
            path_or_id, output_loading_info=True, **{"dtype": torch.float32, **settings}
        )
    if info["missing_keys"]:
        raise InputError(f"{path_or_id} is not a whole {model_class.__name__}: it lacks {min(info['missing_keys'])}")
    return model


def check_weights_are_whole(folder: Path) -> None:
    """Raise `InputError` for a file of weights in a model folder that was not checked out, or only in part."""
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            if opened.read(len(LFS_POINTER)) == LFS_POINTER:
                raise InputError(f"{file} is a Git LFS pointer and not the weights: fetch them with git lfs pull")
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            raise InputError(f"{file} is not whole ({error}): check it out or copy it again") from error


def say(accelerator: Accelerator, text: str) -> None:
    if accelerator.is_main_process:
        tqdm.write(text)


@contextmanager
def as_lost_process_error() -> Iterator[None]:
    """Around the work of several processes: if another one dies, this one says so in one line."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, DistError) or "gloo" in str(error)):
            raise
        raise InputError(
            "another process of this run is gone (its error is the first one shown): go on with the same command and "
            "--resume"
        ) from error


def keep_freed_memory() -> None:
    """Keep what is freed for the next allocation, instead of handing it back to the system; of use on a CPU.

    A step allocates and frees the same few hundred megabytes over and over. glibc returns blocks of that size to the
    kernel at once, which then clears every page anew: a tenth of a step. Nothing happens with other C libraries.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
