"""The split of a corpus into training, validation and test texts, by a hash of each text or of its group.

Every script splits a corpus in the same way, so the evaluation uses texts that `pretrain.py` never saw. A text, its
duplicates and the texts of its group (`--group_column`) stay on one side however the corpus grows.
"""

import hashlib
from collections.abc import Iterable
from itertools import chain

import numpy as np

from modeling_bilma.tokenization_bilma import normalize, normalize_all
from training.texts.encoding import groups_of

HASH_RANGE = 2**63  # of `split_hash`


def is_validation(hashes: np.ndarray | int, validation_fraction: float) -> np.ndarray | bool:
    """Tell whether a text belongs to the share of texts with the lowest hashes."""
    return hashes < int(validation_fraction * HASH_RANGE)


def is_test(hashes: np.ndarray | int, test_fraction: float) -> np.ndarray | bool:
    """Tell whether a text belongs to the share of texts with the highest hashes."""
    return hashes >= HASH_RANGE - int(test_fraction * HASH_RANGE)


def is_training(hashes: np.ndarray, validation_fraction: float, test_fraction: float) -> np.ndarray:
    """Tell whether a text belongs to neither the validation nor the test texts."""
    return np.invert(is_validation(hashes, validation_fraction) | is_test(hashes, test_fraction))


def duplicates_of(held_out: np.ndarray, for_training: np.ndarray, text_hashes: np.ndarray) -> np.ndarray:
    """Find the training texts that another group holds among the held-out texts.

    Args:
        held_out: hashes of the held-out texts, int64.
        for_training: (number of texts,) bool.
        text_hashes: (number of texts,) int64, as `text_hash` gives them.

    Returns:
        (number of texts,) bool.
    """
    return for_training & np.isin(text_hashes, held_out)


def text_hash(text: str) -> int:
    """Return 63 bits that depend only on what a model sees of the text.

    Duplicates, which may differ in what the text rules remove (case, accents, the address of a link), have the same
    hash.
    """
    return _hash_of_normalized(normalize(text).strip())


def text_hashes(texts: Iterable[str]) -> np.ndarray:
    """Return the `text_hash` of each text, (number of texts,) int64, in half the time for many texts."""
    normalized = chain.from_iterable(map(normalize_all, groups_of(texts)))
    return np.fromiter(map(_hash_of_normalized, normalized), np.int64)


def split_hash(text: str, group: str | None) -> int:
    """Return the 63 bits that decide a text's side of a split: its group's hash, without a group its own."""
    return text_hash(text) if group is None else group_hash(group)


def group_hash(group: str) -> int:
    """Return 63 bits that depend on the name of a group; a text that equals the name has another hash."""
    return _hash_of_normalized(f"author\0{group}")


def _hash_of_normalized(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
