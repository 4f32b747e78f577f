"""What one run compares: everything is opened and checked first, then computed with one model in memory at a time."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from transformers import AutoModelForMaskedLM

from training.common.errors import InputError
from training.common.progress import ProgressBar, say
from training.evaluation import emoji_matrix
from training.evaluation.arguments import EvaluateArguments, settings
from training.evaluation.completions import completion_table, read_phrases
from training.evaluation.intervals import clusters_of, notes_on_few
from training.evaluation.masked_texts import (
    MaskedTexts,
    behind_token,
    mask_tokens,
    read_test_texts,
    texts_outside,
    training_texts,
)
from training.evaluation.mlm_matrix import Targets, matrix_of, score_region
from training.evaluation.models import (
    ModelFolder,
    check_lengths,
    check_masked_models,
    check_own_corpora,
    check_same_vocabulary,
    check_unseen,
    open_folders,
    pick_device,
)
from training.evaluation.ngrams import NEAREST, OF_ALL, UNIGRAM, NgramBaselines
from training.evaluation.per_word import mask_words, word_predictions
from training.evaluation.predictions import Predictions, predict
from training.evaluation.region_words import count_whole_words, region_words
from training.evaluation.results import (
    ALL,
    WORDS,
    CompletionsResult,
    EmojiResult,
    MatrixResult,
    RegionWordsResult,
    Result,
    header,
)
from training.evaluation.wins import corrected
from training.evaluation.words import is_word
from training.texts.corpus import Corpus, open_corpora
from training.texts.encoding import encode
from training.texts.files import find_files

ByRegion = dict[str, dict[str, Predictions]]  # region of the texts -> model -> predictions
TEXTS_AT_ONCE = 10_000


def open_unseen_corpora(args: EvaluateArguments, folders: Sequence[ModelFolder]) -> dict[str, Corpus]:
    """Open the corpora of the flags by region; no model has seen their test part, as far as its folder says.

    Raises:
        InputError: as `open_corpora` and `check_unseen` do.
    """
    corpora = open_corpora(args.corpora, args.text_column, args.group_column, args.file_format)
    for folder in folders:
        check_unseen(folder, corpora, args.test_fraction)
    return corpora


class MaskedComparison:
    """Masked language models: the matrix, completions and, of two or more, the words of each region.

    Raises:
        InputError: for flags, models and texts that cannot be compared.
    """

    def __init__(self, args: EvaluateArguments):
        self.args = args
        self.device = pick_device()
        self.folders = open_folders(args.models)
        self.regions = {folder.name: folder.region for folder in self.folders}
        # The smallest vocabulary is the one that all have: the others add the tokens of regions to it.
        self.tokenizer = min((folder.tokenizer for folder in self.folders), key=len)
        check_masked_models(self.folders, args.top_k)
        if not args.per_word:
            check_same_vocabulary(self.folders)
            check_lengths(self.folders, args.max_length)
        corpora = open_unseen_corpora(args, self.folders)
        check_own_corpora(self.folders, corpora)
        self.all_texts = Corpus(
            find_files(args.baseline_files),
            text_column=args.text_column,
            group_column=args.group_column,
            file_format=args.file_format,
        )
        self.phrases = read_phrases(args.phrases)
        self.tests = [
            read_test_texts(region, corpus, args.test_fraction, args.max_test_texts)
            for region, corpus in corpora.items()
        ]
        self.notes: list[str] = []

    @property
    def matrix_kind(self) -> str:
        return "per_word_matrix" if self.args.per_word else "mlm_matrix"

    def kinds(self) -> list[str]:
        """The kinds of `results`, known before anything is computed."""
        words = [] if self.args.per_word or len(self.folders) == 1 else ["region_words"]
        return [self.matrix_kind, "completions", *words]

    def results(self) -> Iterator[Result]:
        targets, predictions = self.predict_words() if self.args.per_word else self.predict_tokens()
        yield self.matrix(targets, predictions)
        yield self.completions()
        if "region_words" in self.kinds():
            yield self.region_words(predictions)

    def header(self, kind: str) -> Result:
        return header(kind, settings(self.args), [folder.facts() for folder in self.folders], self.device)

    def predict_tokens(self) -> tuple[list[Targets], ByRegion]:
        """Mask tokens of each region's texts; return the targets and what models and baselines predict."""
        args = self.args
        masked = {
            test.region: mask_tokens(
                test, self.tokenizer, args.max_length, args.mlm_probability, args.mask_draws, args.seed
            )
            for test in self.tests
        }
        predictions = self.predict_all({folder.name: masked for folder in self.folders})
        self.add_baselines(masked, predictions)
        tokens = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        are_words = np.array([is_word(token) for token in tokens])
        targets = []
        for test in self.tests:
            ids, clusters = masked[test.region].targets, test.clusters()
            sets = {WORDS: are_words[ids], ALL: np.ones(len(ids), bool)}
            targets.append(Targets(test.region, ids, clusters[masked[test.region].texts], clusters.max() + 1, sets))
        return targets, predictions

    def predict_words(self) -> tuple[list[Targets], ByRegion]:
        """Mask whole words of each region's texts; return the targets and what models predict."""
        args = self.args
        masked = {
            test.region: mask_words(
                test, self.folders, args.max_length, args.mlm_probability, args.mask_draws, args.seed
            )
            for test in self.tests
        }
        predictions = self.predict_all(
            {
                folder.name: {region: words.rows[folder.name] for region, words in masked.items()}
                for folder in self.folders
            }
        )
        targets = []
        for test in self.tests:
            words, clusters = masked[test.region], test.clusters()
            number = len(words.texts)
            targets.append(
                Targets(
                    test.region,
                    np.arange(number),
                    clusters[words.texts],
                    clusters.max() + 1,
                    {WORDS: np.ones(number, bool)},
                )
            )
            if words.left_out:
                self.notes.append(
                    f"{words.left_out:,} words of {test.region} are left out: a tokenizer has no token for one of "
                    "their characters, joins them with their neighbours, or truncates the text before them."
                )
            for name, found in predictions[test.region].items():
                predictions[test.region][name] = word_predictions(found, words.sizes[name])
        return targets, predictions

    def predict_all(self, masked: dict[str, dict[str, MaskedTexts]]) -> ByRegion:
        """Predict, with every model, its rows of every region."""
        predictions: ByRegion = {test.region: {} for test in self.tests}
        for folder in self.folders:
            model = folder.open(AutoModelForMaskedLM, self.device)
            for region, rows in masked[folder.name].items():
                predictions[region][folder.name] = predict(
                    model,
                    behind_token(rows, folder.token_id),
                    folder.tokenizer.pad_token_id,
                    self.args.tokens_per_batch,
                    f"{folder.name} on {region}",
                )
            del model  # before the next one is opened
        return predictions

    def add_baselines(self, masked: dict[str, MaskedTexts], predictions: ByRegion) -> None:
        """Add the n-gram baselines of each region's training texts and, with `--baseline_files`, of those files."""
        args = self.args
        for test in self.tests:
            texts = training_texts(test.corpus, args.test_fraction, args.max_baseline_texts)
            if texts:
                own = self.fit_baselines(texts)
                predictions[test.region][UNIGRAM] = own.unigram(masked[test.region])
                predictions[test.region][NEAREST] = own.nearest(masked[test.region])
            else:
                self.notes.append(
                    f"No baselines of {test.region} alone: all its texts are test texts, none is left to learn from."
                )
        if self.all_texts.files:
            pooled = self.fit_baselines(texts_outside(self.all_texts, self.tests, args.test_fraction))
            say(f"--baseline_files: {self.all_texts.report.summary()}")
            for region, rows in masked.items():
                predictions[region][UNIGRAM + OF_ALL] = pooled.unigram(rows)
                predictions[region][NEAREST + OF_ALL] = pooled.nearest(rows)

    def fit_baselines(self, texts: Iterable[str]) -> NgramBaselines:
        """Fit n-grams on the texts, encoded some at a time so that millions of them fit into memory.

        Raises:
            InputError: if there is no text.
        """
        remaining, encoded = iter(texts), []
        while some := list(islice(remaining, TEXTS_AT_ONCE)):
            encoded += [np.array(ids, np.int32) for ids in encode(some, self.tokenizer, self.args.max_length)]
        if not encoded:
            raise InputError("--baseline_files: no text is outside the test part, so none is left to learn from")
        return NgramBaselines(encoded, len(self.tokenizer))

    def matrix(self, targets: list[Targets], predictions: ByRegion) -> MatrixResult:
        args = self.args
        bar = ProgressBar(targets, desc="intervals", unit=" regions")
        found = matrix_of(
            [score_region(own, predictions[own.region], self.regions, args.resamples, args.seed) for own in bar]
        )
        result: MatrixResult = {
            **self.header(self.matrix_kind),
            "corpora": [test.facts(len(own.ids)) for test, own in zip(self.tests, targets, strict=True)],
            "notes": self.notes,
            "cells": found.cells,
            "comparisons": found.comparisons,
            "wins": found.wins,
        }
        if found.seeds:
            result["seeds"] = found.seeds
        return result

    def completions(self) -> CompletionsResult:
        return {
            **self.header("completions"),
            "phrases": completion_table(self.folders, self.phrases, self.args.top_k),
        }

    def region_words(self, predictions: ByRegion) -> RegionWordsResult:
        size = len(self.tokenizer)
        means = {
            name: np.mean([by_model[name].known_means()[:size] for by_model in predictions.values()], axis=0)
            for name in self.regions
        }
        texts = (ids for test in self.tests for ids in encode(test.texts, self.tokenizer, self.args.max_length))
        words = region_words(means, count_whole_words(texts, self.tokenizer), self.tokenizer, self.args.top_words)
        return {**self.header("region_words"), "by_model": words}


class EmojiComparison:
    """Classifiers: the Emoji-15 matrix.

    Raises:
        InputError: for flags, models and texts that cannot be compared.
    """

    def __init__(self, args: EvaluateArguments):
        self.args = args
        self.device = pick_device()
        self.folders = open_folders(args.emoji_models)
        self.labels = emoji_matrix.label_names(self.folders)
        self.notes: list[str] = []
        if args.emoji_files:
            found = emoji_matrix.from_labelled_files(
                args.emoji_files,
                args.text_column,
                args.label_column,
                args.test_fraction,
                args.group_column,
                args.file_format,
            )
            own = {folder.region for folder in self.folders}
            self.tests, self.notes = emoji_matrix.with_enough_texts(found, own)
        else:
            self.tests = [
                emoji_matrix.from_raw_texts(region, corpus, args.test_fraction)
                for region, corpus in open_unseen_corpora(args, self.folders).items()
            ]
        check_own_corpora(self.folders, [test.region for test in self.tests])
        emoji_matrix.check_labels(self.tests, self.labels)
        for test in self.tests:
            self.notes += notes_on_few(len(set(clusters_of(test.authors))), f"{test.drawn} of {test.region}")
        for note in self.notes:
            say(note)
        self.baselines = emoji_matrix.baseline_cells(args.emoji_baselines, self.tests)

    def kinds(self) -> list[str]:
        return ["emoji15_matrix"]

    def results(self) -> Iterator[EmojiResult]:
        args = self.args
        guesses = {
            folder.name: emoji_matrix.classify(folder, self.tests, self.labels, args.tokens_per_batch, self.device)
            for folder in self.folders
        }
        regions = {folder.name: folder.region for folder in self.folders}
        scores = []
        for number, test in enumerate(self.tests):
            of_region = {name: found[number] for name, found in guesses.items()}
            scores.append(emoji_matrix.score_region(test, of_region, self.labels, regions, args.resamples, args.seed))
        facts = [folder.facts() for folder in self.folders]
        yield {
            **header("emoji15_matrix", settings(args), facts, self.device),
            "labels": self.labels,
            "corpora": [test.facts() for test in self.tests],
            "notes": self.notes,
            "cells": [cell for region in scores for cell in region.cells] + self.baselines,
            "comparisons": [entry for region in scores for entry in region.comparisons],
            "wins": corrected([win for region in scores for win in region.wins]),
        }
