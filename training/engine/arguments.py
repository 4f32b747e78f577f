"""The flags of every script that trains with Accelerate."""

import dataclasses

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option
from training.common.errors import InputError

STABLE = "warmup_stable_decay"  # with --decay_ratio; the others need no settings of their own
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup", STABLE)
PRECISIONS = ("auto", "no", "bf16", "fp16")


@dataclasses.dataclass(kw_only=True)
class EngineArguments:
    """The flags of every script that trains a model with Accelerate; `engine.accelerator` applies them."""

    output_dir: str = dataclasses.field(metadata={"help": "folder for the trained model"})
    overwrite: bool = option(False, "replace the model that the output folder holds")

    max_length: int = option(128, "texts are cut at this many tokens")
    learning_rate: float = option(5e-4, "highest learning rate")
    lr_scheduler_type: str = option("cosine", f"schedule of the rate: {', '.join(SCHEDULES)}")
    warmup_ratio: float = option(0.06, "share of the steps in which the rate rises")
    decay_ratio: float | None = option(
        None, f"share of the steps, the last, in which the rate falls; for {STABLE}, which keeps it up until then"
    )
    weight_decay: float = option(0.01, "AdamW decay, of matrices only")
    adam_beta1: float = option(0.9, "AdamW beta 1")
    adam_beta2: float = option(0.98, "AdamW beta 2")
    adam_epsilon: float = option(1e-8, "AdamW epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient to this norm (0: do not)")
    mixed_precision: str = option("auto", "auto (bf16 where the machine has it), no, bf16 or fp16")
    num_threads: int | None = option(None, "CPU threads of each process (default: the cores, shared out)")
    report_to: str | None = option(None, "tracker, such as tensorboard")


def check_engine_arguments(args: EngineArguments) -> None:
    """Raise `InputError` for a value that cannot be."""
    check_each(args, "from 0 to below 1", "warmup_ratio", "decay_ratio", "adam_beta1", "adam_beta2")
    if (args.lr_scheduler_type == STABLE) != (args.decay_ratio is not None):
        raise InputError(f"--lr_scheduler_type {STABLE} and --decay_ratio go together, as flags or in the recipe")
    if args.warmup_ratio + (args.decay_ratio or 0) > 1:
        raise InputError("--warmup_ratio and --decay_ratio are more than the whole run: lower one of them")
    check_each(args, "0 or more", "weight_decay", "max_grad_norm")
    check_each(args, "above 0", "learning_rate", "adam_epsilon")
    check_each(args, "1 or more", "num_threads")
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    for name, known in {"mixed_precision": PRECISIONS, "lr_scheduler_type": SCHEDULES}.items():
        if (value := getattr(args, name)) not in known:
            raise InputError(f"--{name} {value}: choose one of {', '.join(known)}")
