"""Training steps that are read from a stream of Parquet files, then tokenised and masked."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from transformers import TokenizersBackend

from training.pretraining.steps import StepBatch, cut_into_micro_batches, lay_out, make_collator, pack
from training.texts.batches import IGNORED, step_seed
from training.texts.encoding import encode
from training.texts.parquet_stream import Lane, ParquetStream
from training.texts.splits import text_hashes


class StreamedSteps:
    """Steps over a stream: the counterpart of `training.pretraining.steps.MaskedSteps` for texts not tokenised yet.

    Texts that are held out, empty or not Unicode are read like all others and then left out, so a step may be slightly
    smaller than `texts_per_step`. Masks are a function of (seed, step, lane), whatever the number of processes.
    With more processes than lanes, several processes share a lane, and each of them tokenises its texts.

    Args:
        is_for_training: takes the hashes of texts and returns which of them are for training.
        max_length: texts are truncated to this many tokens.
        lanes: number of positions in the corpus from which each step reads.

    The other arguments are those of `MaskedSteps`.
    """

    def __init__(
        self,
        stream: ParquetStream,
        is_for_training: Callable[[np.ndarray], np.ndarray],
        tokenizer: TokenizersBackend,
        texts_per_step: int,
        tokens_per_micro_batch: int,
        max_length: int,
        lanes: int,
        mlm_probability: float = 0.15,
        mask_replace_prob: float = 0.8,
        packed: bool = True,
        seed: int = 0,
        process: int = 0,
        num_processes: int = 1,
    ):
        self.stream = stream
        self.is_for_training = is_for_training
        self.tokenizer = tokenizer
        self.tokens_per_micro_batch = tokens_per_micro_batch
        self.max_length = max_length
        self.packed = packed
        self.seed = seed
        self.collator = make_collator(tokenizer, mlm_probability, mask_replace_prob)
        self.special_ids = np.array(tokenizer.all_special_ids)
        self.steps_per_epoch = -(-len(stream) // texts_per_step)
        self.bounds = [lane * len(stream) // lanes for lane in range(lanes + 1)]
        self.process = process
        self.readers = [readers(lane, lanes, num_processes) for lane in range(lanes)]
        self.own_lanes = {lane: Lane(stream) for lane in range(lanes) if process in self.readers[lane]}

    def __getitem__(self, step: int) -> StepBatch:
        ids, labels = [], []
        for lane in self.own_lanes:
            share = self.readers[lane]
            masked = self._mask(self._ids(step, lane), step_seed(self.seed, step, lane))
            for text_ids, text_labels in masked[share.index(self.process) :: len(share)]:
                ids.append(text_ids)
                labels.append(text_labels)
        counts = {
            "scored_tokens": int(sum((text != IGNORED).sum() for text in labels)),
            "texts": len(ids),
            "tokens": sum(map(len, ids)),
        }
        if not ids:  # this process still takes part in the step, with nothing to score
            ids = [np.array([self.tokenizer.cls_token_id, self.tokenizer.sep_token_id])]
            labels = [np.full(2, IGNORED)]
        batch = cut_into_micro_batches(self._rows(ids, labels), self.tokens_per_micro_batch)
        return StepBatch(batch, **counts, counts_whole_step=False)

    def _ids(self, step: int, lane: int) -> list[np.ndarray]:
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        begin, rows = self.bounds[lane], self.bounds[lane + 1] - self.bounds[lane]
        first, end = (begin + number * rows // self.steps_per_epoch for number in (step_in_epoch, step_in_epoch + 1))
        texts = list(self.own_lanes[lane].texts((self.seed, epoch), first, end))
        texts = [texts[number] for number in np.flatnonzero(self.is_for_training(text_hashes(texts)))]
        return [np.array(ids) for ids in encode(texts, self.tokenizer, self.max_length) if len(ids) > 2]

    def _mask(self, ids: list[np.ndarray], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mask all texts as one row, so that masks do not depend on packing; return ids and labels of each text."""
        if not ids:
            return []
        together = np.concatenate(ids)
        self.collator.generator = torch.Generator().manual_seed(seed)
        special = torch.from_numpy(np.isin(together, self.special_ids))
        masked = self.collator.torch_mask_tokens(torch.from_numpy(together), special_tokens_mask=special)
        ends = np.cumsum([len(text) for text in ids])[:-1]
        return list(zip(*(np.split(values.numpy(), ends) for values in masked), strict=True))

    def _rows(self, ids: list[np.ndarray], labels: list[np.ndarray]) -> dict[str, torch.Tensor]:
        lengths = [len(text) for text in ids]
        width = max(lengths)
        rows = pack(lengths, width) if self.packed else [[text] for text in range(len(ids))]
        batch = {
            "input_ids": lay_out(ids, rows, np.full(width, self.tokenizer.pad_token_id)),
            "labels": lay_out(labels, rows, np.full(width, IGNORED)),
        }
        if self.packed:
            batch["position_ids"] = lay_out([np.arange(length) for length in lengths], rows, np.arange(width))
        else:
            batch["attention_mask"] = lay_out([np.ones_like(text) for text in ids], rows, np.zeros(width, np.int64))
        return {name: torch.from_numpy(values) for name, values in batch.items()}


def readers(lane: int, lanes: int, num_processes: int) -> list[int]:
    """Return the processes that read a lane: one, or several if there are more processes than lanes.

    Neighbouring processes run on one machine, so machines share a lane only where this is unavoidable.
    """
    if num_processes <= lanes:
        return [lane * num_processes // lanes]
    return [process for process in range(num_processes) if process * lanes // num_processes == lane]


def count_together(accelerator: Accelerator, batch: StepBatch) -> StepBatch:
    """Return the batch with the counts of the whole step, padded to the largest number of micro-batches."""
    own = [batch.scored_tokens, batch.texts, batch.tokens, len(batch.micro_batches)]
    counts = accelerator.gather(torch.tensor([own], device=accelerator.device)).cpu()
    scored_tokens, texts, tokens, _ = counts.sum(0).tolist()
    missing = int(counts[:, 3].max()) - len(batch.micro_batches)
    if missing:
        empty = {name: rows[:1].clone() for name, rows in batch.micro_batches[0].items()}
        empty["labels"].fill_(IGNORED)
    micro_batches = batch.micro_batches + [empty] * missing if missing else batch.micro_batches
    return StepBatch(micro_batches, scored_tokens, texts, tokens)
