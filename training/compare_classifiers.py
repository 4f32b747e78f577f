"""Compare fine-tuned classifiers with simple methods, text by text and over all seeds.

    python training/compare_classifiers.py --classifiers bilma-emoji15 --baselines baselines-emoji15 \
        --output_dir results
    python training/compare_classifiers.py --classifiers bilma-emoji15 bilma-tass2020 \
        --baselines baselines-emoji15 baselines-tass2020 --output_dir results

Reads the test_guesses.json that finetune.py and baselines.py wrote on the same test texts, opens no model, and writes
`classifiers.json` and `report.md`: accuracy and macro-F1 with intervals over seeds and authors together, and paired
tests of each classifier against each simple method, in all and for regions with enough test texts.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from pathlib import Path

import torch

from training.common.arguments import check_each, parse_arguments
from training.common.errors import run
from training.common.locks import only_run_in
from training.evaluation.arguments import ClassifierComparisonArguments, check_resamples
from training.evaluation.classifier_comparison import compare_task, read_tasks
from training.evaluation.classifier_results import ClassifiersResult
from training.evaluation.report import check_replaceable, write_report
from training.evaluation.results import check_new, header, write_result

KIND = "classifiers"


def main() -> None:
    args = parse_arguments(ClassifierComparisonArguments, __doc__.splitlines()[0])
    check_each(args, "from 0 to below 2^32", "seed")
    check_resamples(args.resamples)
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir):
        check_new(output_dir, [KIND], args.overwrite)
        check_replaceable(output_dir / "report.md")

        tasks = read_tasks(args.classifiers, args.baselines)
        result: ClassifiersResult = {
            **header(KIND, {"resamples": args.resamples, "seed": args.seed}, [], torch.device("cpu")),
            "tasks": [compare_task(task, args.resamples, args.seed) for task in tasks],
        }
        for task in result["tasks"]:
            for note in task["notes"]:
                print(f"{task['task']}: {note}")
        print(write_result(output_dir, result))
        print(write_report(output_dir))


if __name__ == "__main__":
    run(main)
