"""The flags of `training/pretrain.py`, which are also the keys of its recipes."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from training.common.arguments import check_each, option
from training.common.errors import InputError
from training.engine.arguments import EngineArguments, check_engine_arguments
from training.texts.corpus import CorpusArguments
from training.texts.regions import Region

# Flags that do not change the result of a run, and may change when it is resumed.
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
SIZES = (  # keys of the configuration that --config_overrides may set
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
class PretrainArguments(EngineArguments, CorpusArguments):
    """Flags of pretraining."""

    region: str = field(metadata={"help": "two-letter country code of the texts, such as mx, or all"})
    recipe: str = option("default", "name of a recipe in training/recipes, or path of a YAML file")

    validation_file: list[str] = field(
        default_factory=list,
        metadata={"help": "files of validation texts, like --train_file (default: a share of the training texts)"},
    )
    validation_fraction: float = option(0.05, "share of the texts to validate on, chosen by the hash of each text")
    max_validation_texts: int = option(10_000, "validate on at most this many texts")
    streaming: bool = option(
        False,
        "read and tokenise texts during training, for corpora too large to tokenise beforehand; Parquet files only",
    )
    streaming_lanes: int = option(
        8,
        "positions in the corpus from which each step reads when streaming; best a multiple of the number of machines",
    )
    cache_dir: str | None = option(None, "folder for tokenised corpora (default: bilma/ in the Hugging Face home)")

    tokenizer: str | None = option(
        None, "tokenizer folder, Hub id or vocabulary file (default: learn one from the training texts)"
    )
    region_tokens: bool = option(
        False, "start each text with the token of its region, taken from the file name, if the model has that region"
    )
    add_regions: list[str] = field(
        default_factory=list,
        metadata={"help": "add a part for each of these regions, initialised from its texts; needs --region_tokens"},
    )
    region_dropout: float = option(0.0, "share of the texts in each step that lose their region token")
    train_only: Literal["all", "regional"] = option("all", "train all weights, or only the regional parts")
    regional_learning_rate: float | None = option(
        None, "learning rate of the regional parts (default: --learning_rate)"
    )
    vocab_size: int = option(29025, "maximum size of a learned vocabulary")
    min_frequency: int = option(5, "minimum frequency of a pair of pieces to be merged into a token")
    init_from: str | None = option(None, "BILMA folder or Hub id to continue training, with its tokenizer")
    tie_word_embeddings: bool = option(True, "use the word vectors of a new model as its output weights")
    attend_to_padding: bool = option(False, "let a new model attend to padding, as the published ones do")
    config_overrides: str = option("", "sizes of a new model: name=value,name=value")
    word_vectors: str | None = option(
        None,
        "folder of train_word_vectors.py, made with the same tokenizer: initial word vectors of a new model",
    )
    output_bias: Literal["zeros", "frequencies"] = option(
        "zeros", "initial output bias of a new model: zeros, or each token's log frequency in the training texts"
    )

    num_train_epochs: float | None = option(
        None, "passes over the texts (default: 3; with a recipe that sets none, as published for the region)"
    )
    max_steps: int | None = option(None, "stop after this many steps instead")
    ALTERNATIVES: ClassVar = ("num_train_epochs", "max_steps")
    mlm_probability: float = option(0.15, "share of the tokens to predict")
    mask_replace_prob: float = option(
        0.8, "share of the tokens to predict that become [MASK] in training; half of the rest become random tokens"
    )
    texts_per_step: int = option(64, "texts of one optimizer step, over all processes")
    tokens_per_micro_batch: int = option(16384, "maximum tokens in one forward pass of a process")
    seed: int = option(0, "random seed for weights, order of texts, masks and dropout")

    logging_steps: int = option(10, "steps between points of the loss curve")
    eval_steps: float = option(0.1, "steps between evaluations; below 1, a share of the run")
    save_steps: float = option(0.1, "steps between checkpoints; below 1, a share of the run")
    save_minutes: float | None = option(None, "also write a checkpoint if the last one is this many minutes old")
    keep_checkpoints: int = option(2, "checkpoints to keep; an older one is used if the latest is damaged")
    max_bad_batches: int = option(0, "skip up to this many steps whose loss or gradient is not finite")
    estimate: bool = option(
        False, "measure some steps and print how long the run will take; only the token cache is written"
    )
    resume: bool = option(False, "continue from the last checkpoint in the output folder")


def check_arguments(args: PretrainArguments, region: Region) -> None:
    """Check the flags of a run.

    Raises:
        InputError: for the first value that is out of range, or for flags that contradict each other.
    """
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the texts to train on")
    if args.num_train_epochs is not None and args.max_steps is not None:
        raise InputError("give --num_train_epochs or --max_steps, not both: how long the run is")
    if args.num_train_epochs is None and args.max_steps is None and region.published_epochs is None:
        raise InputError(f"region {region.code} has no published number of epochs: give --num_train_epochs")
    if args.region_tokens and (args.streaming or args.dataset_name):
        raise InputError(
            "--region_tokens takes a text's region from the name of its file: give --train_file, unstreamed"
        )
    if args.streaming and args.group_column:
        raise InputError("--group_column needs all texts and groups before training: omit --streaming")
    if (args.add_regions or args.region_dropout or args.train_only == "regional") and not args.region_tokens:
        raise InputError("--add_regions, --region_dropout and --train_only regional need --region_tokens")
    if args.streaming and not (args.tokenizer or args.init_from):
        raise InputError(
            "--streaming needs --tokenizer or --init_from: learn a vocabulary from a part of the corpus with "
            "training/train_tokenizer.py"
        )
    if args.streaming and not 1 <= args.streaming_lanes <= args.texts_per_step:
        raise InputError(f"--streaming_lanes {args.streaming_lanes} is not from 1 to --texts_per_step")
    check_start(args)
    check_engine_arguments(args)
    check_each(args, "between 0 and 1", "validation_fraction", "mlm_probability")
    check_each(args, "from 0 to below 1", "test_fraction", "region_dropout")
    check_each(args, "above 0 and at most 1", "mask_replace_prob")
    if args.validation_fraction + args.test_fraction >= 1:
        raise InputError("--validation_fraction and --test_fraction leave nothing to train on")
    check_each(args, "from 0 to below 2^32", "seed", "max_bad_batches")
    check_each(args, "1 or more", "texts_per_step", "tokens_per_micro_batch", "max_validation_texts", "max_steps")
    check_each(args, "1 or more", "vocab_size", "min_frequency", "logging_steps", "keep_checkpoints")
    check_each(args, "above 0", "num_train_epochs", "eval_steps", "save_steps", "save_minutes")
    check_each(args, "above 0", "regional_learning_rate")


def check_start(args: PretrainArguments) -> None:
    """Check the flags that initialise a new model.

    Raises:
        InputError: if the model is not new, or if the flag that its initial weights need is missing.
    """
    if args.init_from and args.word_vectors:
        raise InputError("--word_vectors is for a new model: omit it with --init_from")
    if args.output_bias == "frequencies":
        if args.init_from:
            raise InputError("--output_bias frequencies is for a new model: omit it with --init_from")
        if args.streaming:
            raise InputError("--output_bias frequencies counts all tokens before training: omit --streaming")
    if args.word_vectors and not args.tokenizer:
        raise InputError("--word_vectors needs --tokenizer: give the one that they were made with")


def size_overrides(text: str) -> dict[str, int | float | str]:
    """Parse --config_overrides: integers and decimals become numbers, the rest stays text.

    Raises:
        InputError: if a part is not name=value, or the name is unknown.
    """
    overrides: dict[str, int | float | str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or name not in SIZES:
            raise InputError(f"--config_overrides {pair!r}: not name=value, with a name of {', '.join(sorted(SIZES))}")
        overrides[name] = _plain_value(value)
    return overrides


def _plain_value(text: str) -> int | float | str:
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return text
