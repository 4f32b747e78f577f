"""What one run compares: opened and checked first, then computed, with one model in memory at a time."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm
from transformers import AutoModelForMaskedLM

from training.common.errors import InputError
from training.evaluation import emoji_matrix
from training.evaluation.arguments import FamilyArguments, settings
from training.evaluation.completions import completion_table, read_phrases
from training.evaluation.masked_scores import Answers, ask
from training.evaluation.mlm_matrix import Asked, region_cells
from training.evaluation.models import (
    ModelFolder,
    check_lengths,
    check_masked_models,
    check_own_corpora,
    check_region_tokens,
    check_same_vocabulary,
    check_unseen,
    open_folders,
    pick_device,
)
from training.evaluation.ngrams import NEAREST, UNIGRAM, NgramBaselines
from training.evaluation.per_word import masked_words, word_answers
from training.evaluation.questions import (
    AskedTexts,
    Questions,
    behind_token,
    is_trivial,
    masked_tokens,
    texts_to_ask,
    training_texts,
)
from training.evaluation.region_words import count_whole_words, region_words
from training.evaluation.results import WAYS, corpus_facts, header
from training.evaluation.similarity import similarity
from training.texts.corpus import Corpus, open_corpora
from training.texts.encoding import encode
from training.texts.regions import has_region_tokens, region_token_id

Result = dict[str, Any]
ByRegion = dict[str, dict[str, Answers]]  # region of the texts -> model -> answers


def open_unseen_corpora(args: FamilyArguments, folders: Sequence[ModelFolder]) -> dict[str, Corpus]:
    """The corpora of the flags by region, of whose test part no model has seen a text as far as its folder says.

    Raises:
        InputError: as `open_corpora` and `check_unseen` do.
    """
    corpora = open_corpora(args.corpora, args.text_column, args.group_column, args.file_format)
    for folder in folders:
        check_unseen(folder, corpora, args.test_fraction)
    return corpora


class MaskedComparison:
    """Masked language models: the matrix, completions, and, of two or more, region words and similarity.

    Raises:
        InputError: for anything in the flags, models and texts that makes no comparison.
    """

    def __init__(self, args: FamilyArguments):
        self.args = args
        self.device = pick_device()
        self.folders = open_folders(args.models)
        self.regions = {folder.name: folder.region for folder in self.folders}
        check_masked_models(self.folders, args.top_k)
        if not args.per_word:
            check_same_vocabulary(self.folders)
            check_lengths(self.folders, args.max_length)
        self.corpora = open_unseen_corpora(args, self.folders)
        check_own_corpora(self.folders, self.corpora)
        check_region_tokens(self.folders, self.corpora)
        if args.own_region:
            self.leave_out_regions_without_ways()
        self.phrases = read_phrases(args.phrases)
        self.tests = [
            texts_to_ask(region, corpus, args.test_fraction, args.max_test_texts)
            for region, corpus in self.corpora.items()
        ]
        self.notes: list[str] = []

    def asked_about(self, region: str) -> list[ModelFolder]:
        """With `--own_region`, the models of the region and those of none."""
        return [folder for folder in self.folders if not self.args.own_region or folder.region in (None, region)]

    def leave_out_regions_without_ways(self) -> None:
        self.corpora = {region: corpus for region, corpus in self.corpora.items() if len(self.asked_about(region)) > 1}
        if not self.corpora:
            raise InputError("--own_region: of no region there are two models or more to compare: give others")

    def kinds(self) -> list[str]:
        """Of the results to come."""
        if self.args.own_region:
            return [WAYS]
        several = ["similarity"] if self.args.per_word else ["region_words", "similarity"]
        matrix = "per_word_matrix" if self.args.per_word else "mlm_matrix"
        return [matrix, "completions", *(several if len(self.folders) > 1 else [])]

    def results(self) -> Iterator[Result]:
        asked, answers, corpora = self.ask_words() if self.args.per_word else self.ask_tokens()
        yield self.matrix(asked, answers, corpora)
        if self.args.own_region:
            return
        yield self.header("completions") | {"phrases": completion_table(self.folders, self.phrases, self.args.top_k)}
        if len(self.folders) > 1:
            if not self.args.per_word:
                yield self.region_words(answers)
            yield self.similarity(asked, answers)

    def header(self, kind: str) -> Result:
        return header(kind, settings(self.args), self.folders, self.device)

    def ask_tokens(self) -> tuple[list[Asked], ByRegion, list[Result]]:
        """What was asked of each region, what models and baselines answered, and facts about the corpora."""
        args, tokenizer = self.args, self.folders[0].tokenizer
        questions = {
            test.region: masked_tokens(
                test, tokenizer, args.max_length, args.mlm_probability, args.mask_draws, args.seed
            )
            for test in self.tests
        }
        answers = self.ask_models({folder.name: questions for folder in self.folders})
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        trivial = np.array([is_trivial(token) for token in tokens])
        asked, corpora = [], []
        for test in self.tests:
            own = questions[test.region]
            asked.append(Asked(test.region, own.targets, own.texts, own.number_of_texts, trivial[own.targets]))
            corpora.append(corpus_facts(test) | {"targets": len(own.targets)})
            answers[test.region] |= self.baselines(test, own)
        return asked, answers, corpora

    def ask_words(self) -> tuple[list[Asked], ByRegion, list[Result]]:
        args = self.args
        questions = {
            test.region: masked_words(
                test, self.folders, args.max_length, args.mlm_probability, args.mask_draws, args.seed
            )
            for test in self.tests
        }
        by_model = {
            folder.name: {region: words.rows[folder.name] for region, words in questions.items()}
            for folder in self.folders
        }
        answers = self.ask_models(by_model)
        asked, corpora = [], []
        for test in self.tests:
            words = questions[test.region]
            number = len(words.texts)
            asked.append(Asked(test.region, np.arange(number), words.texts, len(test.texts), np.zeros(number, bool)))
            corpora.append(corpus_facts(test) | {"targets": number})
            if words.left_out:
                self.notes.append(
                    f"{words.left_out:,} words of {test.region} were left out: some tokenizer does not know a sign of "
                    "them, cuts them together with their neighbours, or cuts the text before them."
                )
            for name, answer in answers[test.region].items():
                answers[test.region][name] = word_answers(answer, words.sizes[name])
        return asked, answers, corpora

    def ask_models(self, questions: dict[str, dict[str, Questions]]) -> ByRegion:
        """Answers of every model to its rows for every region."""
        answers: ByRegion = {test.region: {} for test in self.tests}
        for folder in self.folders:
            model = folder.open(AutoModelForMaskedLM, self.device)
            for region, rows in questions[folder.name].items():
                if folder not in self.asked_about(region):
                    continue
                if has_region_tokens(folder.config):
                    rows = behind_token(rows, region_token_id(folder.tokenizer, region))
                description = f"{folder.name} on {region}"
                answers[region][folder.name] = ask(
                    model, rows, folder.tokenizer.pad_token_id, self.args.tokens_per_batch, description
                )
            del model  # before the next one comes
        return answers

    def baselines(self, test: AskedTexts, questions: Questions) -> dict[str, Answers]:
        args, tokenizer = self.args, self.folders[0].tokenizer
        texts = training_texts(test.corpus, args.test_fraction, args.max_baseline_texts)
        if not texts:
            self.notes.append(f"No baselines for {test.region}: all its texts are asked, none is left to learn from.")
            return {}
        fitted = NgramBaselines(encode(texts, tokenizer, args.max_length), len(tokenizer))
        return {UNIGRAM: fitted.unigram(questions), NEAREST: fitted.nearest(questions)}

    def matrix(self, asked: list[Asked], answers: ByRegion, corpora: list[Result]) -> Result:
        cells, comparisons = [], []
        for own in tqdm(asked, desc="intervals", unit=" regions", leave=False):
            found = region_cells(
                own,
                answers[own.region],
                self.regions,
                self.args.resamples,
                self.args.seed,
                every_pair=self.args.own_region,
            )
            cells += found[0]
            comparisons += found[1]
        return self.header(self.kinds()[0]) | {
            "corpora": corpora,
            "notes": self.notes,
            "cells": cells,
            "comparisons": comparisons,
        }

    def region_words(self, answers: ByRegion) -> Result:
        means = {
            name: np.mean([by_model[name].mean_log_probabilities for by_model in answers.values()], axis=0)
            for name in self.regions
        }
        tokenizer = self.folders[0].tokenizer
        texts = (ids for test in self.tests for ids in encode(test.texts, tokenizer, self.args.max_length))
        words = region_words(means, count_whole_words(texts, tokenizer), tokenizer, self.args.top_words)
        return self.header("region_words") | {"by_model": words}

    def similarity(self, asked: list[Asked], answers: ByRegion) -> Result:
        firsts = np.cumsum([0, *(own.number_of_texts for own in asked)])
        texts = np.concatenate([own.texts + first for own, first in zip(asked, firsts, strict=False)])
        log_probabilities = {
            name: np.concatenate([answers[own.region][name].log_probability for own in asked]) for name in self.regions
        }
        found = similarity(log_probabilities, texts, self.args.resamples, self.args.seed)
        return self.header("similarity") | {"targets": len(texts)} | found


class EmojiComparison:
    """Classifiers: the Emoji-15 matrix.

    Raises:
        InputError: for anything in the flags, models and texts that makes no comparison.
    """

    def __init__(self, args: FamilyArguments):
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
        self.baselines = emoji_matrix.baseline_cells(args.emoji_baselines, self.tests)

    def kinds(self) -> list[str]:
        return ["emoji15_matrix"]

    def results(self) -> Iterator[Result]:
        args = self.args
        guesses = {
            folder.name: emoji_matrix.classify(folder, self.tests, self.labels, args.tokens_per_batch, self.device)
            for folder in self.folders
        }
        regions = {folder.name: folder.region for folder in self.folders}
        cells, comparisons = [], []
        for number, test in enumerate(self.tests):
            of_region = {name: found[number] for name, found in guesses.items()}
            found = emoji_matrix.region_cells(test, of_region, self.labels, regions, args.resamples, args.seed)
            cells += found[0]
            comparisons += found[1]
        yield header("emoji15_matrix", settings(args), self.folders, self.device) | {
            "labels": self.labels,
            "corpora": [test.facts() for test in self.tests],
            "notes": self.notes,
            "cells": cells + self.baselines,
            "comparisons": comparisons,
        }
