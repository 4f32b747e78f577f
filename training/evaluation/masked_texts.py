"""Test texts with masked tokens: which texts each region is tested on, and which of their tokens are masked.

Everything is a function of the seed and of each text alone, never of order, batch or model: every model predicts the
same positions, and a rerun gives the same numbers.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from transformers import TokenizersBackend

from training.common.errors import InputError
from training.common.progress import ProgressBar, say
from training.evaluation.intervals import clusters_of
from training.evaluation.results import CorpusFacts
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.splits import is_test, split_hash, text_hash

FEWEST_RESAMPLED = 10  # texts or authors; with fewer, a bootstrap interval means nothing


@dataclass
class TestTexts:
    """The test part of one region's corpus, in the order of the texts' hashes, each text once.

    `authors` has the author of each text, None where none is named.
    """

    __test__ = False  # for pytest: not a test case

    region: str
    corpus: Corpus
    texts: list[str]
    hashes: list[int]
    authors: list[str | None]

    @property
    def names(self) -> str:
        return ", ".join(self.corpus.names())

    @property
    def has_authors(self) -> bool:
        return any(author is not None for author in self.authors)

    def clusters(self) -> np.ndarray:
        """(texts,): the number of each text's cluster, which the bootstrap draws whole: its author, else itself."""
        return clusters_of(self.authors)

    def facts(self, targets: int) -> CorpusFacts:
        """What a result says about these texts, of which `targets` tokens or words were masked."""
        return {
            "region": self.region,
            "names": self.corpus.names(),
            "fingerprint": self.corpus.fingerprint,
            "test_texts": len(self.texts),
            "resampled": "authors" if self.has_authors else "texts",
            "authors": len(set(self.authors) - {None}) if self.has_authors else None,
            "targets": targets,
        }


@dataclass
class MaskedText:
    """One row for a model: token ids with masks in them, the positions of the masks, and the original tokens."""

    text: int  # its number among the test texts
    input_ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray


@dataclass
class MaskedTexts:
    """All rows of one test set; `targets` and `texts` are flat, one entry per masked token, in the rows' order."""

    rows: list[MaskedText]
    targets: np.ndarray = field(init=False)
    texts: np.ndarray = field(init=False)

    def __post_init__(self):
        self.targets = np.concatenate([row.targets for row in self.rows])
        self.texts = np.repeat([row.text for row in self.rows], [len(row.targets) for row in self.rows])


def split_texts(corpus: Corpus, test_fraction: float) -> Iterator[tuple[bool, str, str | None]]:
    """Iterate over the texts: whether each is in the test part (by its group, else by itself), the text, its group."""
    bar = ProgressBar(corpus.grouped(), f"reading {', '.join(corpus.names())}", unit=" texts", unit_scale=True)
    return ((bool(is_test(split_hash(text, group), test_fraction)), text, group) for text, group in bar)


def read_test_texts(region: str, corpus: Corpus, test_fraction: float, most: int) -> TestTexts:
    """Read the texts that `pretrain.py` holds out with the same `test_fraction`.

    Of more than `most` texts, keep those of the highest hashes.

    Raises:
        InputError: if there is none, or too few texts or authors for an interval.
    """
    held_out = (
        (text_hash(text), text, author or "")
        for for_test, text, author in split_texts(corpus, test_fraction)
        if for_test
    )
    kept = heapq.nlargest(most, held_out)
    say(f"{region}: {corpus.report.summary()}")
    by_hash = {hash_: (text, author or None) for hash_, text, author in sorted(kept, reverse=True)}
    hashes = sorted(by_hash)
    texts = [by_hash[hash_][0] for hash_ in hashes]
    test = TestTexts(region, corpus, texts, hashes, [by_hash[hash_][1] for hash_ in hashes])
    if not texts:
        raise InputError(
            f"{test.names}: the test set is empty, none of the texts is in the test part of "
            f"{test_fraction:g}: give more texts or a larger --test_fraction (1 for a corpus to test on as a whole)"
        )
    if (clusters := len(set(test.clusters()))) < FEWEST_RESAMPLED:
        raise InputError(
            f"{test.names}: {clusters} {'authors' if test.has_authors else 'texts'} are in the test part of "
            f"{test_fraction:g}, and an interval needs {FEWEST_RESAMPLED}: give more texts or a larger --test_fraction"
        )
    return test


def training_texts(corpus: Corpus, test_fraction: float, most: int) -> list[str]:
    """Read what a region's baselines learn from: texts outside the test part and no duplicates of texts inside it.

    Of more than `most` texts, keep those of the lowest hashes.
    """
    held_out = {text_hash(text) for for_test, text, _ in split_texts(corpus, test_fraction) if for_test}
    pairs = ((text_hash(text), text) for for_test, text, _ in split_texts(corpus, test_fraction) if not for_test)
    return [text for _, text in heapq.nsmallest(most, (pair for pair in pairs if pair[0] not in held_out))]


def texts_outside(corpus: Corpus, tests: list[TestTexts], test_fraction: float) -> Iterator[str]:
    """Iterate over the texts of a corpus that share neither text nor author with the test texts.

    Texts in the test part of `test_fraction` are left out too; with 1 no corpus was split, and the test texts decide.
    """
    hashes = {hash_ for test in tests for hash_ in test.hashes}
    authors = {author for test in tests for author in test.authors if author is not None}
    for for_test, text, author in split_texts(corpus, test_fraction):
        if not (for_test and test_fraction < 1) and author not in authors and text_hash(text) not in hashes:
            yield text


def choose(candidates: np.ndarray, share: float, text_hash: int, draw: int, seed: int) -> np.ndarray:
    """Choose a share of the candidates, at least one, in ascending order, by the seed, the text and the draw alone."""
    rng = np.random.default_rng((seed, draw, text_hash))
    return np.sort(rng.permutation(candidates)[: max(1, round(share * len(candidates)))])


def mask_tokens(
    test: TestTexts,
    tokenizer: TokenizersBackend,
    max_length: int,
    mlm_probability: float,
    mask_draws: int,
    seed: int,
) -> MaskedTexts:
    """Mask a share of each text's tokens, `mask_draws` times over.

    Every chosen token becomes [MASK]. In training a tenth may stay and a tenth become a random token, but copying and
    detecting noise are other tasks, so they have no place in a comparison. Special tokens are never chosen, nor is
    [UNK], as in training.

    Raises:
        InputError: if no text has a token to mask.
    """
    special = tokenizer.all_special_ids
    rows = []
    for number, ids in enumerate(map(np.array, encode(test.texts, tokenizer, max_length))):
        candidates = np.flatnonzero(~np.isin(ids, special))
        if not len(candidates):
            continue
        for draw in range(mask_draws):
            positions = choose(candidates, mlm_probability, test.hashes[number], draw, seed)
            rows.append(mask(number, ids, positions, tokenizer.mask_token_id))
    if not rows:
        raise InputError(f"{test.names}: the test set is empty, no text has a token to mask")
    return MaskedTexts(rows)


def mask(text: int, ids: np.ndarray, positions: np.ndarray, mask_id: int) -> MaskedText:
    masked = ids.copy()
    masked[positions] = mask_id
    return MaskedText(text, masked, positions, ids[positions])


def behind_token(masked: MaskedTexts, token_id: int | None) -> MaskedTexts:
    """The same rows with a region's token after the first one, `[START]`; as they are for None."""
    if token_id is None:
        return masked
    return MaskedTexts(
        [
            MaskedText(row.text, np.insert(row.input_ids, 1, token_id), row.positions + 1, row.targets)
            for row in masked.rows
        ]
    )
