"""Batches of similar length, and the seeds of steps."""

from collections.abc import Iterator, Sequence

import numpy as np

IGNORED = -100  # the label of a position that does not count in the loss


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Return a seed for what is random in one step, independent of the seeds of other steps."""
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1, np.uint64)[0] >> 1)


def batches_by_length(lengths: Sequence[int], texts_per_batch: int) -> list[np.ndarray]:
    """Return batches of text indices, the longest texts first, so that running out of memory shows at once."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    return np.split(order, range(texts_per_batch, len(order), texts_per_batch))


def batches_by_tokens(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Yield batches of row indices of nearly one length, at most `tokens_per_batch` tokens with their padding."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batch and (len(batch) + 1) * lengths[number] > tokens_per_batch:
            yield batch
            batch = []
        batch.append(number)
    yield batch
