"""Training steps as a function of (seed, step): packed rows without padding, masked by the standard collator."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """What one optimizer step sees in this process.

    `scored_tokens` and the other counts are of the whole step, over all processes: the loss is divided by the
    former, so it is the same however the step is cut up. A process that reads only its own part of a step cannot
    know them: then they are of that part, `counts_whole_step` is false, and `parquet_stream.count_together`
    adds them up.
    """

    micro_batches: list[dict[str, Tensor]]
    scored_tokens: int
    texts: int
    tokens: int
    counts_whole_step: bool = True


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Rows of text numbers whose lengths fit into `row_length`: longest first, each into the fullest row it fits."""
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
    """Texts one after another, in rows as long as `rest`, which fills what is left of a row from its beginning."""
    return np.stack([np.concatenate([*(texts[text] for text in row), rest])[: len(rest)] for row in rows])


def cut_into_micro_batches(rows: dict[str, Tensor], tokens_per_micro_batch: int) -> list[dict[str, Tensor]]:
    """Rows in groups of at most so many tokens, but of at least one row."""
    rows_at_once = max(1, tokens_per_micro_batch // rows["input_ids"].shape[1])
    parts = {name: values.split(rows_at_once) for name, values in rows.items()}
    return [dict(zip(parts, part, strict=True)) for part in zip(*parts.values(), strict=True)]


def make_collator(
    tokenizer: TokenizersBackend, mlm_probability: float, mask_replace_prob: float
) -> DataCollatorForLanguageModeling:
    """The standard collator; of the tokens to predict that do not become [MASK], one half becomes a random token."""
    return DataCollatorForLanguageModeling(
        tokenizer,
        mlm_probability=mlm_probability,
        mask_replace_prob=mask_replace_prob,
        random_replace_prob=(1 - mask_replace_prob) / 2,
    )


class MaskedSteps:
    """The steps of a run: `steps[number]` is the batch of that step, the same whenever it is asked for.

    The texts of an epoch are put in one seeded order and cut into steps; a step is masked as a whole, and only
    then shared out among the processes. So nothing has to be remembered to resume, and every process count trains
    on the same masks.

    Args:
        tokens: dataset of `input_ids`, as `load_tokens` gives it.
        texts: which rows of it to use.
        packed: several texts a row with restarting `position_ids`; otherwise one text a row, padded, for models
            that attend to their padding.
        tokens_per_micro_batch: bound on what goes through the model at once in one process.
        mask_replace_prob: share of the tokens to predict that become [MASK]; of the others one half becomes a random
            token, and the other stays.
        shuffle: off for evaluation, which then gives the same texts and masks each time.
        region_dropout: share of the texts of a step whose region token is left out, if they have one.
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
        self.texts = texts.astype(np.uint32 if len(tokens) <= 2**32 else np.int64)  # as many again are shuffled
        self.texts_per_step = texts_per_step
        self.tokens_per_micro_batch = tokens_per_micro_batch
        self.packed = packed
        self.seed = seed
        self.shuffle = shuffle
        self.process, self.num_processes = process, num_processes
        self.collator = make_collator(tokenizer, mlm_probability, mask_replace_prob)
        self.special_ids = np.array(tokenizer.all_special_ids)
        self.region_dropout = region_dropout
        self.region_ids = tokenizer.convert_tokens_to_ids(region_tokens(tokenizer))
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
            self._order = None  # let go of one before the next is made
            numbers = np.arange(len(self.texts), dtype=self.texts.dtype)
            if self.shuffle:
                np.random.default_rng((self.seed, epoch)).shuffle(numbers)
            self._order = (epoch, numbers)
        return self._order[1]

    def _special(self, ids: np.ndarray) -> np.ndarray:
        return np.isin(ids, self.special_ids).astype(np.int64)

    def _pack_and_mask(self, ids: list[np.ndarray]) -> dict[str, Tensor]:
        """Rows as long as the longest text of the step; what is left of a row is [PAD], a text of its own."""
        lengths = [len(text) for text in ids]
        width = max(lengths)
        rows = pack(lengths, width)
        input_ids = lay_out(ids, rows, np.full(width, self.collator.tokenizer.pad_token_id))
        position_ids = lay_out([np.arange(length) for length in lengths], rows, np.arange(width))
        special = torch.from_numpy(self._special(input_ids))
        # What the collator does after padding, which is done already and takes it most of its time.
        masked, labels = self.collator.torch_mask_tokens(torch.from_numpy(input_ids), special_tokens_mask=special)
        # Without attention_mask: the positions say which tokens belong together, padding included.
        return {"input_ids": masked, "labels": labels, "position_ids": torch.from_numpy(position_ids)}

    def _pad_and_mask(self, ids: list[np.ndarray]) -> dict[str, Tensor]:
        return dict(self.collator([{"input_ids": t, "special_tokens_mask": self._special(t)} for t in ids]))

    def _own_micro_batches(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        own = {name: rows[self.process :: self.num_processes] for name, rows in batch.items()}
        rows_of_the_first = -(-len(batch["input_ids"]) // self.num_processes)
        if len(own["input_ids"]) < rows_of_the_first:
            # All processes take part in a step with the same number of rows; this one's last is nothing but padding.
            empty = {name: rows[:1].clone() for name, rows in batch.items()}
            empty["input_ids"].fill_(self.collator.tokenizer.pad_token_id)
            empty["labels"].fill_(IGNORED)
            own = {name: torch.cat((rows, empty[name])) for name, rows in own.items()}
        return cut_into_micro_batches(own, self.tokens_per_micro_batch)
