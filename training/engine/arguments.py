"""The flags shared by all scripts that train a model."""

import dataclasses

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option
from training.common.errors import InputError

STABLE = "warmup_stable_decay"  # with --decay_ratio; the others need no settings of their own
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup", STABLE)
PRECISIONS = ("auto", "no", "bf16", "fp16")


@dataclasses.dataclass(kw_only=True)
class EngineArguments:
    """Flags shared by all scripts that train a model; `training.engine.accelerator` applies them."""

    output_dir: str = dataclasses.field(metadata={"help": "folder for the trained model"})
    overwrite: bool = option(False, "replace the model in the output folder")

    max_length: int = option(128, "truncate texts to this many tokens")
    learning_rate: float = option(5e-4, "peak learning rate")
    lr_scheduler_type: str = option("cosine", f"learning rate schedule: {', '.join(SCHEDULES)}")
    warmup_ratio: float = option(0.06, "share of the steps for the learning rate warm-up")
    decay_ratio: float | None = option(
        None, f"share of the steps, at the end, over which the learning rate decays; only with {STABLE}"
    )
    weight_decay: float = option(0.01, "AdamW weight decay, for matrices only")
    adam_beta1: float = option(0.9, "AdamW beta 1")
    adam_beta2: float = option(0.98, "AdamW beta 2")
    adam_epsilon: float = option(1e-8, "AdamW epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient to this norm (0: do not clip)")
    mixed_precision: str = option("auto", "auto (bf16 where the hardware supports it), no, bf16 or fp16")
    num_threads: int | None = option(
        None, "CPU threads of each process (default: OMP_NUM_THREADS, or the cores shared evenly)"
    )
    report_to: str | None = option(None, "tracker, such as tensorboard, or none")


def check_engine_arguments(args: EngineArguments) -> None:
    """Check the values of the flags.

    Raises:
        InputError: for the first value that is out of range, or for flags that contradict each other.
    """
    check_each(args, "from 0 to below 1", "warmup_ratio", "decay_ratio", "adam_beta1", "adam_beta2")
    if (args.lr_scheduler_type == STABLE) != (args.decay_ratio is not None):
        raise InputError(f"--lr_scheduler_type {STABLE} and --decay_ratio go together, as flags or in the recipe")
    if args.warmup_ratio + (args.decay_ratio or 0) > 1:
        raise InputError("--warmup_ratio and --decay_ratio add up to more than 1: lower one of them")
    check_each(args, "0 or more", "weight_decay", "max_grad_norm")
    check_each(args, "above 0", "learning_rate", "adam_epsilon")
    check_each(args, "1 or more", "num_threads")
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    for name, known in {"mixed_precision": PRECISIONS, "lr_scheduler_type": SCHEDULES}.items():
        if (value := getattr(args, name)) not in known:
            raise InputError(f"--{name} {value}: choose one of {', '.join(known)}")
