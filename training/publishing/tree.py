"""The tree of a repository: exactly the files that are pushed, put together from a folder and the family's results."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from modeling_bilma import configuration_bilma, modeling_bilma
from modeling_bilma.configuration_bilma import AUTO_MAP
from training.common.errors import InputError, as_input_error
from training.common.files import file_sha256, read_json, write_text, written_whole
from training.publishing.eval_results import EVAL_RESULTS, REGIONAL_TESTS, RESULTS, Results, eval_result_file, name_in
from training.publishing.facts import MODEL_CARDS
from training.publishing.publication import CLASSIFICATION, FILL_MASK, Publication

ROOT = Path(__file__).resolve().parents[2]
CARD = "README.md"
WEIGHTS = "model.safetensors"
TAKEN = (WEIGHTS, "tokenizer.json", "tokenizer_config.json")
RECORDS = ("metrics.json", "training_args.json")
# Name in the repository -> file of this checkout. The weights have a licence of their own.
ABOUT = {
    "LICENSE": MODEL_CARDS / "LICENSE",
    "LICENSE.code": ROOT / "LICENSE",
    "CITATION.cff": ROOT / "CITATION.cff",
}
# The package's code and not the folder's copy: the evaluation ran it, and the family shares it. That it opens these
# weights, and answers as the results say, is checked in a clean process before anything is pushed.
CODE = tuple(Path(module.__file__ or "") for module in (configuration_bilma, modeling_bilma))
# The results that lie beside a model, by its pipeline, as far as they were made, and the picture of its card.
SHOWN_RESULTS = {FILL_MASK: ("mlm_matrix", REGIONAL_TESTS, "completions"), CLASSIFICATION: ("emoji15_matrix",)}
PICTURES = {FILL_MASK: "figures/mlm_matrix_masked_accuracy_words.png", CLASSIFICATION: None}
MANIFEST = "dry_run.json"  # the digests of what a dry run wrote, so that the next one replaces that and nothing else


def build_tree(publication: Publication, results_dir: Path, results: Results, tree: Path) -> None:
    """Fill the folder `tree` with everything but the card; the same input gives the same bytes.

    Args:
        results_dir: output folder of evaluate_family.py.
        results: what `read_results` read there.

    Raises:
        InputError: if a file is missing, or the results are not of these weights.
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
        if kind in results:
            name_in(results[kind], publication)  # measured on these very weights
            copy(results_dir / f"{kind}.json", tree / RESULTS / f"{kind}.json", "run evaluate_family.py again")
    picture = PICTURES[publication.pipeline_tag]
    if picture and (results_dir / picture).is_file():
        copy(results_dir / picture, tree / picture, "")
    if text := eval_result_file(publication, results):
        write_text(tree / EVAL_RESULTS, text)


def picture_in(tree: Path) -> str | None:
    """The picture that the card of a tree shows."""
    return next((path for path in PICTURES.values() if path and (tree / path).is_file()), None)


def write_config(source: Path, target: Path) -> None:
    """Copy the configuration, pointing at the code beside it: one from the Hub names that repository's code."""
    config = json.loads(source.read_text(encoding="utf-8")) | {"auto_map": AUTO_MAP}
    write_text(target, json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def copy(source: Path, target: Path, remedy: str) -> None:
    if not source.is_file():
        raise InputError(f"{source}: no such file: {remedy}")
    with as_input_error(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def copy_folder(source: Path, tree: Path) -> None:
    """Fill the folder `tree` with a data set or a Space as it lies in `source`, without hidden files and caches.

    Raises:
        InputError: if there is no such folder.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder")
    with as_input_error(OSError):
        shutil.copytree(source, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))


def files_of(tree: Path) -> list[str]:
    """The paths of all files below a folder, as a repository writes them, in order."""
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir())


def digests(tree: Path) -> dict[str, str]:
    """The SHA-256 of every file, by its path."""
    return {path: file_sha256(tree / path) for path in files_of(tree)}


def read_manifest(dry_run: Path) -> dict[str, dict[str, str]]:
    """Tree -> file -> SHA-256, as the last dry run into this folder left them."""
    path = dry_run / MANIFEST
    return read_json(path) if path.exists() else {}


def check_dry_run(dry_run: Path, names: Iterable[str]) -> None:
    """Check that everything to be replaced is, byte by byte, what an earlier dry run wrote.

    Raises:
        InputError: if a file or folder of the user's would be replaced.
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
    """Put every tree below `dry_run`, each whole or as it was before; yield where they lie."""
    manifest = read_manifest(dry_run)
    for tree in trees:
        with as_input_error(OSError):
            dry_run.mkdir(parents=True, exist_ok=True)
            with written_whole(dry_run / tree.name) as folder:
                shutil.copytree(tree, folder, dirs_exist_ok=True)
            manifest[tree.name] = digests(tree)
            write_text(dry_run / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        yield dry_run / tree.name
