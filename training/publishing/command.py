"""The command in a card: what was trained, with every flag that differs from its recipe."""

import shlex
from dataclasses import MISSING, fields
from typing import Any

from training.common.arguments import RECIPES, parse_arguments, public_arguments
from training.finetuning.arguments import FinetuneArguments
from training.pretraining.arguments import OPERATIONAL, PretrainArguments

PLACEHOLDERS = {"train_file": "TEXTS", "output_dir": "MODEL"}  # a corpus and a folder are the reader's own


def training_command(training_args: dict[str, Any]) -> str:
    """Return the command that trains such a model; of local files and folders it has the names alone.

    Raises:
        KeyError: if `training_args` lacks a flag that its script needs.
    """
    kind = FinetuneArguments if "task" in training_args else PretrainArguments
    required = [flag.name for flag in fields(kind) if flag.default is flag.default_factory is MISSING]
    given = {name: training_args[name] for name in required if name not in PLACEHOLDERS}
    default = next(str(flag.default) for flag in fields(kind) if flag.name == "recipe")
    recipe = training_args.get("recipe", default)
    if not (RECIPES / f"{recipe}.yaml").is_file():  # a file of the user's: its values become flags
        recipe = default
    words = [*words_of(given), "--recipe", recipe]
    unchanged = public_arguments(parse_arguments(kind, "", [*words, "--output_dir", PLACEHOLDERS["output_dir"]]))
    if recipe != default:
        given["recipe"] = recipe
    changed = {
        name: training_args[name]
        for name in unchanged
        if name in training_args and training_args[name] != unchanged[name]
    }
    left_out = {"recipe", *given, *PLACEHOLDERS, *OPERATIONAL}
    flags = given | {name: value for name, value in changed.items() if name not in left_out}
    texts = {} if training_args.get("dataset_name") else {"train_file": PLACEHOLDERS["train_file"]}
    script = "finetune.py" if kind is FinetuneArguments else "pretrain.py"
    words = words_of(flags | texts | {"output_dir": PLACEHOLDERS["output_dir"]})
    return f"accelerate launch training/{script} {shlex.join(words)}"


def words_of(flags: dict[str, Any]) -> list[str]:
    """Return flags as words of a command; what is None or empty cannot be given."""
    words = []
    for name, value in flags.items():
        if value is not None and value not in ("", []):
            values = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name}", *map(str, values)]
    return words
