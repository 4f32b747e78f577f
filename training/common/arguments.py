"""Flags and recipes: a YAML recipe overrides the defaults of a dataclass of arguments, and a flag the recipe."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import yaml
from transformers import HfArgumentParser

from training.common.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

RECIPES = Path(__file__).parents[1] / "recipes"


Arguments = TypeVar("Arguments", bound="DataclassInstance")


def option(default: Any, help: str) -> Any:
    """Make a dataclass field that is a flag with a help line."""
    return dataclasses.field(default=default, metadata={"help": help})


ROOM_FOR_A_TOKEN = "3 or more (a token between two special ones)"
RULES: dict[str, Callable[[float], bool]] = {
    "above 0": lambda value: 0 < value < math.inf,
    "0 or more": lambda value: 0 <= value < math.inf,
    "1 or more": lambda value: 1 <= value < math.inf,
    ROOM_FOR_A_TOKEN: lambda value: value >= 3,
    "between 0 and 1": lambda value: 0 < value < 1,
    "from 0 to below 1": lambda value: 0 <= value < 1,
    "above 0 and at most 1": lambda value: 0 < value <= 1,
    "from 0 to below 2^32": lambda value: 0 <= value < 2**32,
}


def check_each(args: Any, rule: str, *names: str) -> None:
    """Check arguments by a rule of `RULES`; None keeps every rule.

    Raises:
        InputError: for the first argument that breaks it.
    """
    for name in names:
        if (value := getattr(args, name)) is not None and not RULES[rule](value):
            raise InputError(f"--{name} {value} is not {rule}")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to a help line that does not state one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if "(default:" in (action.help or "") else super()._get_help_string(action)


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (--help lists the flags)")


def parse_arguments(kind: type[Arguments], description: str, argv: Sequence[str] | None = None) -> Arguments:
    """Read the command line into the dataclass `kind`; if it has a field `recipe`, flags override that recipe.

    `kind.ALTERNATIVES`, if any, names mutually exclusive flags: giving one discards the recipe's other choice.

    Raises:
        InputError: for an unknown flag or recipe key, a missing flag, or a value of the wrong type.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser(
        kind,  # type: ignore[arg-type]  # typed as a NewType of transformers' own
        description=description,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    fields = {field.name: field for field in dataclasses.fields(kind)}
    names = list(fields)
    if "recipe" in names:
        recipe = read_recipe(_recipe_named(argv) or str(fields["recipe"].default), fields)
        recipe = _without_replaced(recipe, argv, getattr(kind, "ALTERNATIVES", ()))
        parser.set_defaults(**recipe)
        for action in parser._actions:  # argparse asks for a required flag although it has a default
            action.required = action.required and action.dest not in recipe
    arguments, unknown = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
    if unknown:
        raise InputError(f"unknown flag {unknown[0]}{_did_you_mean(unknown[0].lstrip('-'), names, '--')}")
    return arguments


def _recipe_named(argv: Sequence[str]) -> str | None:
    """Return the value of `--recipe`, which is needed before the flags that it gives defaults to are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe")
    try:
        return parser.parse_known_args(argv)[0].recipe
    except argparse.ArgumentError as error:
        raise InputError(str(error)) from error


def _without_replaced(recipe: dict[str, Any], argv: Sequence[str], alternatives: Sequence[str]) -> dict[str, Any]:
    """Return the recipe without the alternatives to a flag that is given."""
    flags = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in argv if word.startswith("--")}
    if flags.isdisjoint(alternatives):
        return recipe
    return {key: value for key, value in recipe.items() if key not in alternatives}


def read_recipe(name_or_path: str, fields: Mapping[str, dataclasses.Field]) -> dict[str, Any]:
    """Read the settings of a recipe: one of `training/recipes` by name, or a YAML file by path.

    Raises:
        InputError: if there is none, it is not a YAML mapping, it has an unknown key, or a key lacks its value.
    """
    path = RECIPES / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise InputError(f"recipe {name_or_path}: no such recipe (there are: {there}) and no such file")
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(settings, dict):
        raise InputError(f"recipe {path}: not a list of `key: value` lines")
    for key in settings:
        if key not in fields:
            raise InputError(f"recipe {path}: unknown key {key}{_did_you_mean(str(key), list(fields))}")
    return {key: _setting(value, fields[key], f"recipe {path}: {key}") for key, value in settings.items()}


def _setting(value: Any, field: dataclasses.Field, where: str) -> Any:
    """Return a recipe's value as text, or a list of texts, so that the parser checks it as it checks a flag's."""
    takes_list = field.type in (list[str], list[int])
    if value is None or isinstance(value, dict) or (isinstance(value, list) and not takes_list):
        raise InputError(
            f"{where} holds {'nothing' if value is None else f'a {type(value).__name__}'}, not a plain value"
        )
    if takes_list:
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    return str(value)


def public_arguments(args: Any) -> dict[str, Any]:
    """Return the arguments that a published folder may show: of local paths only the last part."""
    shown = dataclasses.asdict(args)
    for name, value in shown.items():
        if name.endswith("_file") and isinstance(value, list):
            shown[name] = [Path(path).name for path in value]
        elif isinstance(value, str) and name not in ("dataset_name", "config_overrides") and Path(value).exists():
            shown[name] = Path(value).name
    for name in ("output_dir", "cache_dir", "estimate", "overwrite", "resume"):
        shown.pop(name, None)
    return shown


def _did_you_mean(word: str, known: Sequence[str], prefix: str = "") -> str:
    close = get_close_matches(word.split("=")[0], known, n=1)
    return f": did you mean {prefix}{close[0]}?" if close else ""
