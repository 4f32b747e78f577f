"""The tree of a repository: exactly the files to push, collected from a trained folder and the family's results."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from modeling_bilma import configuration_bilma, modeling_bilma
from modeling_bilma.configuration_bilma import AUTO_MAP
from training.common.errors import InputError, as_input_error
from training.common.files import file_sha256, read_json, write_folder, write_json, write_text
from training.publishing.eval_results import (
    COMPARED,
    EVAL_RESULTS,
    REGIONAL_TESTS,
    RESULTS,
    Results,
    compared_classifier,
    eval_result_file,
    name_in,
)
from training.publishing.facts import MODEL_CARDS
from training.publishing.publication import CLASSIFICATION, FILL_MASK, Publication

ROOT = Path(__file__).resolve().parents[2]
CARD = "README.md"
WEIGHTS = "model.safetensors"
TAKEN = (WEIGHTS, "tokenizer.json", "tokenizer_config.json")
RECORDS = ("metrics.json", "training_args.json")
# Name in the repository -> file in this checkout. The weights have their own licence.
ABOUT = {
    "LICENSE": MODEL_CARDS / "LICENSE",
    "LICENSE.code": ROOT / "LICENSE",
    "CITATION.cff": ROOT / "CITATION.cff",
}
# The code of the package instead of the folder's copy: the evaluation used it, and the family shares it. `opening.py`
# checks in a clean process that it opens these weights and gives the answers in the results.
CODE = tuple(Path(module.__file__ or "") for module in (configuration_bilma, modeling_bilma))
# The results beside a model, if there are any, and the picture of its card, by pipeline.
SHOWN_RESULTS = {
    FILL_MASK: ("mlm_matrix", REGIONAL_TESTS, "completions"),
    CLASSIFICATION: ("emoji15_matrix", COMPARED),
}
PICTURES = {FILL_MASK: "figures/mlm_matrix_masked_accuracy_words.png", CLASSIFICATION: None}
MANIFEST = "dry_run.json"  # digests of what a dry run wrote, so that the next one replaces nothing else


def build_tree(publication: Publication, results_dir: Path, results: Results, tree: Path) -> None:
    """Write all files but the card into the folder `tree`; the same input gives the same bytes.

    Args:
        results_dir: output folder of evaluate_family.py.
        results: contents of that folder, as `read_results` returns them.

    Raises:
        InputError: if a file is missing, or the results do not contain these weights.
    """
    for name in TAKEN:
        copy(publication.folder / name, tree / name, "not a finished folder of pretrain.py or finetune.py")
    for name in RECORDS:
        copy(publication.trained / name, tree / name, "not a finished folder of pretrain.py or finetune.py")
    write_config(publication.folder / "config.json", tree / "config.json")
    for path in CODE:
        copy(path, tree / path.name, "run this from a whole checkout")
    for name, path in ABOUT.items():
        copy(path, tree / name, "run this from a whole checkout")
    for kind in SHOWN_RESULTS[publication.pipeline_tag]:
        if kind == COMPARED:
            shown = compared_classifier(publication, results) is not None
        elif shown := kind in results:
            name_in(results[kind], publication)  # fails for results of other weights
        if shown:
            copy(results_dir / f"{kind}.json", tree / RESULTS / f"{kind}.json", "run evaluate_family.py again")
    picture = PICTURES[publication.pipeline_tag]
    if picture and (results_dir / picture).is_file():
        copy(results_dir / picture, tree / picture, "")
    if text := eval_result_file(publication, results):
        write_text(tree / EVAL_RESULTS, text)


def picture_in(tree: Path) -> str | None:
    """Return the path of the picture for the card of a tree; None if there is none."""
    return next((path for path in PICTURES.values() if path and (tree / path).is_file()), None)


def write_config(source: Path, target: Path) -> None:
    """Copy the configuration with references to the code beside it: one from the Hub refers to its own repository."""
    config = json.loads(source.read_text(encoding="utf-8")) | {"auto_map": AUTO_MAP}
    write_text(target, json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def copy(source: Path, target: Path, remedy: str) -> None:
    if not source.is_file():
        raise InputError(f"{source}: no such file: {remedy}")
    with as_input_error(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def copy_folder(source: Path, tree: Path) -> None:
    """Copy a data set or Space from `source` into the folder `tree`, without hidden files and caches.

    Raises:
        InputError: if there is no such folder.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    with as_input_error(OSError):
        shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))


def files_of(tree: Path) -> list[str]:
    """List the paths of all files in a folder, relative and with slashes as in a repository."""
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())


def digests(tree: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its path."""
    return {path: file_sha256(tree / path) for path in files_of(tree)}


def read_manifest(dry_run: Path) -> dict[str, dict[str, str]]:
    """Read the digests of the last dry run into this folder: tree -> file -> SHA-256."""
    path = dry_run / MANIFEST
    return read_json(path) if path.exists() else {}


def check_dry_run(dry_run: Path, names: Iterable[str]) -> None:
    """Check that everything to be replaced is exactly what an earlier dry run wrote.

    Raises:
        InputError: if anything of the user's would be replaced.
    """
    if dry_run.exists() and not dry_run.is_dir():
        raise InputError(f"--dry_run {dry_run} is a file: give a folder")
    if (dry_run / "config.json").exists():
        raise InputError(f"--dry_run {dry_run} is a model folder: give another one")
    manifest = read_manifest(dry_run)
    for name in names:
        folder = dry_run / name
        if folder.exists() and not (folder.is_dir() and digests(folder) == manifest.get(name)):
            raise InputError(
                f"{folder} is not what a dry run wrote: move it away, or give another folder as --dry_run"
            )


def write_dry_run(dry_run: Path, trees: Sequence[Path]) -> Iterator[Path]:
    """Write every tree into `dry_run`, each completely or not at all, and yield its folder."""
    manifest = read_manifest(dry_run)
    for tree in trees:
        with write_folder(dry_run / tree.name) as folder:
            shutil.copytree(tree, folder, dirs_exist_ok=True)
        manifest[tree.name] = digests(tree)
        write_json(dry_run / MANIFEST, manifest)
        yield dry_run / tree.name
