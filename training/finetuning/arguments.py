"""The flags of `training/finetune.py`, which are also the keys of its recipes."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Literal

from training.common.arguments import check_each, option
from training.common.errors import InputError
from training.engine.arguments import SCHEDULES, EngineArguments, check_engine_arguments
from training.finetuning.folds import check_folds, check_part_files, check_seeds
from training.texts.tagged import TOKEN_TASK, TaggedArguments


@dataclass(kw_only=True)
class FinetuneArguments(EngineArguments, TaggedArguments):
    """The flags of `training/finetune.py`."""

    model: str = field(metadata={"help": "BILMA folder or Hub id"})
    recipe: str = option("finetune", "recipe of training/recipes by name, or a YAML file by path")

    pooling: Literal["cls", "mean", "max", "mask"] = option(
        "mean",
        "how states become one vector of a text: that of [START], the mean or maximum over all, or (mask) that of a "
        "[MASK] at the end, from which labels are predicted as words are",
    )
    region_tokens: bool = option(
        False, "begin each text with the token of its region, which the column region names; for pooled regions"
    )
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare labels weigh as much as common ones")
    hidden_dropout_prob: float | None = option(None, "dropout while fine-tuning (default: that of the model's config)")
    mlm_weight: float = option(0.5, "share of the masked language model's loss (0 for an encoder without its decoder)")
    mlm_probability: float = option(0.3, "share of the tokens to mask, if --mlm_weight is above 0")

    seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "one training for each seed, of the new layers, the order of the texts and the dropout"},
    )
    soup: bool = option(
        False,
        "average the weights of the seeds that do not lower the validation score; all begin with one head",
    )
    folds: int = option(
        0,
        "also cross-validate with this many folds, each text in the test part once; for test parts of under 500 texts",
    )
    num_train_epochs: int = option(8, "maximum number of passes over the training texts")
    patience: int = option(3, "stop after this many passes without a better validation score")
    texts_per_step: int = option(32, "texts of one optimizer step, over all processes")
    learning_rate: float = option(2e-4, "peak learning rate")
    lr_scheduler_type: str = option("linear", f"learning rate schedule: {', '.join(SCHEDULES)}")
    warmup_ratio: float = option(0.1, "share of the steps in which the learning rate rises")
    adam_beta2: float = option(0.999, "AdamW beta 2")


def check_arguments(args: FinetuneArguments) -> None:
    """Check the values of flags.

    Raises:
        InputError: if one is out of range, or contradicts another.
    """
    check_engine_arguments(args)
    check_each(args, "from 0 to below 1", "mlm_weight", "hidden_dropout_prob")
    check_each(args, "between 0 and 1", "mlm_probability")
    check_each(args, "1 or more", "num_train_epochs", "patience", "texts_per_step")
    check_seeds(args.seeds)
    check_folds(args.folds, args.task)
    check_part_files(args)
    if args.soup and len(args.seeds) < 2:
        raise InputError("--soup averages several trainings: give two --seeds or more")
    tags_words = args.task == TOKEN_TASK
    if tags_words and not find_spec("seqeval"):
        raise InputError('seqeval is not installed: pip install -e ".[tagging]"')
    if tags_words and args.region_tokens:
        raise InputError(f"--region_tokens is for classes of texts: leave it out with --task {TOKEN_TASK}")
    if tags_words and args.pooling == "mask":
        raise InputError(f"--pooling mask is for classes of texts: leave it out with --task {TOKEN_TASK}")
