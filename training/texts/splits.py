"""Which texts are for training, which for validation and which for testing: a function of one hash alone, that of the
text's group (`--group_column`) or, without one, of the text.

Every script cuts a corpus in the same place, so what `pretrain.py` never saw is what the evaluation asks, and a text
and its duplicates are on one side for good, however the corpus grows.
"""

import hashlib
from collections.abc import Iterable
from itertools import chain

import numpy as np

from modeling_bilma.tokenization_bilma import normalize, normalize_all
from training.texts.encoding import groups_of

HASH_RANGE = 2**63  # of training.texts.corpus.split_hash


def is_validation(hashes: np.ndarray | int, validation_fraction: float) -> np.ndarray | bool:
    """Whether a text belongs to the share of texts with the lowest hashes."""
    return hashes < int(validation_fraction * HASH_RANGE)


def is_test(hashes: np.ndarray | int, test_fraction: float) -> np.ndarray | bool:
    """Whether a text belongs to the share of texts with the highest hashes."""
    return hashes >= HASH_RANGE - int(test_fraction * HASH_RANGE)


def is_training(hashes: np.ndarray | int, validation_fraction: float, test_fraction: float) -> np.ndarray | bool:
    """Whether a text belongs to neither of the two."""
    return ~(is_validation(hashes, validation_fraction) | is_test(hashes, test_fraction))


def duplicates_of(held_out: np.ndarray, for_training: np.ndarray, text_hashes: np.ndarray) -> np.ndarray:
    """Which of the texts for training are the same text as one that is held out, of another group.

    Args:
        held_out: hashes of the texts that nothing may be learnt from.
        for_training: (number of texts,) bool.
        text_hashes: (number of texts,) int64, as `training.texts.corpus.text_hash` gives them.

    Returns:
        (number of texts,) bool.
    """
    return for_training & np.isin(text_hashes, held_out)


def text_hash(text: str) -> int:
    """63 bits that depend on what a model sees of the text alone: what a split by hash compares.

    A text keeps its value when the corpus grows, so it never changes sides, nor do its duplicates, which may differ
    in what the text rules take away, such as case, accents or the address of a link.
    """
    return _hash_of_normalized(normalize(text).strip())


def text_hashes(texts: Iterable[str]) -> np.ndarray:
    """`text_hash` of each text, (number of texts,) int64; for many texts in half the time."""
    normalized = chain.from_iterable(map(normalize_all, groups_of(texts)))
    return np.fromiter(map(_hash_of_normalized, normalized), np.int64)


def split_hash(text: str, group: str | None) -> int:
    """63 bits that decide a text's side of a split: those of its group, else `text_hash`."""
    return text_hash(text) if group is None else group_hash(group)


def group_hash(group: str) -> int:
    """63 bits that depend on the name of a group alone; no text has the same ones by being that name."""
    return _hash_of_normalized(f"author\0{group}")


def _hash_of_normalized(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
