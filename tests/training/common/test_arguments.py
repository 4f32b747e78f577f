from dataclasses import dataclass, field

import pytest

from training.common.arguments import RECIPES, check_each, option, parse_arguments, read_recipe
from training.common.errors import InputError
from training.family.arguments import TrainFamilyArguments
from training.finetuning.arguments import FinetuneArguments
from training.pretraining.arguments import PretrainArguments

KNOWN = PretrainArguments.__dataclass_fields__


@dataclass
class Arguments:
    name: str = option("x", "a name")
    rate: float = option(1.0, "a rate")
    files: list[str] = field(default_factory=list)
    recipe: str = option("default", "a recipe")


def parse(*argv: str, recipe=None, tmp_path=None) -> Arguments:
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe or "")
    return parse_arguments(Arguments, "", ["--recipe", str(path), *argv])


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default(tmp_path):
    assert parse(tmp_path=tmp_path).rate == 1
    assert parse(recipe="rate: 1e-3", tmp_path=tmp_path).rate == 0.001, "YAML reads 1e-3 as text"
    assert parse("--rate", "5", recipe="rate: 2", tmp_path=tmp_path).rate == 5


@pytest.mark.parametrize("flag", ["--num_train_epochs=2", "--num-train-epochs=2"])
def test_a_flag_replaces_what_says_the_same_in_the_recipe_in_another_way(tmp_path, flag):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("region: mx\noutput_dir: out\nmax_steps: 500\n")
    whole = parse_arguments(PretrainArguments, "", ["--recipe", str(recipe)])
    assert (whole.num_train_epochs, whole.max_steps) == (None, 500)
    args = parse_arguments(PretrainArguments, "", ["--recipe", str(recipe), flag])
    assert (args.num_train_epochs, args.max_steps) == (2, None)
    args = parse_arguments(PretrainArguments, "", ["--region", "mx", "--output_dir", "x", "--max_steps", "7"])
    assert (args.num_train_epochs, args.max_steps) == (None, 7), "the default recipe has epochs"


def test_numbers_keep_their_rules():
    for rule, wrong in {"1 or more": 0, "between 0 and 1": 1, "from 0 to below 1": float("nan")}.items():
        with pytest.raises(InputError, match=f"--rate {wrong} is not {rule}"):
            check_each(Arguments(rate=wrong), rule, "rate")
        check_each(Arguments(rate=None), rule, "rate")
    for rule, right in {"1 or more": 1, "from 0 to below 1": 0, "0 or more": 0, "above 0 and at most 1": 1}.items():
        check_each(Arguments(rate=right), rule, "rate")


def test_lists_and_required_flags_may_stand_in_a_recipe(tmp_path):
    assert parse(recipe="files: a.txt", tmp_path=tmp_path).files == ["a.txt"]
    assert parse(recipe="files: [a.txt, b.txt]", tmp_path=tmp_path).files == ["a.txt", "b.txt"]
    recipe = tmp_path / "whole.yaml"
    recipe.write_text("region: mx\noutput_dir: out\ntrain_file: mx.jsonl\n")
    args = parse_arguments(PretrainArguments, "", ["--recipe", str(recipe), "--region", "ar"])
    assert (args.region, args.output_dir, args.train_file) == ("ar", "out", ["mx.jsonl"])


@pytest.mark.parametrize(
    ("argv", "recipe", "message"),
    [
        (["--raet", "5"], None, "unknown flag --raet: did you mean --rate"),
        (["--rat", "5"], None, "unknown flag --rat: did you mean --rate"),
        (["--rate", "fast"], None, "argument --rate: invalid float value: 'fast'"),
        ([], "raet: 5", r"recipe.yaml: unknown key raet: did you mean rate\?"),
        ([], "rate: fast", "argument --rate: invalid float value: 'fast'"),
        ([], "rate: [1, 2]", "rate holds a list, not a plain value"),
        ([], "rate:", "rate holds nothing, not a plain value"),
        ([], "- rate", "not a list of `key: value` lines"),
        ([], "rate: {", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, argv, recipe, message):
    with pytest.raises(InputError, match=message):
        parse(*argv, recipe=recipe, tmp_path=tmp_path)


def test_an_unknown_recipe_names_those_there_are():
    with pytest.raises(InputError, match="no such recipe .there are: default, .*published, quickstart."):
        read_recipe("defualt", KNOWN)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_parses(path):
    kind, needed = (PretrainArguments, ["--region", "mx"])
    if path.stem.startswith("finetune"):
        kind, needed = FinetuneArguments, ["--model", "x", "--task", "x"]
    if path.stem == "family":
        kind, needed = TrainFamilyArguments, ["--corpora", "x"]
    assert parse_arguments(kind, "", [*needed, "--output_dir", "x", "--recipe", path.stem]).recipe == path.stem


def test_the_published_recipe_is_the_published_one():
    argv = ["--region", "mx", "--output_dir", "x", "--recipe", "published"]
    args = parse_arguments(PretrainArguments, "", argv)
    assert (args.learning_rate, args.lr_scheduler_type, args.warmup_ratio) == (1e-5, "constant", 0)
    assert (args.max_length, args.weight_decay, args.mlm_probability) == (280, 0, 0.15)
    assert args.num_train_epochs is None, "the epochs are the region's"
    assert (args.attend_to_padding, args.tie_word_embeddings) == (True, False)


def test_the_default_recipe_is_the_default_of_every_flag():
    """So that a recipe which leaves a flag out gets the measured value."""
    flags = PretrainArguments(region="mx", output_dir="x")
    recipe = parse_arguments(PretrainArguments, "", ["--region", "mx", "--output_dir", "x"])
    for name in set(read_recipe("default", KNOWN)) - {"num_train_epochs"}:
        assert getattr(recipe, name) == getattr(flags, name), name
