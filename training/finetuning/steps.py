"""The steps of a fine-tuning: batches of whole texts, one a row, of similar length so that there is little padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding, TokenizersBackend

from training.texts.batches import IGNORED, batches_by_length, step_seed

POOL = 50  # steps whose texts are sorted by length together: few enough to leave the order of an epoch random


@dataclass
class LabelledBatch:
    """One process's share of an optimizer step.

    Args:
        inputs: arguments of `TrainedClassifier.forward`.
        labels_of_step: all labels that are scored in the step, over all processes.
        scored_tokens: number of masked tokens of the step, over all processes.
    """

    inputs: dict[str, Tensor]
    labels_of_step: Tensor
    scored_tokens: int


class LabelledSteps:
    """The steps of a training run: `steps[number]` depends on the seed and the number only.

    Args:
        ids: token ids of each text.
        labels: the number of each text's class, or of each of its tokens' classes.
        mlm_probability: share of the tokens to mask; above 0, `inputs` has `mlm_labels` too.
    """

    def __init__(
        self,
        ids: list[list[int]],
        labels: np.ndarray | Sequence[Sequence[int]],
        tokenizer: TokenizersBackend,
        texts_per_step: int,
        mlm_probability: float = 0.0,
        seed: int = 0,
        process: int = 0,
        num_processes: int = 1,
    ):
        self.ids, self.labels = ids, labels
        self.texts_per_step = texts_per_step
        self.seed = seed
        self.process, self.num_processes = process, num_processes
        self.pad = DataCollatorWithPadding(tokenizer)
        self.mask = (
            DataCollatorForLanguageModeling(tokenizer, mlm_probability=mlm_probability) if mlm_probability else None
        )
        self.special_ids = np.array(tokenizer.all_special_ids)
        self.steps_per_epoch = -(-len(ids) // texts_per_step)
        self._order: tuple[int, list[np.ndarray]] | None = None  # of the current epoch

    def __getitem__(self, step: int) -> LabelledBatch:
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        texts = self._epoch_order(epoch)[step_in_epoch]
        ids = [self.ids[text] for text in texts]
        batch = (
            self._masked(self.mask, ids, step) if self.mask else dict(self.pad([{"input_ids": text} for text in ids]))
        )
        batch["labels"] = self._labels(texts)
        own = {name: rows[self.process :: self.num_processes] for name, rows in batch.items()}
        if self.process >= len(texts):
            # Fewer texts than processes: this process still takes part in the step, with nothing to score.
            own = {name: rows[:1].clone() for name, rows in batch.items()}
            for name in own.keys() & {"labels", "mlm_labels"}:
                own[name].fill_(IGNORED)
        labels = batch["labels"]
        scored_tokens = int((batch["mlm_labels"] != IGNORED).sum()) if self.mask else 0
        return LabelledBatch(own, labels[labels != IGNORED], scored_tokens)

    def _labels(self, texts: np.ndarray) -> Tensor:
        """(B,) for texts; (B, L) for tokens, IGNORED where there is padding."""
        labels = [torch.as_tensor(self.labels[text]) for text in texts]
        return torch.stack(labels) if labels[0].ndim == 0 else pad_sequence(labels, True, IGNORED)

    def _masked(self, mask: DataCollatorForLanguageModeling, ids: list[list[int]], step: int) -> dict[str, Tensor]:
        mask.generator = torch.Generator().manual_seed(step_seed(self.seed, step))
        special = [np.isin(text, self.special_ids).astype(int).tolist() for text in ids]
        batch = mask([{"input_ids": t, "special_tokens_mask": s} for t, s in zip(ids, special, strict=True)])
        return {"mlm_labels": batch.pop("labels"), **batch}

    def _epoch_order(self, epoch: int) -> list[np.ndarray]:
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng((self.seed, epoch))
            order = random.permutation(len(self.ids))
            pools = np.split(order, range(POOL * self.texts_per_step, len(order), POOL * self.texts_per_step))
            steps = []
            for pool in pools:
                lengths = [len(self.ids[text]) for text in pool]
                steps += [pool[batch] for batch in batches_by_length(lengths, self.texts_per_step)]
            self._order = (epoch, [steps[number] for number in random.permutation(len(steps))])
        return self._order[1]
