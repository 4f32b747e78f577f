"""The flags of `evaluate_family.py`, and what has to hold between them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option
from training.common.errors import InputError
from training.texts.corpus import FormatArguments


@dataclass(kw_only=True)
class FamilyArguments(FormatArguments):
    output_dir: str = field(metadata={"help": "folder for the results; others that lie there are kept"})
    models: list[str] = field(
        default_factory=list, metadata={"help": "folders of masked language models; with --per_word of any kind"}
    )
    corpora: list[str] = field(
        default_factory=list,
        metadata={"help": "files or folders of texts; a region's two letters are in each name, as in mx.jsonl.gz"},
    )
    emoji_models: list[str] = field(
        default_factory=list, metadata={"help": "folders of classifiers whose label names are emoji"}
    )
    emoji_files: list[str] = field(
        default_factory=list,
        metadata={
            "help": "labelled files with the columns text, label and region, and split if need be, for the Emoji-15 "
            "matrix (default: made from the test part of --corpora)"
        },
    )
    emoji_baselines: list[str] = field(
        default_factory=list,
        metadata={"help": "folders of baselines.py, one a method, to stand in the Emoji-15 matrix too"},
    )
    phrases: str | None = option(None, "file of phrases, one a line, with one [MASK] each (default: the published)")
    top_k: int = option(10, "completions of each phrase")
    top_words: int = option(20, "words of each region")
    own_region: bool = option(
        False,
        "the models of a region are ways to make one: ask each about its own region's texts only, and a model of no "
        "region about all, and compare those asked about one region in pairs",
    )
    per_word: bool = option(False, "score whole words, for models with different vocabularies")
    group_column: str | None = option(
        None, "column or field that names a text's group, such as its author, where pretrain.py split by it"
    )
    label_column: str = option("label", "column or field of --emoji_files that holds the labels")
    test_fraction: float = option(
        0.05,
        "share of the texts that is asked, by a hash of the text: what pretrain.py kept out with the same value; "
        "1 for corpora to test on as a whole",
    )
    max_test_texts: int = option(10000, "most texts asked of each region")
    max_baseline_texts: int = option(200000, "most texts of each region that the baselines learn from")
    max_length: int = option(128, "longer texts are cut, in tokens with the special ones")
    mlm_probability: float = option(0.15, "share of a text's tokens (or words) that is hidden, at least one")
    mask_draws: int = option(4, "times that each text is masked anew")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "of masks and bootstrap")
    tokens_per_batch: int = option(4096, "bound on what goes through a model at once; changes no result")
    num_threads: int | None = option(None, "CPU threads (default: what torch chooses)")
    overwrite: bool = option(False, "replace results of the same kind that the output folder holds")
    redraw: bool = option(False, "only make pictures and report again from the JSON files of the output folder")


def check_arguments(args: FamilyArguments) -> None:
    """Raise `InputError` for values that cannot be, and flags that do not go together."""
    if not args.redraw:
        if not (args.models or args.emoji_models):
            raise InputError("give --models, --emoji_models or both (or --redraw)")
        if args.models and not args.corpora:
            raise InputError("--models needs --corpora: the texts to ask about")
        if args.emoji_models and not (args.corpora or args.emoji_files):
            raise InputError("--emoji_models needs --emoji_files or --corpora: the texts to ask about")
        if args.own_region and args.per_word:
            raise InputError("--own_region compares models of one vocabulary: leave --per_word out")
    check_each(args, "above 0 and at most 1", "test_fraction", "mlm_probability")
    check_each(args, "1 or more", "top_k", "top_words", "max_test_texts", "max_baseline_texts", "mask_draws")
    check_each(args, "1 or more", "tokens_per_batch", "num_threads")
    check_each(args, "from 0 to below 2^32", "seed")
    if args.resamples < 100:
        raise InputError(f"--resamples {args.resamples}: the ends of a 95 % interval need 100 or more")
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")


def settings(args: FamilyArguments) -> dict[str, Any]:
    """The flags that decide the numbers, without paths of this machine."""
    names = "test_fraction max_test_texts max_baseline_texts max_length mlm_probability mask_draws resamples seed"
    shown = {name: getattr(args, name) for name in (*names.split(), "group_column", "top_k", "top_words")}
    return shown | {"phrases": Path(args.phrases).name if args.phrases else "published"}
