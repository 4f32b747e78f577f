"""Training steps as a function of (seed, step): packed rows without padding, masked by the standard collator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import DataCollatorForLanguageModeling, TokenizersBackend

from modeling_bilma.tokenization_bilma import region_tokens
from training.texts.batches import IGNORED, step_seed
from training.texts.token_cache import TokenRows


@dataclass
class StepBatch:
    """The part of an optimizer step that one process computes.

    The counts are those of the whole step, over all processes. The loss is divided by `scored_tokens`, so that it does
    not depend on how the step is divided. A process that reads only its own part of a step counts only that part; then
    `counts_whole_step` is false, and `streamed_steps.count_together` adds up the parts.
    """

    micro_batches: list[dict[str, Tensor]]
    scored_tokens: int
    texts: int
    tokens: int
    counts_whole_step: bool = True


class Steps(Protocol):
    """The steps of a run: `steps[number]` is the batch of a step, the same every time."""

    steps_per_epoch: int

    def __getitem__(self, step: int) -> StepBatch: ...


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Pack texts into rows of at most `row_length` tokens, longest first, each into the fullest row with room for it.

    Returns:
        The indices of the texts in each row.
    """
    rows: list[list[int]] = []
    rows_with_room: dict[int, list[int]] = {}  # room left -> rows that have it
    for text in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[text]
        room = next((r for r in range(length, row_length) if rows_with_room.get(r)), None)
        if room is None:
            room, row = row_length, len(rows)
            rows.append([])
        else:
            row = rows_with_room[room].pop()
        rows[row].append(text)
        rows_with_room.setdefault(room - length, []).append(row)
    return rows


def lay_out(texts: Sequence[np.ndarray], rows: list[list[int]], rest: np.ndarray) -> np.ndarray:
    """Concatenate the texts of each row, and fill the remainder with the beginning of `rest`.

    Returns:
        (rows, len(rest)), in the dtype of the texts.
    """
    return np.stack([np.concatenate([*(texts[text] for text in row), rest])[: len(rest)] for row in rows])


def cut_into_micro_batches(rows: dict[str, Tensor], tokens_per_micro_batch: int) -> list[dict[str, Tensor]]:
    """Split rows into groups of at most `tokens_per_micro_batch` tokens, but at least one row."""
    rows_at_once = max(1, tokens_per_micro_batch // rows["input_ids"].shape[1])
    parts = {name: values.split(rows_at_once) for name, values in rows.items()}
    return [dict(zip(parts, part, strict=True)) for part in zip(*parts.values(), strict=True)]


def make_collator(
    tokenizer: TokenizersBackend, mlm_probability: float, mask_replace_prob: float
) -> DataCollatorForLanguageModeling:
    """Make the standard collator; of the tokens to predict that do not become [MASK], half become random tokens."""
    return DataCollatorForLanguageModeling(
        tokenizer,
        mlm_probability=mlm_probability,
        mask_replace_prob=mask_replace_prob,
        random_replace_prob=(1 - mask_replace_prob) / 2,
    )


class MaskedSteps:
    """Steps over tokenised texts.

    The texts of an epoch are shuffled by the seed and divided into steps. A step is masked as a whole, and only then
    split among the processes. Resuming therefore needs only the step number, and any number of processes trains on
    the same masks.

    Args:
        tokens: dataset of `input_ids`, as `load_tokens` returns it.
        texts: indices of the rows to use.
        tokenizer: its special tokens are never masked.
        texts_per_step: texts of one optimizer step, over all processes.
        tokens_per_micro_batch: maximum tokens in one forward pass of a process.
        mlm_probability: share of the tokens to predict.
        mask_replace_prob: share of the tokens to predict that become [MASK]; half of the others become random tokens,
            and the rest are unchanged.
        packed: put several texts in a row, with `position_ids` that restart; otherwise one padded text per row, for
            models that attend to their padding.
        region_dropout: share of the texts in each step that lose their region token.
        seed: random seed for the order and the masks.
        shuffle: false for evaluation, to keep the order of the texts.
        process, num_processes: this process, whose part of each step is returned, and their number.
    """

    def __init__(
        self,
        tokens: Dataset,
        texts: np.ndarray,
        tokenizer: TokenizersBackend,
        texts_per_step: int,
        tokens_per_micro_batch: int,
        mlm_probability: float = 0.15,
        mask_replace_prob: float = 0.8,
        packed: bool = True,
        seed: int = 0,
        shuffle: bool = True,
        process: int = 0,
        num_processes: int = 1,
        region_dropout: float = 0.0,
    ):
        self.tokens = TokenRows(tokens)
        self.texts = texts.astype(np.uint32 if len(tokens) <= 2**32 else np.int64)  # every epoch shuffles as many
        self.texts_per_step = texts_per_step
        self.tokens_per_micro_batch = tokens_per_micro_batch
        self.packed = packed
        self.seed = seed
        self.shuffle = shuffle
        self.process, self.num_processes = process, num_processes
        self.collator = make_collator(tokenizer, mlm_probability, mask_replace_prob)
        self.special_ids = np.array(tokenizer.all_special_ids)
        self.region_dropout = region_dropout
        self.region_ids = list(map(tokenizer.convert_tokens_to_ids, region_tokens(tokenizer)))
        self.steps_per_epoch = -(-len(texts) // texts_per_step)
        self._order: tuple[int, np.ndarray] | None = None  # of the current epoch

    def __getitem__(self, step: int) -> StepBatch:
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        first = step_in_epoch * self.texts_per_step
        chosen = self.texts[self._epoch_order(epoch)[first : first + self.texts_per_step]]
        ids = self._without_some_region_tokens(self.tokens[chosen], step)
        self.collator.generator = torch.Generator().manual_seed(step_seed(self.seed, step))
        batch = self._pack_and_mask(ids) if self.packed else self._pad_and_mask(ids)
        return StepBatch(
            micro_batches=self._own_micro_batches(batch),
            scored_tokens=int((batch["labels"] != IGNORED).sum()),
            texts=len(ids),
            tokens=sum(map(len, ids)),
        )

    def _without_some_region_tokens(self, ids: list[np.ndarray], step: int) -> list[np.ndarray]:
        if not self.region_dropout:
            return ids
        left_out = np.random.default_rng(step_seed(self.seed, step)).random(len(ids)) < self.region_dropout
        return [
            np.delete(text, 1) if drop and text[1] in self.region_ids else text
            for text, drop in zip(ids, left_out, strict=True)
        ]

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = None  # free one order before the next is made
            numbers = np.arange(len(self.texts), dtype=self.texts.dtype)
            if self.shuffle:
                np.random.default_rng((self.seed, epoch)).shuffle(numbers)
            self._order = (epoch, numbers)
        return self._order[1]

    def _special(self, ids: np.ndarray) -> np.ndarray:
        return np.isin(ids, self.special_ids).astype(np.int64)

    def _pack_and_mask(self, ids: list[np.ndarray]) -> dict[str, Tensor]:
        """Pack texts into rows as long as the longest text; the [PAD]s at the end of a row are a separate text."""
        lengths = [len(text) for text in ids]
        width = max(lengths)
        rows = pack(lengths, width)
        input_ids = lay_out(ids, rows, np.full(width, self.collator.tokenizer.pad_token_id))
        position_ids = lay_out([np.arange(length) for length in lengths], rows, np.arange(width))
        special = torch.from_numpy(self._special(input_ids))
        # Calling the collator would pad first, which takes most of its time and is already done.
        masked, labels = self.collator.torch_mask_tokens(torch.from_numpy(input_ids), special_tokens_mask=special)
        # No attention_mask: the positions say which tokens belong together, padding included.
        return {"input_ids": masked, "labels": labels, "position_ids": torch.from_numpy(position_ids)}

    def _pad_and_mask(self, ids: list[np.ndarray]) -> dict[str, Tensor]:
        return dict(self.collator([{"input_ids": t, "special_tokens_mask": self._special(t)} for t in ids]))

    def _own_micro_batches(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        own = {name: rows[self.process :: self.num_processes] for name, rows in batch.items()}
        rows_of_the_first = -(-len(batch["input_ids"]) // self.num_processes)
        if len(own["input_ids"]) < rows_of_the_first:
            # All processes need the same number of rows in a step; the last row of this one is all padding.
            empty = {name: rows[:1].clone() for name, rows in batch.items()}
            empty["input_ids"].fill_(self.collator.tokenizer.pad_token_id)
            empty["labels"].fill_(IGNORED)
            own = {name: torch.cat((rows, empty[name])) for name, rows in own.items()}
        return cut_into_micro_batches(own, self.tokens_per_micro_batch)
