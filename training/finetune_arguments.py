"""The flags of `training/finetune.py`, which are also the keys of its recipes."""

import math
from dataclasses import dataclass, field
from typing import Literal

from training.arguments import option
from training.errors import InputError
from training.labelled import LabelledArguments
from training.pretrain_arguments import SCHEDULES


@dataclass(kw_only=True)
class FinetuneArguments(LabelledArguments):
    model: str = field(metadata={"help": "BILMA folder or Hub id"})
    output_dir: str = field(metadata={"help": "folder for the classifier"})
    recipe: str = option("finetune", "recipe of training/recipes by name, or a YAML file by path")

    pooling: Literal["cls", "mean", "max"] = option(
        "mean", "one vector of a text: the [START] state, or over all states"
    )
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare labels weigh as much as common ones")
    mlm_weight: float = option(0.5, "share of the loss that stays with masked words (0 for a bare encoder)")
    mlm_probability: float = option(0.3, "share of the tokens to mask, if --mlm_weight is above 0")

    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "one training for each: of the new layers, the order of the texts and the dropout"},
    )
    num_train_epochs: int = option(8, "most passes over the training texts")
    patience: int = option(3, "stop after this many passes without a better validation accuracy")
    max_length: int = option(128, "texts are cut at this many tokens")
    texts_per_step: int = option(32, "texts of one optimizer step, over all processes")
    learning_rate: float = option(2e-4, "highest learning rate")
    lr_scheduler_type: str = option("linear", "schedule of the rate: cosine, linear, constant or constant_with_warmup")
    warmup_ratio: float = option(0.1, "share of the steps in which the rate rises")
    weight_decay: float = option(0.01, "AdamW decay, of matrices only")
    adam_beta1: float = option(0.9, "AdamW beta 1")
    adam_beta2: float = option(0.999, "AdamW beta 2")
    adam_epsilon: float = option(1e-8, "AdamW epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient to this norm (0: do not)")
    mixed_precision: str = option("auto", "auto (bf16 where the machine has it), no, bf16 or fp16")
    num_threads: int | None = option(None, "CPU threads of each process (default: the cores, shared out)")
    report_to: str | None = option(None, "tracker, such as tensorboard")
    overwrite: bool = option(False, "replace the classifier that the output folder holds")


def check_arguments(args: FinetuneArguments) -> None:
    for name in ("mlm_weight", "warmup_ratio", "adam_beta1", "adam_beta2"):
        if not 0 <= (value := getattr(args, name)) < 1:
            raise InputError(f"--{name} {value} is not from 0 to below 1")
    if not 0 < args.mlm_probability < 1:
        raise InputError(f"--mlm_probability {args.mlm_probability} is not between 0 and 1")
    for name in ("weight_decay", "max_grad_norm"):
        if not 0 <= (value := getattr(args, name)) < math.inf:
            raise InputError(f"--{name} {value} is not 0 or above")
    for name in ("num_train_epochs", "patience", "texts_per_step", "num_threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise InputError(f"--{name} {value} is less than 1")
    for name in ("learning_rate", "adam_epsilon"):
        if not 0 < (value := getattr(args, name)) < math.inf:
            raise InputError(f"--{name} {value} is not above 0")
    choices = {"mixed_precision": ("auto", "no", "bf16", "fp16"), "lr_scheduler_type": SCHEDULES}
    for name, known in choices.items():
        if (value := getattr(args, name)) not in known:
            raise InputError(f"--{name} {value}: choose one of {', '.join(known)}")
    if args.max_length < 3:
        raise InputError(f"--max_length {args.max_length} leaves no room for a token between [START] and [END]")
    if not args.seeds or len(set(args.seeds)) < len(args.seeds) or not all(0 <= seed < 2**32 for seed in args.seeds):
        raise InputError(f"--seeds {' '.join(map(str, args.seeds))}: give different numbers from 0 to below 2^32")
