"""Which texts are for training, which for validation and which for testing: a function of each text's hash alone.

Every script cuts a corpus in the same place, so what `pretrain.py` never saw is what the evaluation asks, and a text
and its duplicates are on one side for good, however the corpus grows.
"""

import numpy as np

HASH_RANGE = 2**63  # of training.corpus.text_hash


def is_validation(hashes: np.ndarray | int, validation_fraction: float) -> np.ndarray | bool:
    """Whether a text belongs to the share of texts with the lowest hashes."""
    return hashes < int(validation_fraction * HASH_RANGE)


def is_test(hashes: np.ndarray | int, test_fraction: float) -> np.ndarray | bool:
    """Whether a text belongs to the share of texts with the highest hashes."""
    return hashes >= HASH_RANGE - int(test_fraction * HASH_RANGE)
