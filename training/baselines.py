"""Measure what a model has to beat: simple methods on the same texts and the same parts as `finetune.py`.

    python training/baselines.py --task emoji15 --train_file mx.jsonl.gz --output_dir baselines-mx
    python training/baselines.py --task emoji15 --label_column label --region mx --train_file emoji15.jsonl.gz \
        --output_dir baselines-mx
    python training/baselines.py --task tokens --train_file train.conll --validation_file dev.conll \
        --test_file test.conll --output_dir baselines-loanwords

Each method gets a folder with a metrics.json as `finetune.py` writes it. For classes of texts: the commonest label;
TF-IDF of characters, of words, and of both with a linear classifier; that of both learnt from the texts of all regions
(`pooled_tfidf`, which differs only with --region); the mean fastText vector of a text's words with a linear one. For
tags of words: `O` for every word, and a conditional random field. Validation accuracy chooses how strongly a linear
classifier is regularised. Needs `pip install "modeling-bilma[baselines,tagging]"`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.common.arguments import parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import replace_folder, write_json
from training.finetuning.baselines import (
    METHODS,
    TOKEN_METHODS,
    BaselineArguments,
    check_arguments,
    methods_of_texts,
    methods_of_words,
)
from training.finetuning.scores import Scores, classification_scores, describe_result, entity_scores, one_line
from training.texts.labelled import LabelledSplits, label_ids, open_labelled
from training.texts.tagged import TOKEN_TASK, TaggedSplits, open_tagged

SCORED = ("validation", "test")


def main() -> None:
    args = parse_arguments(BaselineArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    check_replaceable(output_dir, args.overwrite)
    splits: LabelledSplits | TaggedSplits
    methods: dict[str, Callable[[], Any]]
    if args.task == TOKEN_TASK:
        splits = open_tagged(args)
        methods, metric = methods_of_words(splits), "f1"
    else:
        splits = open_labelled(args)
        pooled = open_labelled(replace(args, region=None)) if args.region else splits
        methods, metric = methods_of_texts(args, splits, pooled), "accuracy"
    with as_input_error(OSError), replace_folder(output_dir) as folder:
        for method, predict in tqdm(methods.items(), "methods", leave=False):
            scores = {part: score(splits, part, predicted) for part, predicted in predict().items() if part in SCORED}
            outcome = {"seed": args.seed, **scores}
            (folder / method).mkdir()
            write_json(
                folder / method / "metrics.json",
                describe_result(method, splits, [outcome], torch.device("cpu"), metric),
            )
            tqdm.write(f"{method}: {one_line(scores)}")


def score(splits: LabelledSplits | TaggedSplits, part: str, predicted: Any) -> Scores:
    """Score the predictions of a method for the texts of a part."""
    if isinstance(splits, TaggedSplits):
        return entity_scores(splits.parts()[part].tags, predicted)
    right = label_ids(splits.parts()[part], splits.label_names, part)
    return classification_scores(right, predicted, len(splits.label_names))


def check_replaceable(output_dir: Path, overwrite: bool) -> None:
    """Check that the folder is new or empty, or holds baselines that may be replaced.

    Raises:
        InputError: if it holds something else, or baselines without `overwrite`.
    """
    is_new = not output_dir.exists() or (output_dir.is_dir() and not any(output_dir.iterdir()))
    is_own = output_dir.is_dir() and {path.name for path in output_dir.iterdir()} <= {*METHODS, *TOKEN_METHODS}
    if not (is_new or (is_own and overwrite)):
        again = ", or --overwrite to replace what it holds" if is_own else ""
        raise InputError(f"{output_dir} exists already: give a new or empty folder as --output_dir{again}")


if __name__ == "__main__":
    run(main)
