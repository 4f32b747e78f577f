"""Compare models region by region: every model on the test texts of every region.

    python training/evaluate_family.py --models models/bilma --corpora corpora --output_dir results
    python training/evaluate_family.py --models bilma-mx bilma-ar bilma-es --corpora corpora --output_dir results
    python training/evaluate_family.py --models bilma-mx beto --per_word --corpora corpora --output_dir results
    python training/evaluate_family.py --emoji_models mx-emoji ar-emoji --corpora corpora --output_dir results
    python training/evaluate_family.py --redraw --output_dir results

The output folder gets a JSON file for each result (the matrix, completions, region words, the Emoji-15 matrix), their
figures in `figures`, and `report.md`, which shows ours beside the published results. The test texts are those that
`pretrain.py` held out. This runs the model code that lies beside foreign weights.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from pathlib import Path

import torch

from training.common.arguments import parse_arguments
from training.common.errors import run
from training.common.locks import only_run_in
from training.evaluation.arguments import EvaluateArguments, check_arguments
from training.evaluation.comparisons import EmojiComparison, MaskedComparison
from training.evaluation.report import check_replaceable, write_report
from training.evaluation.results import check_new, read_results, write_result
from training.evaluation.summary_report import headlines


def main() -> None:
    args = parse_arguments(EvaluateArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir):
        check_replaceable(output_dir / "report.md")
        if not args.redraw:
            evaluate(args, output_dir)
        report = write_report(output_dir)
        for line in headlines(read_results(output_dir)):
            print(line)
        print(f"{report}: the report")


def evaluate(args: EvaluateArguments, output_dir: Path) -> None:
    """Write the results that the flags name; all input is checked before the first model is opened."""
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    comparisons: list[MaskedComparison | EmojiComparison] = []
    if args.models:
        comparisons.append(MaskedComparison(args))
    if args.emoji_models:
        comparisons.append(EmojiComparison(args))
    for comparison in comparisons:
        check_new(output_dir, comparison.kinds(), args.overwrite)
    for comparison in comparisons:
        for result in comparison.results():
            print(write_result(output_dir, result))
    if args.models and args.overwrite and not args.per_word and "region_words" not in comparisons[0].kinds():
        (output_dir / "region_words.json").unlink(missing_ok=True)  # of the models that are replaced


if __name__ == "__main__":
    run(main)
