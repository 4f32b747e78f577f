"""The flags of `training/finetune.py`, which are also the keys of its recipes."""

from dataclasses import dataclass, field
from typing import Literal

from training.common.arguments import check_each, option
from training.common.errors import InputError
from training.engine.arguments import SCHEDULES, EngineArguments, check_engine_arguments
from training.texts.labelled import LabelledArguments


@dataclass(kw_only=True)
class FinetuneArguments(EngineArguments, LabelledArguments):
    model: str = field(metadata={"help": "BILMA folder or Hub id"})
    recipe: str = option("finetune", "recipe of training/recipes by name, or a YAML file by path")

    pooling: Literal["cls", "mean", "max"] = option(
        "mean", "one vector of a text: the [START] state, or over all states"
    )
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare labels weigh as much as common ones")
    hidden_dropout_prob: float | None = option(None, "dropout while fine-tuning (default: that of the model's config)")
    mlm_weight: float = option(0.5, "share of the loss that stays with masked words (0 for a bare encoder)")
    mlm_probability: float = option(0.3, "share of the tokens to mask, if --mlm_weight is above 0")

    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "one training for each: of the new layers, the order of the texts and the dropout"},
    )
    num_train_epochs: int = option(8, "most passes over the training texts")
    patience: int = option(3, "stop after this many passes without a better validation accuracy")
    texts_per_step: int = option(32, "texts of one optimizer step, over all processes")
    learning_rate: float = option(2e-4, "highest learning rate")
    lr_scheduler_type: str = option("linear", f"schedule of the rate: {', '.join(SCHEDULES)}")
    warmup_ratio: float = option(0.1, "share of the steps in which the rate rises")
    adam_beta2: float = option(0.999, "AdamW beta 2")


def check_arguments(args: FinetuneArguments) -> None:
    check_engine_arguments(args)
    check_each(args, "from 0 to below 1", "mlm_weight", "hidden_dropout_prob")
    check_each(args, "between 0 and 1", "mlm_probability")
    check_each(args, "1 or more", "num_train_epochs", "patience", "texts_per_step")
    if not args.seeds or len(set(args.seeds)) < len(args.seeds) or not all(0 <= seed < 2**32 for seed in args.seeds):
        raise InputError(f"--seeds {' '.join(map(str, args.seeds))}: give different numbers from 0 to below 2^32")
