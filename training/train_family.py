"""Train the whole family: vocabulary, word vectors, one body, its regional parts, results and classifiers.

    python training/train_family.py --corpora corpora --more more --group_column author --output_dir runs/family
    python training/train_family.py --corpora corpora --output_dir runs/family --estimate

The recipe is training/recipes/family.yaml and those that it names. Every stage is one of the other scripts; its
command is printed and runs alone as well. After an interruption the same command continues: finished stages are
skipped, and an unfinished training resumes from its checkpoint. A stage that was begun with another recipe, corpus or
body is refused. SIGTERM and Ctrl-C reach the running script: a pretraining writes a checkpoint, any other stage starts
again; the exit status is then 75.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from pathlib import Path

from training.common.arguments import parse_arguments
from training.common.errors import InputError, run
from training.common.locks import only_run_in
from training.family.arguments import TrainFamilyArguments, check_arguments
from training.family.plan import FAMILY, RESULTS, plan
from training.family.runner import run_all, run_script, say


def main() -> None:
    args = parse_arguments(TrainFamilyArguments, __doc__.splitlines()[0])
    check_arguments(args)
    stages = plan(args)
    for stage in stages:
        stage.resolved()  # report a mistake in a recipe now, not after hours of training
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    with only_run_in(Path(args.output_dir)):
        if not args.estimate:
            run_all(stages, args.num_threads)
            home = Path(args.output_dir)
            say(f"{home}: finished; the models are in {home / FAMILY}, the report is {home / RESULTS}/report.md")
            return
        pretraining = next(
            (
                number
                for number, stage in enumerate(stages)
                if stage.script == "pretrain.py" and not stage.is_finished()
            ),
            None,
        )
        if pretraining is None:
            raise InputError(f"{args.output_dir}: every pretraining is finished, nothing to estimate")
        run_all(stages[:pretraining], args.num_threads)  # which may be trainings, too
        run_script([*stages[pretraining].command(args.num_threads), "--estimate"])


if __name__ == "__main__":
    run(main)
