"""A stage of the family: its command, what identifies its result, and its record."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error
from training.common.files import file_sha256, write_json
from training.evaluation.arguments import ClassifierComparisonArguments, EvaluateArguments, RegionalTestsArguments
from training.evaluation.arguments import check_arguments as check_evaluation
from training.finetuning.arguments import FinetuneArguments
from training.finetuning.arguments import check_arguments as check_finetune
from training.finetuning.baselines import METHODS, BaselineArguments
from training.finetuning.baselines import check_arguments as check_baselines
from training.pretraining.arguments import OPERATIONAL, PretrainArguments
from training.pretraining.arguments import check_arguments as check_pretrain
from training.texts.regions import get_region
from training.texts.vocabulary import TokenizerArguments
from training.texts.word_vectors import WordVectorArguments
from training.texts.word_vectors import check_arguments as check_word_vectors

RECORDS = "stages"
# Flags that do not affect the result, so a stage may continue with other values.
FREE = (*OPERATIONAL, "recipe", "tokens_per_batch")


@dataclass(frozen=True)
class Script:
    """How a script is called.

    Args:
        proof: the file in the output folder that is written last, and so proves that the script has finished.
        again: the flag that continues or repeats an interrupted command.
    """

    arguments: type[Any]
    check: Callable[[Any], None]
    proof: str
    again: str = "--overwrite"


SCRIPTS = {
    "train_tokenizer.py": Script(TokenizerArguments, lambda args: None, "tokenizer.json"),
    "train_word_vectors.py": Script(WordVectorArguments, check_word_vectors, "word_vectors.json"),
    "pretrain.py": Script(
        PretrainArguments, lambda args: check_pretrain(args, get_region(args.region)), "config.json", "--resume"
    ),
    "finetune.py": Script(FinetuneArguments, check_finetune, "config.json"),
    "baselines.py": Script(BaselineArguments, check_baselines, f"{METHODS[-1]}/metrics.json"),
    "evaluate_family.py": Script(EvaluateArguments, check_evaluation, "mlm_matrix.json"),
    "regional_tests.py": Script(RegionalTestsArguments, lambda args: None, "regional_tests.json"),
    "compare_classifiers.py": Script(ClassifierComparisonArguments, lambda args: None, "classifiers.json"),
}


@dataclass(frozen=True)
class Stage:
    """One call of a script.

    Args:
        inputs: files and folders to read, by flag.
        settings: all other flags except `--output_dir`.
    """

    script: str
    output_dir: Path
    inputs: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.output_dir.name

    @property
    def proof(self) -> Path:
        """The file that exists only if the result is complete."""
        return self.output_dir / SCRIPTS[self.script].proof

    def flags(self) -> list[str]:
        words = []
        for flag, values in [*self.inputs.items(), *self.settings.items(), ("output_dir", self.output_dir)]:
            words += [f"--{flag}", *map(str, values if isinstance(values, list | tuple) else [values])]
        return words

    def command(self, num_threads: int | None = None) -> list[str]:
        """Return the command that starts the stage, or continues it after an interruption."""
        script, known = os.path.relpath(Path(__file__).parents[1] / self.script), SCRIPTS[self.script]
        takes_threads = any(argument.name == "num_threads" for argument in fields(known.arguments))
        threads = ["--num_threads", str(num_threads)] if num_threads and takes_threads else []
        return [sys.executable, script, *self.flags(), *threads, known.again]

    def resolved(self) -> dict[str, Any]:
        """Return all values that affect the result, also those from the recipe, except for paths.

        Raises:
            InputError: for a recipe or a value that the script rejects.
        """
        script = SCRIPTS[self.script]
        args = parse_arguments(script.arguments, "", self.flags())
        script.check(args)
        return {
            name: value
            for name, value in public_arguments(args).items()
            if name not in FREE and name not in self.inputs
        }

    def identity(self) -> dict[str, Any]:
        """Return everything that the result depends on: the flags and the contents of the inputs."""
        home = self.output_dir.parent
        inputs = {
            f"{flag} {path.relative_to(home) if path.is_relative_to(home) else path.name}": digest(path)
            for flag, paths in self.inputs.items()
            for path in paths
        }
        return {"script": self.script} | self.resolved() | inputs

    @property
    def record_file(self) -> Path:
        return self.output_dir.parent / RECORDS / f"{self.name}.json"

    def record(self) -> dict[str, Any] | None:
        if not self.record_file.is_file():
            return None
        with as_input_error(OSError, ValueError):
            return json.loads(self.record_file.read_text(encoding="utf-8"))

    def write_record(self, command: str, identity: dict[str, Any], seconds: float, finished: bool) -> None:
        record = {"command": command, "identity": identity, "seconds": round(seconds, 1), "finished": finished}
        self.record_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.record_file, record)

    def is_finished(self) -> bool:
        record = self.record()
        return bool(record and record["finished"] and self.proof.is_file())

    def check_unchanged(self, identity: dict[str, Any]) -> None:
        """Check that an earlier run of this stage had the same flags and inputs.

        Raises:
            InputError: if they differ (naming the first difference), or if the folder is not from a stage.
        """
        if not (self.output_dir.exists() and any(self.output_dir.iterdir())):
            return
        if (record := self.record()) is None:
            raise InputError(
                f"{self.output_dir} was not written by this script: move it away, or give another --output_dir"
            )
        if change := first_difference(record["identity"], identity, self.inputs):
            raise InputError(
                f"{self.output_dir} was made with other flags or inputs: {change}: give another --output_dir, or "
                "remove that folder to make it again"
            )


def first_difference(before: dict[str, Any], now: dict[str, Any], inputs: Collection[str]) -> str | None:
    """Describe the first changed flag or input; None if nothing has changed."""
    for key in before | now:
        old, new = before.get(key), now.get(key)
        if old != new:
            flag, _, name = key.partition(" ")
            if flag not in inputs:
                return f"{key} was {old} and is now {new}"
            return f"{name} {'is new' if old is None else 'is gone' if new is None else 'has changed'}"
    return None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file or, for a folder, of its weights and tokenizer, or else of its JSON files."""
    if path.is_dir():
        inside = sorted([*path.glob("*.safetensors"), *path.glob("tokenizer.json")]) or sorted(path.rglob("*.json*"))
        return hashlib.sha256("".join(map(digest, inside)).encode()).hexdigest()
    with as_input_error(OSError):
        return file_sha256(path)
