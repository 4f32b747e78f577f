"""Prepare a corpus: raw dumps of any size become the Parquet files that pretrain.py --streaming reads.

    python training/prepare_corpus.py --input dumps/ --region_rules training/corpus_preparation/region_rules.yaml \
        --anonymise --workers 8 --output_dir corpus
    python training/prepare_corpus.py --input tweets.csv.gz --region mx --group_column author --output_dir corpus
    python training/prepare_corpus.py --input dumps/ --region_column place.country_code --workers 200 \
        --executor slurm --slurm_partition cpu --slurm_time 12:00:00 --output_dir corpus

Dumps are JSON lines, of the Twitter API or with a column of texts (.jsonl .ndjson .json, also with .gz or .zst),
tables (.csv .tsv, also with .gz) and .parquet. Each dump is a shard: dumps are shared out among the workers, and an
interrupted run continues with those that are not finished. The corpus is
OUTPUT_DIR/REGION/{train,validation,test}/*.parquet, and OUTPUT_DIR/README.md counts what was left out, and why.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.common.arguments import check_each, option, parse_arguments, public_arguments
from training.common.errors import InputError, as_write_error, resumable, run
from training.common.locks import only_run_in
from training.corpus_preparation.executors import check_executor, run_locally, run_on_ray, silence_log, submit_to_slurm
from training.corpus_preparation.folder import WorkFolder, dump_facts, open_folder
from training.corpus_preparation.reading import ReadDumps
from training.corpus_preparation.records import find_dumps
from training.corpus_preparation.regions import RegionOf, region_finder
from training.corpus_preparation.report import REPORT, FinishCorpus
from training.corpus_preparation.stages import preparation_stages
from training.corpus_preparation.steps import (
    LANGUAGES,
    AssignRegion,
    AssignSplit,
    KeepLanguage,
    LeaveOutAutomatic,
    LeaveOutRetweets,
    MaskEntities,
)
from training.texts.corpus import FormatArguments

ANY = "any"


@dataclass(kw_only=True)
class PrepareArguments(FormatArguments):
    """The flags of this script."""

    input: list[str] = field(metadata={"help": "files or folders of the dumps"})
    output_dir: str = field(metadata={"help": "folder for the corpus; must not exist, or be empty"})
    text_column: str = option("text", "column or field of the texts; text finds the whole text of a tweet")
    group_column: str | None = option(
        None, "column or field that names the author, such as user.id_str (default: the Twitter API's)"
    )
    language: str = option("es", f"language to keep: {', '.join(LANGUAGES)}, or any")
    region: str | None = option(None, "region of all texts, such as mx (default: by the names of the dumps)")
    region_column: str | None = option(None, "column or field of a two-letter country code, instead")
    region_rules: str | None = option(None, "YAML file of rules by place, profile location or country code, instead")
    anonymise: bool = option(False, "mask users, links, mail and IP addresses and telephone numbers")
    duplicates: Literal["near", "exact", "keep"] = option(
        "near", "leave out near-duplicates and exact ones, exact ones alone, or none"
    )
    within_regions: bool = option(False, "compare texts of one region only (default: of all regions)")
    validation_fraction: float = option(0.05, "share of the authors, or texts without one, for validation")
    test_fraction: float = option(0.05, "share of the authors, or texts without one, for testing")
    workers: int = option(1, "dumps that are worked on at the same time; the output does not depend on it")
    executor: Literal["local", "slurm", "ray"] = option("local", "processes of this machine, SLURM jobs, or Ray")
    slurm_partition: str | None = option(None, "partition of the jobs")
    slurm_time: str | None = option(None, "time limit of a job, such as 12:00:00")
    slurm_memory: int = option(4, "GB of memory of a job")
    resume: bool = option(False, "continue an unfinished preparation; finished shards are not read again")
    overwrite: bool = option(False, "start an unfinished preparation again")


def main() -> None:
    args = parse_arguments(PrepareArguments, __doc__.splitlines()[0])
    check_arguments(args)
    silence_log()
    files = find_dumps(args.input)
    output_dir = Path(args.output_dir)
    check_outside(output_dir, args.input)
    region_of = region_finder(args.region, args.region_column, args.region_rules, files)
    with only_run_in(output_dir), resumable(WorkFolder(output_dir.absolute()).path.exists):
        folder = open_folder(output_dir, run_identity(args, files), args.resume, args.overwrite)
        steps = cleaning_steps(args, files, region_of)
        stages = preparation_stages(
            steps, len(files), folder, args.duplicates, args.within_regions, FinishCorpus(folder)
        )
        if args.executor == "slurm":
            submit_to_slurm(stages, folder.logs, args.workers, slurm_settings(args))
            print(f"jobs are submitted; the last one writes {output_dir}; after a failure run this with --resume")
            return
        with as_write_error(folder.path):
            (run_on_ray if args.executor == "ray" else run_locally)(stages, folder.logs, args.workers)
        folder.remove()
        print((output_dir / REPORT).read_text(encoding="utf-8"))


def cleaning_steps(args: PrepareArguments, files: tuple[Path, ...], region_of: RegionOf) -> list[Any]:
    """Return the steps that each text goes through by itself, in their order."""
    return [
        ReadDumps(files, args.text_column, args.file_format),
        LeaveOutRetweets(),
        LeaveOutAutomatic(),
        AssignRegion(region_of),
        *([] if args.language == ANY else [KeepLanguage(args.language)]),
        *([MaskEntities()] if args.anonymise else []),
        AssignSplit(args.group_column, args.validation_fraction, args.test_fraction),
    ]


def check_arguments(args: PrepareArguments) -> None:
    """Check the values of flags.

    Raises:
        InputError: if one is out of range, or the executor lacks what it needs.
    """
    check_each(args, "1 or more", "workers", "slurm_memory")
    check_each(args, "from 0 to below 1", "validation_fraction", "test_fraction")
    if args.validation_fraction + args.test_fraction >= 1:
        raise InputError("--validation_fraction and --test_fraction leave no text for training")
    if args.language not in (*LANGUAGES, ANY):
        raise InputError(f"--language {args.language} is not known: {', '.join(LANGUAGES)}, or {ANY}")
    if args.executor == "slurm" and not (args.slurm_partition and args.slurm_time):
        raise InputError("--executor slurm needs --slurm_partition and --slurm_time")
    check_executor(args.executor)


def check_outside(output_dir: Path, dumps: Sequence[str]) -> None:
    """Raise `InputError` if the output is inside a folder of dumps, where another run would take it for one."""
    for folder in dumps:
        if Path(folder).is_dir() and output_dir.resolve().is_relative_to(Path(folder).resolve()):
            raise InputError(f"--output_dir {output_dir} is in the folder of the dumps, {folder}: give one outside")


def run_identity(args: PrepareArguments, files: tuple[Path, ...]) -> dict[str, Any]:
    """Return what must not change for a preparation to be continued: the dumps, the rules, and most flags."""
    identity = public_arguments(args) | {"input": dump_facts(files)}
    if args.region_rules:
        identity["region_rules"] = Path(args.region_rules).read_text(encoding="utf-8")
    free = ("workers", "executor", "slurm_partition", "slurm_time", "slurm_memory")
    return {name: value for name, value in identity.items() if name not in free}


def slurm_settings(args: PrepareArguments) -> dict[str, Any]:
    """Return the settings of the jobs; further ones are taken from sbatch's own variables, such as SBATCH_ACCOUNT."""
    return {
        "partition": args.slurm_partition,
        "time": args.slurm_time,
        "mem_per_cpu_gb": args.slurm_memory,
        "qos": None,
    }


if __name__ == "__main__":
    run(main)
