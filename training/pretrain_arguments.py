"""The flags of `training/pretrain.py`, which are also the keys of its recipes."""

import math
from contextlib import suppress
from dataclasses import dataclass, field

from training.arguments import CorpusArguments, option
from training.errors import InputError
from training.regions import Region

# Those of transformers that need no settings of their own.
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup")
# Flags that change how a run goes on, and not what comes out.
OPERATIONAL = (
    "num_threads",
    "tokens_per_micro_batch",
    "logging_steps",
    "save_steps",
    "save_minutes",
    "keep_checkpoints",
    "max_bad_batches",
    "report_to",
)
SIZES = (  # of a new model, that --config_overrides may set
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "head_dim",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "max_position_embeddings",
    "layer_norm_eps",
    "initializer_range",
)


@dataclass(kw_only=True)
class PretrainArguments(CorpusArguments):
    region: str = field(metadata={"help": "two-letter country code of the texts, such as mx"})
    output_dir: str = field(metadata={"help": "folder for the trained model"})
    recipe: str = option("default", "recipe of training/recipes by name, or a YAML file by path")

    validation_file: list[str] = field(
        default_factory=list,
        metadata={"help": "the same as --train_file, for validation (default: a share of the training texts)"},
    )
    validation_fraction: float = option(0.05, "share of the texts held out, chosen by a hash of the text")
    max_validation_texts: int = option(10_000, "validate on no more than this many texts")
    streaming: bool = option(
        False, "read and tokenise the texts while training, for a corpus too large to tokenise: Parquet files only"
    )
    streaming_lanes: int = option(
        8, "places of the corpus that a step is read from when streaming; best a multiple of the machines"
    )
    cache_dir: str | None = option(None, "where tokenised corpora are kept (default: bilma/ in the Hugging Face home)")

    tokenizer: str | None = option(None, "tokenizer folder, Hub id or vocabulary file (default: learn one)")
    vocab_size: int = option(29025, "most tokens of a learnt vocabulary")
    min_frequency: int = option(5, "pieces of a learnt vocabulary are met at least this often")
    init_from: str | None = option(None, "BILMA folder or Hub id to continue from, with its tokenizer")
    tie_word_embeddings: bool = option(True, "a new model predicts with its word vectors")
    attend_to_padding: bool = option(False, "a new model attends to its padding, as the published ones do")
    config_overrides: str = option("", "sizes of a new model, as name=value,name=value")

    num_train_epochs: float | None = option(None, "passes over the texts (default: as published for the region)")
    max_steps: int | None = option(None, "stop after this many steps instead")
    max_length: int = option(128, "texts are cut at this many tokens")
    mlm_probability: float = option(0.15, "share of the tokens to predict")
    texts_per_step: int = option(64, "texts of one optimizer step, over all processes")
    tokens_per_micro_batch: int = option(16384, "most tokens that go through the model at once in one process")
    learning_rate: float = option(5e-4, "highest learning rate")
    lr_scheduler_type: str = option("cosine", "schedule of the rate: cosine, linear, constant or constant_with_warmup")
    warmup_ratio: float = option(0.06, "share of the steps in which the rate rises")
    weight_decay: float = option(0.01, "AdamW decay, of matrices only")
    adam_beta1: float = option(0.9, "AdamW beta 1")
    adam_beta2: float = option(0.98, "AdamW beta 2")
    adam_epsilon: float = option(1e-8, "AdamW epsilon")
    max_grad_norm: float = option(1.0, "clip the gradient to this norm (0: do not)")
    mixed_precision: str = option("auto", "auto (bf16 where the machine has it), no, bf16 or fp16")
    seed: int = option(0, "of the weights, the order of texts, the masks and the dropout")
    num_threads: int | None = option(None, "CPU threads of each process (default: the cores, shared out)")

    logging_steps: int = option(10, "steps between points of the loss curve")
    eval_steps: float = option(0.1, "steps between evaluations; below 1, as a share of the run")
    save_steps: float = option(0.1, "steps between checkpoints; below 1, as a share of the run")
    save_minutes: float | None = option(None, "write a checkpoint also after this many minutes without one")
    keep_checkpoints: int = option(2, "checkpoints to keep; the older ones serve if the last is damaged")
    max_bad_batches: int = option(0, "leave out up to this many batches whose loss or gradient is not finite")
    report_to: str | None = option(None, "tracker, such as tensorboard")
    estimate: bool = option(
        False, "say what the run will take, by measuring some steps; trains and writes nothing but the token cache"
    )
    overwrite: bool = option(False, "replace the model that the output folder holds")
    resume: bool = option(False, "go on from the last checkpoint in the output folder")


def check_arguments(args: PretrainArguments, region: Region) -> None:
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the texts to train on")
    if args.num_train_epochs is None and args.max_steps is None and region.published_epochs is None:
        raise InputError(f"region {region.code} has no published number of epochs: give --num_train_epochs")
    if args.streaming and not (args.tokenizer or args.init_from):
        raise InputError(
            "--streaming needs --tokenizer or --init_from: learn a vocabulary from a part of the corpus with "
            "training/train_tokenizer.py"
        )
    if args.streaming and not 1 <= args.streaming_lanes <= args.texts_per_step:
        raise InputError(f"--streaming_lanes {args.streaming_lanes} is not from 1 to --texts_per_step")
    for name in ("validation_fraction", "mlm_probability"):
        if not 0 < (value := getattr(args, name)) < 1:
            raise InputError(f"--{name} {value} is not between 0 and 1")
    if args.validation_fraction + args.test_fraction >= 1:
        raise InputError("--validation_fraction and --test_fraction leave nothing to train on")
    for name in ("test_fraction", "warmup_ratio", "adam_beta1", "adam_beta2"):
        if not 0 <= (value := getattr(args, name)) < 1:
            raise InputError(f"--{name} {value} is not from 0 to below 1")
    for name in ("weight_decay", "max_grad_norm", "max_bad_batches", "seed"):
        if not 0 <= (value := getattr(args, name)) < 2**32:
            raise InputError(f"--{name} {value} is not from 0 to below 2^32")
    at_least_one = ("texts_per_step", "tokens_per_micro_batch", "max_validation_texts", "logging_steps", "num_threads")
    for name in (*at_least_one, "max_steps", "vocab_size", "min_frequency", "keep_checkpoints"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise InputError(f"--{name} {value} is less than 1")
    for name in ("learning_rate", "eval_steps", "save_steps", "save_minutes", "num_train_epochs", "adam_epsilon"):
        if (value := getattr(args, name)) is not None and not 0 < value < math.inf:
            raise InputError(f"--{name} {value} is not above 0")
    choices = {"mixed_precision": ("auto", "no", "bf16", "fp16"), "lr_scheduler_type": SCHEDULES}
    for name, known in choices.items():
        if (value := getattr(args, name)) not in known:
            raise InputError(f"--{name} {value}: choose one of {', '.join(known)}")
    if args.max_length < 3:
        raise InputError(f"--max_length {args.max_length} leaves no room for a token between [START] and [END]")


def size_overrides(text: str) -> dict[str, int | float | str]:
    """What `--config_overrides` sets, each value as the kind of number that it looks like."""
    overrides = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or name not in SIZES:
            raise InputError(f"--config_overrides {pair!r}: not name=value, with a name of {', '.join(sorted(SIZES))}")
        overrides[name] = _plain_value(value)
    return overrides


def _plain_value(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
