"""The flags of `evaluate_family.py`, and the rules between them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option
from training.common.errors import InputError
from training.texts.corpus import FormatArguments


@dataclass(kw_only=True)
class RegionalTestsArguments:
    models: list[str] = field(metadata={"help": "folders of masked language models"})
    output_dir: str = field(metadata={"help": "folder for the results; results of other kinds in it are kept"})
    tests: str = option("regional_tests", "folder of the tests, with data/*.jsonl")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of the bootstrap")
    tokens_per_batch: int = option(4096, "most tokens that go through a model at once; changes no result")
    num_threads: int | None = option(None, "CPU threads (default: what torch chooses)")
    overwrite: bool = option(False, "replace regional_tests.json if the output folder holds it")


@dataclass(kw_only=True)
class ClassifierComparisonArguments:
    classifiers: list[str] = field(metadata={"help": "folders of finetune.py"})
    baselines: list[str] = field(metadata={"help": "folders of baselines.py, of the same texts"})
    output_dir: str = field(metadata={"help": "folder for the results; results of other kinds in it are kept"})
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of the bootstrap")
    overwrite: bool = option(False, "replace classifiers.json if the output folder holds it")


@dataclass(kw_only=True)
class EvaluateArguments(FormatArguments):
    output_dir: str = field(metadata={"help": "folder for the results; results of other kinds in it are kept"})
    models: list[str] = field(
        default_factory=list, metadata={"help": "folders of masked language models; with --per_word of any family"}
    )
    corpora: list[str] = field(
        default_factory=list,
        metadata={"help": "files or folders of texts; each name holds a region's two letters, as in mx.jsonl.gz"},
    )
    baseline_files: list[str] = field(
        default_factory=list,
        metadata={
            "help": "all files that the models learnt from: adds n-gram baselines trained on all of them to those "
            "trained on one region"
        },
    )
    emoji_models: list[str] = field(
        default_factory=list, metadata={"help": "folders of classifiers whose label names are emoji"}
    )
    emoji_files: list[str] = field(
        default_factory=list,
        metadata={
            "help": "labelled files with the columns text, label, region and optionally split, for the Emoji-15 "
            "matrix (default: made from the test part of --corpora)"
        },
    )
    emoji_baselines: list[str] = field(
        default_factory=list,
        metadata={"help": "folders of baselines.py, one a method, to show in the Emoji-15 matrix"},
    )
    phrases: str | None = option(None, "file of phrases, one a line, with one [MASK] each (default: the published)")
    top_k: int = option(10, "completions of each phrase")
    top_words: int = option(20, "words of each region")
    per_word: bool = option(False, "score whole words, for models with different vocabularies")
    group_column: str | None = option(
        None,
        "column or field that names a text's author: authors decide the split, as in pretrain.py, and intervals draw "
        "whole authors instead of texts",
    )
    label_column: str = option("label", "column or field of --emoji_files that holds the labels")
    test_fraction: float = option(
        0.05,
        "share of the texts in the test part: what pretrain.py held out with the same value; 1 for corpora that are "
        "test sets as a whole",
    )
    max_test_texts: int = option(10000, "most test texts of each region")
    max_baseline_texts: int = option(200000, "most texts of each region that the baselines learn from")
    max_length: int = option(128, "longer texts are cut, in tokens with the special ones")
    mlm_probability: float = option(0.15, "share of a text's tokens (or words) that is masked, at least one")
    mask_draws: int = option(4, "times that each text is masked")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of masks and bootstrap")
    tokens_per_batch: int = option(4096, "most tokens that go through a model at once; changes no result")
    num_threads: int | None = option(None, "CPU threads (default: what torch chooses)")
    overwrite: bool = option(False, "replace results of the same kind that the output folder holds")
    redraw: bool = option(False, "only draw figures and report again from the JSON files of the output folder")


def check_arguments(args: EvaluateArguments) -> None:
    """Check the values of the flags.

    Raises:
        InputError: for a value out of range, and for flags that do not go together.
    """
    if not args.redraw:
        if not (args.models or args.emoji_models):
            raise InputError("give --models, --emoji_models or both (or --redraw)")
        if args.models and not args.corpora:
            raise InputError("--models needs --corpora: the texts to test on")
        if args.emoji_models and not (args.corpora or args.emoji_files):
            raise InputError("--emoji_models needs --emoji_files or --corpora: the texts to test on")
        if args.baseline_files and (args.per_word or not args.models):
            raise InputError("--baseline_files goes with --models of one vocabulary: leave it or --per_word out")
    check_each(args, "above 0 and at most 1", "test_fraction", "mlm_probability")
    check_each(args, "1 or more", "top_k", "top_words", "max_test_texts", "max_baseline_texts", "mask_draws")
    check_each(args, "1 or more", "tokens_per_batch", "num_threads")
    check_each(args, "from 0 to below 2^32", "seed")
    check_resamples(args.resamples)
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")


def check_resamples(resamples: int) -> None:
    """Raise `InputError` for too few bootstrap samples."""
    if resamples < 100:
        raise InputError(f"--resamples {resamples}: the ends of a 95 % interval need 100 or more")


def settings(args: EvaluateArguments) -> dict[str, Any]:
    """The flags that decide the numbers; of paths, the file names alone."""
    names = "test_fraction max_test_texts max_baseline_texts max_length mlm_probability mask_draws resamples seed"
    shown = {name: getattr(args, name) for name in (*names.split(), "group_column", "top_k", "top_words")}
    return shown | {
        "phrases": Path(args.phrases).name if args.phrases else "published",
        "baseline_files": [Path(path).name for path in args.baseline_files],
    }
