"""The tree of a repository: exactly the files that are pushed, made from a trained folder and the family's results."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling_bilma import configuration_bilma, modeling_bilma
from modeling_bilma.configuration_bilma import AUTO_MAP
from training.common.errors import InputError, as_input_error
from training.common.files import read_json, write_text, written_whole
from training.publishing.card import render_card
from training.publishing.eval_results import RESULTS, eval_result_files, name_in
from training.publishing.publication import Publication

ROOT = Path(__file__).resolve().parents[2]
ABOUT = ("LICENSE", "CITATION.cff")
WEIGHTS = "model.safetensors"
# Of a trained folder nothing else is published, whatever lies there.
TAKEN = (WEIGHTS, "tokenizer.json", "tokenizer_config.json", "metrics.json", "training_args.json")
LOSS_CURVE = "loss_curve.png"  # finetune.py draws none
# The package's code and not the folder's copy: it is what the evaluation ran, and one code for the whole family. That
# it opens these weights, and answers what the results say, is seen in a clean process before anything is pushed.
CODE = tuple(Path(module.__file__) for module in (configuration_bilma, modeling_bilma))
# The results that tell of a model, by its pipeline, each with the picture that the card shows, if a table is not
# enough.
TOLD = {
    "fill-mask": {
        "mlm_matrix": "mlm_matrix_masked_accuracy_all",
        "completions": None,
        "region_words": None,
        "similarity": "similarity",
    },
    "text-classification": {"emoji15_matrix": "emoji15_accuracy"},
}
MANIFEST = "dry_run.json"  # what a dry run wrote, so that the next one replaces that and nothing else


def build_tree(publication: Publication, results_dir: Path, results: dict[str, dict[str, Any]], tree: Path) -> None:
    """Fill the empty folder `tree`; the same input gives the same bytes.

    Args:
        results_dir: output folder of evaluate_family.py, for its pictures.
        results: what `read_results` read there.

    Raises:
        InputError: if a file is not there, or the results are not of these weights.
    """
    for name in TAKEN:
        copy(publication.folder / name, tree / name, "not a finished folder of pretrain.py or finetune.py")
    pictures_of = TOLD[publication.pipeline_tag]
    told = {kind: results[kind] for kind in pictures_of if kind in results}
    for result in told.values():
        name_in(result, publication)  # measured on these very weights
    write_config(publication.folder / "config.json", tree / "config.json")
    for path in (*CODE, *(ROOT / name for name in ABOUT)):
        copy(path, tree / path.name, "run this from a whole checkout")
    for kind in told:
        copy(results_dir / f"{kind}.json", tree / RESULTS / f"{kind}.json", "")
    pictures = []
    if (publication.folder / LOSS_CURVE).is_file():
        copy(publication.folder / LOSS_CURVE, tree / LOSS_CURVE, "")
        pictures.append(LOSS_CURVE)
    for name in (f"figures/{pictures_of[kind]}.png" for kind in told if pictures_of[kind]):
        copy(results_dir / name, tree / name, "draw it with evaluate_family.py --redraw")
        pictures.append(name)
    for path, text in eval_result_files(publication, told).items():
        write_text(tree / path, text)
    write_text(tree / "README.md", render_card(publication, results, pictures))


def write_config(source: Path, target: Path) -> None:
    """The configuration, with the code that lies beside it: one loaded from the Hub names that repository's code."""
    config = json.loads(source.read_text(encoding="utf-8")) | {"auto_map": AUTO_MAP}
    write_text(target, json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def copy(source: Path, target: Path, remedy: str) -> None:
    if not source.is_file():
        raise InputError(f"{source}: no such file: {remedy}")
    with as_input_error(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def files_of(tree: Path) -> list[str]:
    """The paths of all files below a folder, as a repository writes them, in order."""
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())


def digests(tree: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path."""
    found = {}
    for path in files_of(tree):
        with (tree / path).open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def read_manifest(dry_run: Path) -> dict[str, dict[str, str]]:
    """Tree -> file -> SHA-256, as the last dry run into this folder left them."""
    path = dry_run / MANIFEST
    return read_json(path) if path.exists() else {}


def check_dry_run(dry_run: Path, names: Iterable[str]) -> None:
    """What would be replaced is, byte by byte, what an earlier dry run wrote.

    Raises:
        InputError: else.
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
                f"{folder} is not as a dry run left it: move it away, or give another folder as --dry_run"
            )


def write_dry_run(dry_run: Path, trees: Sequence[Path]) -> Iterator[Path]:
    """Put every tree below `dry_run`, each whole or as it was before; yields where they lie."""
    manifest = read_manifest(dry_run)
    for tree in trees:
        with as_input_error(OSError):
            dry_run.mkdir(parents=True, exist_ok=True)
            with written_whole(dry_run / tree.name) as folder:
                shutil.copytree(tree, folder, dirs_exist_ok=True)
            manifest[tree.name] = digests(tree)
            write_text(dry_run / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        yield dry_run / tree.name
