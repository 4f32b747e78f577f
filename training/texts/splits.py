"""Which texts are for training, which for validation and which for testing: a function of one hash alone, that of the
text's group (`--group_column`) or, without one, of the text.

Every script cuts a corpus in the same place, so what `pretrain.py` never saw is what the evaluation asks, and a text
and its duplicates are on one side for good, however the corpus grows.
"""

import numpy as np

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
