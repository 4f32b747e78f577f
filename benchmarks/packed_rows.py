"""Take packed rows apart again: the texts of a training step."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from training.texts.batches import IGNORED

PAD_ID = 0  # of every BILMA


def texts_of(micro_batches: Iterable[dict[str, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids and labels of each text, without the padding at the end of rows."""
    for micro_batch in micro_batches:
        for ids, labels, positions in zip(*map(micro_batch.get, ("input_ids", "labels", "position_ids")), strict=True):
            starts = [*(positions == 0).nonzero().flatten().tolist(), len(positions)]
            for first, end in pairwise(starts):
                if ids[first] != PAD_ID:
                    yield ids[first:end], labels[first:end]


def unmasked(micro_batches: Iterable[dict[str, Tensor]]) -> list[list[int]]:
    """Return the texts as they were before masking."""
    return [torch.where(labels == IGNORED, ids, labels).tolist() for ids, labels in texts_of(micro_batches)]
