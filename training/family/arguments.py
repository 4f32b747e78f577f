"""The flags of `training/train_family.py`, which are also the keys of its recipe."""

from dataclasses import dataclass, field
from pathlib import Path

from training.common.arguments import check_each, option
from training.common.errors import InputError

BASELINES = "baselines"  # the beginning of the names of their folders
# How a region gets its model: from a base of all regions or from nothing; or one model of all regions, told by a token
# which one is meant, from nothing or from that base too.
ADAPTED, SCRATCH, ONE_MODEL, ONE_ADAPTED = WAYS = ("adapted", "scratch", "one_model", "one_adapted")


@dataclass(kw_only=True)
class TrainFamilyArguments:
    corpora: str = field(
        metadata={"help": "folder of texts; a region's two letters are in each name, as in mx.jsonl.gz"}
    )
    output_dir: str = option("runs/family", "folder for the family; what it holds of this family is kept")
    recipe: str = option("family", "recipe of training/recipes by name, or a YAML file by path")
    labelled: str | None = option(
        None,
        "labelled file with the columns text, label and region, and split if need be, for Emoji-15 (default: made "
        "from the texts)",
    )
    tasks: list[str] = field(
        default_factory=list,
        metadata={
            "help": "labelled files of further tasks, such as sentiment, with the same columns: a classifier of every "
            "region that a file holds and the family has"
        },
    )

    ways: list[str] = field(
        default_factory=lambda: [ADAPTED],
        metadata={"help": f"of {', '.join(WAYS)}; the first makes the family, the others are compared with it"},
    )
    vocab_size: int = option(29025, "most tokens of the shared vocabulary")
    min_frequency: int = option(5, "pieces of the vocabulary are met at least this often")
    test_fraction: float = option(0.05, "share of the texts kept out of everything, for the comparison")
    base_recipe: str = option("default", "recipe of the base, which the adaptations go on from")
    adapt_recipe: str = option("default", "recipe of the adaptation of the base to a region")
    whole_recipe: str = option("default", "recipe of the other ways, which have one training from nothing to the end")
    base_epochs: float = option(3, "passes of the base over the texts of all regions")
    adapt_epochs: float = option(
        3, "passes of an adaptation over its region's texts; the other ways pass as often as base and adaptation do"
    )
    adapt_min_texts: int = option(0, "passes over a small region's texts are made more, up to so many texts")
    finetune_recipe: str = option("finetune", "recipe of the Emoji-15 models and of those of --tasks")
    min_labelled_texts: int = option(800, "a region with fewer texts to learn a task from gets no classifier of it")
    mask_draws: int = option(4, "times that each test text is masked anew in a comparison of pretrained models")
    jobs: int = option(
        1, "stages that run at a time where they do not need each other; what they say goes into files, stages/*.log"
    )
    num_threads: int | None = option(
        None, "CPU threads of a stage (default: the cores, shared among those that run at the time)"
    )
    estimate: bool = option(
        False, "say what the family will take, by measuring some steps; trains and writes nothing but the vocabulary"
    )


def task_name(file: str) -> str:
    """That of a labelled file, up to its first dot."""
    return Path(file).name.split(".")[0]


def check_arguments(args: TrainFamilyArguments) -> None:
    """Raise `InputError` for values that cannot be."""
    for way in args.ways:
        if way not in WAYS:
            raise InputError(f"--ways {way}: choose of {', '.join(WAYS)}")
    if len(set(args.ways)) < len(args.ways) or not args.ways:
        raise InputError(f"--ways {' '.join(args.ways)}: give one or more, each once")
    names = [task_name(file) for file in args.tasks]
    if len(set(names)) < len(names):
        raise InputError(f"--tasks {' '.join(args.tasks)}: two files have one name up to the first dot: rename one")
    if any(name.startswith(BASELINES) for name in names):
        raise InputError(
            f"--tasks {' '.join(args.tasks)}: a name that begins with {BASELINES} is taken: rename the file"
        )
    if args.ways[0] in (ONE_MODEL, ONE_ADAPTED):
        raise InputError(f"--ways {args.ways[0]}: it makes no model of a region: name it after {ADAPTED} or {SCRATCH}")
    if ONE_ADAPTED in args.ways and ADAPTED not in args.ways:
        raise InputError(f"--ways {ONE_ADAPTED}: it goes on from the base of {ADAPTED}: name that too")
    check_each(
        args, "1 or more", "vocab_size", "min_frequency", "min_labelled_texts", "mask_draws", "num_threads", "jobs"
    )
    check_each(args, "above 0", "base_epochs", "adapt_epochs")
    check_each(args, "from 0 to below 2^32", "adapt_min_texts")
    check_each(args, "between 0 and 1", "test_fraction")
