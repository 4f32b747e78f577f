"""Measure what a model has to beat: simple methods on the same texts and the same parts as `finetune.py`.

    python training/baselines.py --task emoji15 --train_file mx.jsonl.gz --output_dir baselines-mx
    python training/baselines.py --task emoji15 --label_column label --region mx --train_file emoji15.jsonl.gz \
        --output_dir baselines-mx
    python training/baselines.py --task tokens --train_file train.conll --validation_file dev.conll \
        --test_file test.conll --output_dir baselines-loanwords

Each method gets a folder with a metrics.json as `finetune.py` writes it and, for classes of texts, test_guesses.json
for compare_classifiers.py. For classes of texts: the commonest label; TF-IDF of characters, of words, and of both with
a linear classifier; of both, for texts of several regions, with a classifier of each region that learns from its texts
alone (`regional_tfidf`); of both, learnt from the texts of all regions (`pooled_tfidf`, which differs only with
--region); the mean fastText vector of a text's words with a linear classifier. For tags of words: `O` for every word,
and a conditional random field. Validation accuracy chooses how strongly a linear classifier is regularised. Needs
`pip install -e ".[baselines,tagging]"`.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.common.arguments import parse_arguments
from training.common.errors import InputError, run
from training.common.files import write_folder, write_json
from training.common.locks import only_run_in
from training.common.progress import ProgressBar, say
from training.finetuning.baselines import (
    METHODS,
    SEEDED,
    TOKEN_METHODS,
    BaselineArguments,
    check_arguments,
    check_embedding_files,
    methods_of_texts,
    methods_of_words,
)
from training.finetuning.folds import all_tests, authors_of, cross_validation
from training.finetuning.guesses import GUESSES_FILE, describe_guesses
from training.finetuning.scores import (
    Scores,
    classification_scores,
    describe_folds,
    describe_result,
    describe_texts,
    entity_scores,
    one_line,
)
from training.texts.labelled import LabelledSplits, label_ids, open_labelled
from training.texts.tagged import TOKEN_TASK, TaggedSplits, open_tagged

SCORED = ("validation", "test")


def main() -> None:
    args = parse_arguments(BaselineArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir).resolve()
    with only_run_in(output_dir):
        check_replaceable(output_dir, args.overwrite)
        with write_folder(output_dir) as folder:
            if args.task == TOKEN_TASK:
                splits = open_tagged(args)
                say(describe_texts(splits))
                measure_taggers(splits, folder)
            else:
                measure_classifiers(args, folder)


def measure_taggers(splits: TaggedSplits, folder: Path) -> None:
    for method, predict in methods_of_words(splits).items():
        predicted = predict(0)
        scores = {part: entity_scores(splits.parts()[part].tags, predicted[part]) for part in SCORED}
        write_metrics(folder / method, splits, [{"seed": 0, **scores}], "f1")


def measure_classifiers(args: BaselineArguments, folder: Path) -> None:
    """Write metrics.json and test_guesses.json of every method."""
    check_embedding_files(args)
    splits = open_labelled(args)
    say(describe_texts(splits))
    pooled = open_labelled(replace(args, region=None)) if args.region else splits
    authors, methods = authors_of(splits), methods_of_texts(args, splits, pooled)
    # Folds of one region and of all are cut by the same hashes, so that no test text of the one is in training.
    folds, pooled_folds = (cross_validation(part, args.folds) if args.folds else [] for part in (splits, pooled))
    of_folds = [methods_of_texts(args, *both) for both in zip(folds, pooled_folds, strict=True)]
    for method, predict in ProgressBar(methods.items(), "methods"):
        seeds = args.seeds if method in SEEDED else args.seeds[:1]
        predicted = {seed: predict(seed) for seed in seeds}
        runs = [{"seed": seed, **scores_of(splits, found)} for seed, found in predicted.items()]
        test, by_seed = splits.test, {seed: found["test"] for seed, found in predicted.items()}
        if folds:
            test = all_tests(folds)
            by_seed = {seed: np.concatenate([fold[method](seed)["test"] for fold in of_folds]) for seed in seeds}
        guesses = describe_guesses(splits.task, method, splits.label_names, test, authors, by_seed, folds=args.folds)
        facts = {"cross_validation": describe_folds(args.folds, guesses)} if folds else {}
        write_metrics(folder / method, splits, runs, "accuracy", facts)
        write_json(folder / method / GUESSES_FILE, guesses)


def scores_of(splits: LabelledSplits, predicted: dict[str, np.ndarray]) -> dict[str, Scores]:
    """Score the predictions of a method for each part that is scored."""
    return {
        part: classification_scores(
            label_ids(splits.parts()[part], splits.label_names, part), predicted[part], len(splits.label_names)
        )
        for part in SCORED
    }


def write_metrics(
    folder: Path,
    splits: LabelledSplits | TaggedSplits,
    runs: list[dict[str, Any]],
    metric: str,
    facts: dict[str, Any] | None = None,
) -> None:
    """Make the folder of a method, with its metrics.json, and print the scores."""
    folder.mkdir()
    metrics = describe_result(folder.name, splits, runs, torch.device("cpu"), metric) | (facts or {})
    write_json(folder / "metrics.json", metrics)
    say(f"{folder.name}: {one_line(metrics)}")


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
