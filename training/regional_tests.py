"""Test what masked language models know of regional Spanish: words, grammar and false friends.

    python training/regional_tests.py --models models/bilma --tests regional_tests --output_dir results
    python training/regional_tests.py --models bilma-mx bilma-ar beto --output_dir results

Any masked language model with a fast tokenizer can be tested; a model with regional parts is tested without a region
and behind the token of each. `regional_tests.json` gets the results, `figures` a picture of them, and `report.md`
shows them beside the other results of the folder. This runs the model code that lies beside foreign weights.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from pathlib import Path

import torch

from training.common.arguments import check_each, parse_arguments
from training.common.errors import run
from training.common.locks import only_run_in
from training.evaluation.arguments import RegionalTestsArguments, check_resamples
from training.evaluation.models import check_masked_models, open_folders, pick_device
from training.evaluation.regional_knowledge import KnowledgeTable, read_items, score_forms
from training.evaluation.report import check_replaceable, write_report
from training.evaluation.results import RegionalTestsResult, check_new, header, write_result

KIND = "regional_tests"


def main() -> None:
    args = parse_arguments(RegionalTestsArguments, __doc__.splitlines()[0])
    check_each(args, "1 or more", "tokens_per_batch", "num_threads")
    check_each(args, "from 0 to below 2^32", "seed")
    check_resamples(args.resamples)
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir):
        check_new(output_dir, [KIND], args.overwrite)
        check_replaceable(output_dir / "report.md")
        if args.num_threads:
            torch.set_num_threads(args.num_threads)

        items, fingerprint = read_items(Path(args.tests))
        columns = open_folders(args.models)
        check_masked_models(columns, top_k=1)
        device = pick_device()
        scores = score_forms(items, columns, args.tokens_per_batch, device)
        cells = KnowledgeTable(items, columns, scores, args.resamples, args.seed).cells()

        settings = {"resamples": args.resamples, "seed": args.seed}
        result: RegionalTestsResult = {
            **header(KIND, settings, [column.facts() for column in columns], device),
            "fingerprint": fingerprint,
            "items": len(items),
            "cells": cells,
        }
        print(write_result(output_dir, result))
        print(write_report(output_dir))


if __name__ == "__main__":
    run(main)
