"""What is asked: the test part of each region's corpus, and which of its tokens are hidden.

Everything is a function of the seed and of each text alone, never of order, batch or model: every model is asked the
same positions, and a rerun gives the same numbers.
"""

import heapq
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase

from training.common.errors import InputError
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.splits import is_test, split_hash, text_hash

# What the text rules write for a link, a user and a hashtag (`_url`, `_usr`, `_htag`), token by token.
PLACEHOLDERS = {"_", "url", "usr", "htag"}
FEWEST_TEXTS = 10  # below this a bootstrap interval says nothing


@dataclass
class AskedTexts:
    """The test part of one region's corpus, in the order of the texts' hashes, every text once."""

    region: str
    corpus: Corpus
    texts: list[str]
    hashes: list[int]


@dataclass
class Question:
    """One row for a model: token ids with masks in them, where those are, and what stood there."""

    text: int  # its number in the test set
    input_ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray


@dataclass
class Questions:
    """All rows of one test set; `targets` and `texts` are flat, one for each hidden token, in the rows' order."""

    rows: list[Question]
    number_of_texts: int
    targets: np.ndarray = field(init=False)
    texts: np.ndarray = field(init=False)

    def __post_init__(self):
        self.targets = np.concatenate([row.targets for row in self.rows])
        self.texts = np.repeat([row.text for row in self.rows], [len(row.targets) for row in self.rows])


def sided(corpus: Corpus, test_fraction: float) -> Iterator[tuple[bool, str]]:
    """Every text, after whether it is in the test part, by its group or itself."""
    bar = tqdm(
        corpus.grouped(), desc=f"reading {', '.join(corpus.names())}", unit=" texts", unit_scale=True, leave=False
    )
    return ((is_test(split_hash(text, group), test_fraction), text) for text, group in bar)


def texts_to_ask(region: str, corpus: Corpus, test_fraction: float, most: int) -> AskedTexts:
    """The texts that `pretrain.py` keeps out with the same `test_fraction`; of more than `most`, those of the highest
    hashes.

    Raises:
        InputError: if there is none, or too few for an interval.
    """
    kept_out = ((text_hash(text), text) for for_test, text in sided(corpus, test_fraction) if for_test)
    kept = heapq.nlargest(most, kept_out)
    tqdm.write(f"{region}: {corpus.report.summary()}")
    by_hash = dict(sorted(kept, reverse=True))  # of duplicates, the first in the alphabet
    if not by_hash:
        raise InputError(
            f"{', '.join(corpus.names())}: the test set is empty, none of the texts is in the test part of "
            f"{test_fraction:g}: give more texts or a larger --test_fraction (1 for a corpus to test on as a whole)"
        )
    if len(by_hash) < FEWEST_TEXTS:
        raise InputError(
            f"{', '.join(corpus.names())}: {len(by_hash)} texts are in the test part of {test_fraction:g}, and an "
            f"interval needs {FEWEST_TEXTS}: give more texts, or a larger --test_fraction"
        )
    hashes = sorted(by_hash)
    return AskedTexts(region, corpus, [by_hash[value] for value in hashes], hashes)


def training_texts(corpus: Corpus, test_fraction: float, most: int) -> list[str]:
    """What baselines learn from: texts outside the test part that no other group has in it; of more than `most`, those
    of the lowest hashes."""
    held_out = {text_hash(text) for for_test, text in sided(corpus, test_fraction) if for_test}
    pairs = ((text_hash(text), text) for for_test, text in sided(corpus, test_fraction) if not for_test)
    return [text for _, text in heapq.nsmallest(most, (pair for pair in pairs if pair[0] not in held_out))]


def choose(candidates: np.ndarray, share: float, text_hash: int, draw: int, seed: int) -> np.ndarray:
    """A share of the candidates, at least one, in ascending order: a function of the seed, the text and the draw."""
    rng = np.random.default_rng((seed, draw, text_hash))
    return np.sort(rng.permutation(candidates)[: max(1, round(share * len(candidates)))])


def masked_tokens(
    test: AskedTexts,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    mlm_probability: float,
    mask_draws: int,
    seed: int,
) -> Questions:
    """Hide a share of each text's tokens, several times over.

    Every chosen token becomes [MASK]. In training a tenth of them stay and a tenth become a random token, but those
    two are other questions (copying, and doubting what is seen), so they have no place in a comparison. Special tokens
    are never asked, nor is [UNK], as in training.

    Raises:
        InputError: if no text has a token to ask.
    """
    special = tokenizer.all_special_ids
    rows = []
    for number, ids in enumerate(encode(test.texts, tokenizer, max_length)):
        ids = np.array(ids)
        candidates = np.flatnonzero(~np.isin(ids, special))
        if not len(candidates):
            continue
        for draw in range(mask_draws):
            positions = choose(candidates, mlm_probability, test.hashes[number], draw, seed)
            rows.append(hide(number, ids, positions, tokenizer.mask_token_id))
    if not rows:
        raise InputError(f"{', '.join(test.corpus.names())}: the test set is empty, no text has a token to ask")
    return Questions(rows, len(test.texts))


def hide(text: int, ids: np.ndarray, positions: np.ndarray, mask_id: int) -> Question:
    shown = ids.copy()
    shown[positions] = mask_id
    return Question(text, shown, positions, ids[positions])


def behind_token(questions: Questions, token_id: int) -> Questions:
    """The same questions, with one token more after the first one, `[START]`, of every row."""
    rows = [
        Question(row.text, np.insert(row.input_ids, 1, token_id), row.positions + 1, row.targets)
        for row in questions.rows
    ]
    return Questions(rows, questions.number_of_texts)


def is_trivial(token: str) -> bool:
    """Whether a token is a placeholder's piece, punctuation, or a mark that belongs to the sign before it.

    Such tokens are guessed from their neighbours in any region and raise an accuracy without saying much.
    """
    return token in PLACEHOLDERS or all(unicodedata.category(character)[0] in "PMC" for character in token)
