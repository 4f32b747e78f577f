"""Train the whole family: vocabulary, base, a model of each region, classifiers, baselines, and the comparisons.

    python training/train_family.py --corpora corpora --labelled emoji15.jsonl.gz --output_dir runs/family --estimate
    python training/train_family.py --corpora corpora --labelled emoji15.jsonl.gz --output_dir runs/family
    python training/train_family.py --corpora corpora --ways adapted one_model scratch --jobs 2 --output_dir runs/ways

Everything is decided by one recipe, training/recipes/family.yaml, and those that it names. Each stage is one of the
other scripts, run with a command that is printed and can be given alone. The same command goes on after an
interruption: stages whose result is there are skipped, and an unfinished training is resumed. A stage that was begun
with another recipe, corpus or base is refused, never taken. SIGTERM or Ctrl-C reaches the scripts that run, which
write a checkpoint; the exit status is then 75.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from training.common.arguments import parse_arguments
from training.common.errors import InputError, run
from training.engine.accelerator import available_cores
from training.family import estimate as family_estimate
from training.family import texts as family_texts
from training.family.arguments import TrainFamilyArguments, check_arguments
from training.family.plan import plan
from training.family.runner import Scripts, make_all, say, the_only_run_in
from training.family.stages import Stage
from training.texts.regions import REGIONS


def main() -> None:
    args = parse_arguments(TrainFamilyArguments, __doc__.splitlines()[0])
    check_arguments(args)
    regions = family_texts.read_regions(args.corpora, args.labelled, args.tasks)
    for line in family_texts.describe(regions, sorted(REGIONS)):
        say(line)
    family_texts.check_enough(regions, args.test_fraction)
    stages = plan(args, regions)
    for stage in stages:
        stage.resolved()  # a recipe that is wrong is said now, and not after hours
    with the_only_run_in(Path(args.output_dir)) as lock, Scripts(lock) as scripts:
        vocabulary, *others = list(enumerate(stages, start=1))
        make_all([vocabulary], scripts, len(stages))
        estimate([stage for _, stage in others if not stage.is_finished()], scripts, args)
        if not args.estimate:
            make_all(others, scripts, len(stages), args.jobs, args.num_threads)


def estimate(stages: Sequence[Stage], scripts: Scripts, args: TrainFamilyArguments) -> None:
    """Say what is left to do, if there is a pretraining among it to measure, with the threads of one of several."""
    measured = family_estimate.stage_to_measure(stages)
    if measured is None:
        return
    say(f"measuring some steps of {measured.name}")
    command = measured.command(args.num_threads or max(1, available_cores() // args.jobs))
    status, report = scripts.run([*command, "--estimate"], stdout=subprocess.PIPE)
    scripts.check_not_stopped()
    if status:
        raise InputError(f"{measured.name} cannot be estimated, for the reason above: mend it first")
    say(family_estimate.describe(stages, measured, report, args.jobs))


if __name__ == "__main__":
    run(main)
