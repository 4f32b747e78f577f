"""The folder of an unfinished preparation, beside its output: what the stages leave, and what it was begun with."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.common.errors import InputError, as_input_error
from training.common.files import read_json, write_json


@dataclass(frozen=True)
class WorkFolder:
    """Paths of a preparation; the output does not exist until it is whole.

    Attributes:
        output: where the corpus goes.
    """

    output: Path

    @property
    def path(self) -> Path:
        return self.output.with_name(f".{self.output.name}.preparing")

    @property
    def run(self) -> Path:
        """What the preparation was begun with."""
        return self.path / "run.json"

    @property
    def logs(self) -> Path:
        """Folder of each stage's logs, counts and finished tasks."""
        return self.path / "logs"

    @property
    def corpus(self) -> Path:
        """The corpus, until it is whole."""
        return self.path / "corpus"

    @property
    def clean(self) -> Path:
        return self.path / "clean"

    @property
    def exact_signatures(self) -> Path:
        return self.path / "exact_signatures"

    @property
    def exact(self) -> Path:
        return self.path / "exact"

    @property
    def signatures(self) -> Path:
        return self.path / "signatures"

    @property
    def pairs(self) -> Path:
        return self.path / "pairs"

    @property
    def near(self) -> Path:
        return self.path / "near"

    def remove_intermediate(self) -> None:
        """Remove what only the stages need."""
        for folder in (self.clean, self.exact_signatures, self.exact, self.signatures, self.pairs, self.near):
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder, once the corpus is in its place."""
        shutil.rmtree(self.path)


def open_folder(output: Path, identity: dict[str, Any], resume: bool, overwrite: bool) -> WorkFolder:
    """Make the folder of a preparation, or open the one to continue.

    Raises:
        InputError: if the output exists, a preparation is unfinished and no flag says what to do with it, or the one
            to continue was begun with something else.
    """
    if resume and overwrite:
        raise InputError("give --resume or --overwrite, not both")
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise InputError(f"{output} exists already: give another --output_dir")
    folder = WorkFolder(output.absolute())
    if folder.path.exists() and not (resume or overwrite):
        raise InputError(f"{output} is unfinished: continue with --resume, or start again with --overwrite")
    with as_input_error(OSError):
        if overwrite and folder.path.exists():
            shutil.rmtree(folder.path)
        folder.corpus.mkdir(parents=True, exist_ok=True)
        if not folder.run.exists():
            write_json(folder.run, identity)
    before = read_json(folder.run)
    for name, value in identity.items():
        if before.get(name) != value:
            raise InputError(
                f"{output}: cannot resume, {name} changed since it was begun: start again with --overwrite"
            )
    return folder


def dump_facts(files: Sequence[Path]) -> list[list[Any]]:
    """Return path, size and time of change of each dump: another dump cannot take its place in an unfinished run."""
    with as_input_error(OSError):
        return [[str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
