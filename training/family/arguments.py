"""The flags of `training/train_family.py`, which are also the keys of its recipe."""

from dataclasses import dataclass, field

from training.common.arguments import check_each, option
from training.common.errors import InputError


@dataclass(kw_only=True)
class TrainFamilyArguments:
    corpora: str = field(
        metadata={"help": "folder with the texts of each region; file names hold the region code, as in mx.jsonl.gz"}
    )
    output_dir: str = option("runs/family", "folder for the family; finished stages in it are kept")
    recipe: str = option("family", "name of a recipe in training/recipes, or path of a YAML file")
    more: list[str] = field(
        default_factory=list,
        metadata={"help": "additional files or folders of texts, for vocabulary, word vectors and body only"},
    )
    labelled: list[str] = field(
        default_factory=list,
        metadata={
            "help": "labelled files with the columns text, label and region, and optionally split: each becomes a "
            "classifier for all regions, named after the file, and is compared with simple baselines"
        },
    )
    group_column: str | None = option(
        None, "column that names the author of a text: the split does not divide authors"
    )
    test_fraction: float = option(0.05, "share of the texts kept for testing")

    vocab_size: int = option(29025, "maximum size of the shared vocabulary")
    min_frequency: int = option(5, "minimum frequency of a pair of pieces to be merged into a token")
    vector_size: int = option(512, "size of the word vectors: the hidden size of the body")
    body_recipe: str = option("family_body", "recipe of the body, which is trained on all texts")
    body_epochs: float = option(1, "passes of the body over all texts")
    regional_recipe: str = option("family_regional", "recipe of the second stage, which adds the regional parts")
    regional_epochs: float = option(1, "passes of the second stage over the texts of the regions")
    finetune_recipe: str = option("finetune", "recipe of the classifiers")
    seeds: int = option(1, "number of seeds for the second stage, the classifiers and their baselines")
    regional_tests: str | None = option(None, "folder of the tests of regional knowledge")
    mask_draws: int = option(4, "number of random maskings of each test text")
    num_threads: int | None = option(None, "CPU threads (default: all cores)")
    estimate: bool = option(False, "measure a few steps of the next pretraining and print its time and memory")


def check_arguments(args: TrainFamilyArguments) -> None:
    """Raise `InputError` for values out of range and for repeated names."""
    check_each(args, "between 0 and 1", "test_fraction")
    check_each(args, "above 0", "body_epochs", "regional_epochs")
    check_each(args, "1 or more", "vocab_size", "min_frequency", "seeds", "mask_draws")
    check_each(args, "1 or more", "vector_size", "num_threads")
    names = [task_of(file) for file in args.labelled]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--labelled: two files are called {repeated[0]}: rename one")


def task_of(file: str) -> str:
    """Name a task after its file, up to the first dot or underscore: emoji15_regions.jsonl.gz is `emoji15`."""
    return file.rsplit("/", 1)[-1].split(".")[0].split("_")[0]
