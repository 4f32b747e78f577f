"""Compare models region by region: every model on the test texts of every region.

    python training/evaluate_family.py --models bilma-mx bilma-ar bilma-es --corpora corpora --output_dir results
    python training/evaluate_family.py --models bilma-mx beto --per_word --corpora corpora --output_dir results
    python training/evaluate_family.py --models bilma-mx scratch-mx --own_region --corpora corpora --output_dir ways
    python training/evaluate_family.py --emoji_models mx-emoji ar-emoji --corpora corpora --output_dir results
    python training/evaluate_family.py --redraw --output_dir results

The output folder gets a JSON file for each result (the matrix, completions, region words, similarity, the Emoji-15
matrix), pictures of them in `figures`, and `report.md`, which shows ours beside the published figures. What is asked
are texts that `pretrain.py` kept out. This runs the model code that lies beside foreign weights.
"""

from pathlib import Path

import torch

from training.common.arguments import parse_arguments
from training.common.errors import run
from training.common.files import write_text
from training.evaluation.arguments import FamilyArguments, check_arguments
from training.evaluation.comparisons import EmojiComparison, MaskedComparison
from training.evaluation.completions import as_text
from training.evaluation.figures import draw_all
from training.evaluation.report import check_replaceable, render
from training.evaluation.results import check_new, read_results, write_result


def main() -> None:
    args = parse_arguments(FamilyArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    report = output_dir / "report.md"
    check_replaceable(report)
    if not args.redraw:
        evaluate(args, output_dir)
    results = read_results(output_dir)
    if "completions" in results:
        write_text(output_dir / "completions.txt", as_text(results["completions"]) + "\n")
    write_text(report, render(results, draw_all(results, output_dir / "figures")))
    print(report)


def evaluate(args: FamilyArguments, output_dir: Path) -> None:
    """Write the results that the flags ask for; everything that can be wrong is looked at before a model is asked."""
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    comparisons = [MaskedComparison(args)] if args.models else []
    comparisons += [EmojiComparison(args)] if args.emoji_models else []
    for comparison in comparisons:
        check_new(output_dir, comparison.kinds(), args.overwrite)
    for comparison in comparisons:
        for result in comparison.results():
            write_result(output_dir, result)
            print(output_dir / f"{result['kind']}.json")


if __name__ == "__main__":
    run(main)
