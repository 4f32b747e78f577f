"""The stages of a family: each is a script of this folder with its flags, and a record of what it was begun with."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error
from training.common.files import write_text
from training.evaluation import arguments as evaluation_arguments
from training.evaluation.arguments import EvaluateArguments
from training.finetuning.arguments import FinetuneArguments
from training.finetuning.arguments import check_arguments as check_finetune
from training.finetuning.baselines import METHODS, BaselineArguments
from training.finetuning.baselines import check_arguments as check_baselines
from training.pretraining.arguments import OPERATIONAL, PretrainArguments
from training.pretraining.arguments import check_arguments as check_pretrain
from training.texts.regions import get_region
from training.texts.vocabulary import TokenizerArguments

RECORDS = "stages"
# Flags that a stage may be given anew without becoming another one: they change no result.
FREE = (*OPERATIONAL, "recipe", "tokens_per_batch")


@dataclass(frozen=True)
class Script:
    """How a script of this folder reads its flags, and the flag with which the same command can be given again.

    `proof` is the file of the output folder without which the result is not there.
    """

    arguments: type[Any]
    check: Callable[[Any], None]
    proof: str
    again: str


SCRIPTS = {
    "train_tokenizer.py": Script(TokenizerArguments, lambda args: None, "tokenizer.json", "--overwrite"),
    "pretrain.py": Script(
        PretrainArguments, lambda args: check_pretrain(args, get_region(args.region)), "config.json", "--resume"
    ),
    "finetune.py": Script(FinetuneArguments, check_finetune, "config.json", "--overwrite"),
    "baselines.py": Script(BaselineArguments, check_baselines, f"{METHODS[-1]}/metrics.json", "--overwrite"),
    "evaluate_family.py": Script(
        EvaluateArguments, evaluation_arguments.check_arguments, "mlm_matrix.json", "--overwrite"
    ),
}


@dataclass(frozen=True)
class Stage:
    """One command.

    Args:
        inputs: files and folders that it reads, by flag.
        texts: how many it reads in training.
        after: the folder of a stage that comes first, though it reads nothing of it; None if any may.
    """

    script: str
    output_dir: Path
    inputs: dict[str, Sequence[Path]]
    settings: dict[str, Any]
    texts: float = 0
    after: Path | None = None

    @property
    def name(self) -> str:
        """That of its folder; both comparisons write into one, so what they are about is added."""
        return f"{self.output_dir.name}-emoji" if "emoji_models" in self.inputs else self.output_dir.name

    @property
    def proof(self) -> Path:
        """The file without which the result is not there; the comparisons write several kinds."""
        if "emoji_models" in self.inputs:
            return self.output_dir / "emoji15_matrix.json"
        if self.settings.get("own_region"):
            return self.output_dir / f"{WAYS}.json"
        return self.output_dir / SCRIPTS[self.script].proof

    def waits_for(self, others: Collection["Stage"]) -> bool:
        """Whether an output of the others, or something in it, is among the inputs, or one of them comes first."""
        made = {stage.output_dir for stage in others}
        return self.after in made or any(
            not made.isdisjoint((path, *path.parents)) for paths in self.inputs.values() for path in paths
        )

    def flags(self) -> list[str]:
        words = []
        for flag, values in [*self.inputs.items(), *self.settings.items(), ("output_dir", self.output_dir)]:
            listed = values if isinstance(values, list | tuple) else [values]
            words += [f"--{flag}", *map(str, listed)]
        return words

    def command(self, num_threads: int) -> list[str]:
        """What runs it, from the beginning or from where it was broken off, with so many threads if it takes them."""
        script, known = os.path.relpath(Path(__file__).parents[1] / self.script), SCRIPTS[self.script]
        takes_threads = any(field.name == "num_threads" for field in fields(known.arguments))
        threads = ["--num_threads", str(num_threads)] if takes_threads else []
        return [sys.executable, script, *self.flags(), *threads, known.again]

    def resolved(self) -> dict[str, Any]:
        """All flags of the script as this stage and the recipe that it names set them, paths and `FREE` ones left out.

        Raises:
            InputError: for a recipe or a value that the script would refuse.
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
        """What has to be the same for its result to be taken: the flags, and what the inputs hold."""
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

    @property
    def log_file(self) -> Path:
        """What the script says where several run at a time."""
        return self.record_file.with_suffix(".log")

    def record(self) -> dict[str, Any] | None:
        if not self.record_file.is_file():
            return None
        with as_input_error(OSError, ValueError):
            return json.loads(self.record_file.read_text(encoding="utf-8"))

    def write_record(
        self, number: int, command: str, identity: dict[str, Any], seconds: float, finished: bool
    ) -> None:
        record = {
            "number": number,
            "command": command,
            "identity": identity,
            "seconds": round(seconds, 1),
            "finished": finished,
        }
        write_text(self.record_file, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def has_begun(self) -> bool:
        """Whether there is something of it, or of the user's in its place."""
        if self.script == "evaluate_family.py":
            return self.proof.exists()
        return self.output_dir.exists() and any(self.output_dir.iterdir())

    def is_finished(self) -> bool:
        """Whether its result is there and whole; of what, `check_unchanged` says."""
        record = self.record()
        return bool(record and record["finished"] and self.proof.is_file())

    def check_unchanged(self, identity: dict[str, Any]) -> None:
        """What is there was begun with these very flags and inputs.

        Raises:
            InputError: else, with the first difference.
        """
        if not self.has_begun():
            return
        if (record := self.record()) is None:
            raise InputError(f"{self.output_dir} was not made here: move it away, or give another --output_dir")
        if change := first_difference(record["identity"], identity, self.inputs):
            raise InputError(
                f"{self.output_dir} was made from something else: {change}: give another --output_dir, or remove that "
                "folder to have it made anew"
            )


def first_difference(before: dict[str, Any], now: dict[str, Any], inputs: Collection[str]) -> str | None:
    for key in before | now:
        was, is_now = before.get(key), now.get(key)
        if was != is_now:
            flag, _, name = key.partition(" ")
            if flag not in inputs:
                return f"{key} was {was} and is now {is_now}"
            return f"{name} {'is new' if was is None else 'is gone' if is_now is None else 'has changed'}"
    return None


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, over the weights and the tokenizer that it holds, or else its metrics.json."""
    if path.is_dir():
        inside = sorted([*path.glob("*.safetensors"), *path.glob("tokenizer.json")]) or [path / "metrics.json"]
        return hashlib.sha256("".join(map(digest, inside)).encode()).hexdigest()
    with as_input_error(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
