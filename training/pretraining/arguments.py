"""The flags of `training/pretrain.py`, which are also the keys of its recipes."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from training.common.arguments import check_each, option
from training.common.errors import InputError
from training.engine.arguments import EngineArguments, check_engine_arguments
from training.texts.corpus import CorpusArguments
from training.texts.regions import Region

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
class PretrainArguments(EngineArguments, CorpusArguments):
    region: str = field(metadata={"help": "two-letter country code of the texts, such as mx, or all"})
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
    region_tokens: bool = option(
        False, "put the token of a file's region, by its name, in front of its texts, where the model has the region"
    )
    add_regions: list[str] = field(
        default_factory=list,
        metadata={"help": "give the model a part for each of these regions, started from its texts; --region_tokens"},
    )
    region_dropout: float = option(0.0, "share of the texts of a step whose region token is left out")
    train_only: Literal["all", "regional"] = option("all", "train all weights, or the regional parts alone")
    regional_learning_rate: float | None = option(None, "of the regional parts (default: as of the others)")
    vocab_size: int = option(29025, "most tokens of a learnt vocabulary")
    min_frequency: int = option(5, "pieces of a learnt vocabulary are met at least this often")
    init_from: str | None = option(None, "BILMA folder or Hub id to continue from, with its tokenizer")
    tie_word_embeddings: bool = option(True, "a new model predicts with its word vectors")
    attend_to_padding: bool = option(False, "a new model attends to its padding, as the published ones do")
    config_overrides: str = option("", "sizes of a new model, as name=value,name=value")
    word_vectors: str | None = option(
        None, "folder of train_word_vectors.py, with the same tokenizer: a new model begins with these word vectors"
    )
    output_bias: Literal["zeros", "frequencies"] = option(
        "zeros", "a new model's output bias begins at zero, or at the log of the tokens' shares of the training texts"
    )

    num_train_epochs: float | None = option(None, "passes over the texts (default: as published for the region)")
    max_steps: int | None = option(None, "stop after this many steps instead")
    ALTERNATIVES: ClassVar = ("num_train_epochs", "max_steps")
    mlm_probability: float = option(0.15, "share of the tokens to predict")
    mask_replace_prob: float = option(
        0.8, "share of those that become [MASK] in training; of the others one half becomes a random token"
    )
    texts_per_step: int = option(64, "texts of one optimizer step, over all processes")
    tokens_per_micro_batch: int = option(16384, "most tokens that go through the model at once in one process")
    seed: int = option(0, "of the weights, the order of texts, the masks and the dropout")

    logging_steps: int = option(10, "steps between points of the loss curve")
    eval_steps: float = option(0.1, "steps between evaluations; below 1, as a share of the run")
    save_steps: float = option(0.1, "steps between checkpoints; below 1, as a share of the run")
    save_minutes: float | None = option(None, "write a checkpoint also after this many minutes without one")
    keep_checkpoints: int = option(2, "checkpoints to keep; the older ones serve if the last is damaged")
    max_bad_batches: int = option(0, "leave out up to this many batches whose loss or gradient is not finite")
    estimate: bool = option(
        False, "say what the run will take, by measuring some steps; trains and writes nothing but the token cache"
    )
    resume: bool = option(False, "go on from the last checkpoint in the output folder")


def check_arguments(args: PretrainArguments, region: Region) -> None:
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
        raise InputError("--group_column needs all texts and groups before training: leave out --streaming")
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
    """Raise `InputError` for a start of new weights where none are made, or nothing to make it from."""
    if args.init_from and args.word_vectors:
        raise InputError("--word_vectors is for a new model: leave it out with --init_from")
    if args.output_bias == "frequencies":
        if args.init_from:
            raise InputError("--output_bias frequencies is for a new model: leave it out with --init_from")
        if args.streaming:
            raise InputError("--output_bias frequencies counts all tokens before training: leave out --streaming")
    if args.word_vectors and not args.tokenizer:
        raise InputError("--word_vectors needs --tokenizer: the one that they were made with")


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
