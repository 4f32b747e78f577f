"""The plan of the family: its stages, in the order in which they run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.common.progress import say
from training.family.arguments import TrainFamilyArguments, task_of
from training.family.stages import Stage
from training.texts.files import find_files
from training.texts.regions import ALL_REGIONS, region_of_file

FAMILY = "bilma"
RESULTS = "results"


def plan(args: TrainFamilyArguments) -> list[Stage]:
    """List all stages of the family.

    Raises:
        InputError: if --corpora is not a folder, or the name of a file in it contains no region.
    """
    regional_texts = files_in(args.corpora)
    regions = sorted({region_of_file(file) for file in regional_texts})
    all_texts = [*regional_texts, *find_files(args.more)]
    split = {"test_fraction": args.test_fraction} | ({"group_column": args.group_column} if args.group_column else {})
    home = Path(args.output_dir)

    vocabulary = Stage(
        "train_tokenizer.py",
        home / "tokenizer",
        {"train_file": all_texts},
        {"vocab_size": args.vocab_size, "min_frequency": args.min_frequency} | split,
    )
    tokenizer = {"tokenizer": [vocabulary.output_dir]}
    vectors = Stage(
        "train_word_vectors.py",
        home / "vectors",
        {"train_file": all_texts} | tokenizer,
        {"size": args.vector_size} | split,
    )
    body = Stage(
        "pretrain.py",
        home / "body",
        {"train_file": all_texts, "word_vectors": [vectors.output_dir]} | tokenizer,
        {"recipe": args.body_recipe, "region": ALL_REGIONS, "num_train_epochs": args.body_epochs} | split,
    )
    parts = {"region_tokens": True, "add_regions": regions, "num_train_epochs": args.regional_epochs}
    family = [
        Stage(
            "pretrain.py",
            home / name,
            {"train_file": regional_texts, "init_from": [body.output_dir]},
            {"recipe": args.regional_recipe, "region": ALL_REGIONS, "seed": seed} | parts | split,
        )
        for seed, name in enumerate(seeded(FAMILY, args.seeds))
    ]
    models = [stage.output_dir for stage in family]
    stages = [vocabulary, vectors, body, *family]
    stages += comparisons(args, models, regional_texts, split)
    trained = [stage for file in args.labelled for stage in classifiers(args, Path(file), models[0], split)]
    return [*stages, *trained, *classifier_comparison(home, trained)]


def seeded(name: str, seeds: int) -> list[str]:
    return [name, *(f"{name}-seed{seed}" for seed in range(1, seeds))]


def comparisons(
    args: TrainFamilyArguments, models: Sequence[Path], texts: Sequence[Path], split: dict[str, Any]
) -> Iterator[Stage]:
    """Evaluate every model on the test texts of every region, and on the tests of regional knowledge."""
    home = Path(args.output_dir)
    inputs = {"models": models, "corpora": texts}
    yield Stage("evaluate_family.py", home / RESULTS, inputs, {"mask_draws": args.mask_draws} | split)
    if args.regional_tests:
        inputs = {"models": models, "tests": [Path(args.regional_tests)]}
        yield Stage("regional_tests.py", home / "regional-results", inputs, {})


def classifiers(args: TrainFamilyArguments, file: Path, model: Path, split: dict[str, Any]) -> Iterator[Stage]:
    """Train a classifier for all regions on a labelled file, and simple baselines, with all seeds."""
    home, task = Path(args.output_dir), task_of(str(file))
    settings = {"task": task, "label_column": "label", "seeds": list(range(args.seeds))} | split
    training: dict[str, Any] = {"recipe": args.finetune_recipe, "region_tokens": True}
    if args.seeds > 1:
        training["soup"] = True
    inputs = {"train_file": [file], "model": [model]}
    yield Stage("finetune.py", home / f"{FAMILY}-{task}", inputs, settings | training)
    yield Stage("baselines.py", home / f"baselines-{task}", {"train_file": [file]}, settings)


def classifier_comparison(home: Path, trained: Sequence[Stage]) -> Iterator[Stage]:
    """Compare all classifiers with the baselines of their texts, if there are any."""
    if trained:
        flags = {"classifiers": "finetune.py", "baselines": "baselines.py"}
        inputs = {
            flag: [stage.output_dir for stage in trained if stage.script == script] for flag, script in flags.items()
        }
        yield Stage("compare_classifiers.py", home / "classifier-results", inputs)


def files_in(folder: str) -> list[Path]:
    """List the text files of a folder, without those in subfolders."""
    if not Path(folder).is_dir():
        raise InputError(f"--corpora {folder}: not a folder")
    found = find_files([folder])
    files = [file for file in found if file.parent == Path(folder)]
    if not files:
        raise InputError(f"--corpora {folder}: the text files are in subfolders: give the folder that holds them")
    if len(files) < len(found):
        say(f"--corpora {folder}: not taken: {len(found) - len(files):,} files in its subfolders")
    return files
