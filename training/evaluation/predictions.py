"""What a masked language model predicts at the masked tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.common.progress import ProgressBar
from training.evaluation.masked_texts import MaskedText, MaskedTexts
from training.texts.batches import IGNORED, batches_by_tokens


@dataclass
class Predictions:
    """One value per masked token, in the order of `MaskedTexts.targets`.

    `rank` is the number of tokens that the model finds likelier than the right one: 0 is a right guess.
    `mean_log_probabilities` has one value per token of the vocabulary, over all masked positions.
    Baselines that only guess have no log-probabilities.
    """

    guess: np.ndarray
    rank: np.ndarray
    log_probability: np.ndarray | None = None
    mean_log_probabilities: np.ndarray | None = None

    def known(self) -> np.ndarray:
        """The log-probabilities of a model's predictions, which always has them."""
        assert self.log_probability is not None
        return self.log_probability

    def known_means(self) -> np.ndarray:
        """The mean log-probabilities of a model's predictions, which always has them."""
        assert self.mean_log_probabilities is not None
        return self.mean_log_probabilities


def collate(rows: Sequence[MaskedText], pad_id: int) -> dict[str, Tensor]:
    """(rows, longest row) of `input_ids`, `attention_mask`, and `labels` at the masked positions."""
    shape = len(rows), max(len(row.input_ids) for row in rows)
    input_ids, labels = np.full(shape, pad_id, np.int64), np.full(shape, IGNORED, np.int64)
    attention_mask = np.zeros(shape, np.int64)
    for number, row in enumerate(rows):
        input_ids[number, : len(row.input_ids)] = row.input_ids
        attention_mask[number, : len(row.input_ids)] = 1
        labels[number, row.positions] = row.targets
    arrays = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def masked_logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """(masked tokens, vocabulary), in row order; BILMA computes no other logits."""
    if hasattr(model.config, "sparse_prediction"):
        model.config.sparse_prediction = True
        return model(**batch).logits
    labels = batch["labels"]
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return logits[labels != IGNORED]


@torch.no_grad()
def log_probabilities_by_batch(
    model: PreTrainedModel, rows: Sequence[MaskedText], pad_id: int, tokens_per_batch: int, description: str
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Go through rows in batches of similar length.

    Yields:
        The numbers of the rows; the log-probabilities, (masked tokens, vocabulary), at their positions in this order;
        and the targets there, (masked tokens,).
    """
    with ProgressBar(total=len(rows), desc=description, unit=" rows") as bar:
        for numbers in batches_by_tokens([len(row.input_ids) for row in rows], tokens_per_batch):
            batch = collate([rows[number] for number in numbers], pad_id)
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            labels = batch["labels"]
            yield numbers, masked_logits(model, batch).log_softmax(-1), labels[labels != IGNORED]
            bar.update(len(numbers))


def predict(
    model: PreTrainedModel, masked: MaskedTexts, pad_id: int, tokens_per_batch: int, description: str
) -> Predictions:
    """Predict all masked tokens in fp32; batches are made by length and change no prediction."""
    total = len(masked.targets)
    guess, rank, log_probability = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total)
    sizes = [len(row.positions) for row in masked.rows]
    ends = np.cumsum(sizes)
    mean = np.zeros(model.config.vocab_size)
    batches = log_probabilities_by_batch(model, masked.rows, pad_id, tokens_per_batch, description)
    for numbers, log_probabilities, targets in batches:
        places = np.concatenate([np.arange(ends[number] - sizes[number], ends[number]) for number in numbers])
        right = log_probabilities.gather(1, targets[:, None])
        guess[places] = log_probabilities.argmax(-1).cpu().numpy()
        rank[places] = rank_of(log_probabilities, targets, right).cpu().numpy()
        log_probability[places] = right[:, 0].double().cpu().numpy()
        mean += log_probabilities.double().sum(0).cpu().numpy() / total
    return Predictions(guess, rank, log_probability, mean)


def rank_of(scores: Tensor, targets: Tensor, right: Tensor) -> Tensor:
    """Count the tokens before the right one, (masked tokens,); of equal scores the lower id is first, as in argmax."""
    ids = torch.arange(scores.shape[1], device=scores.device)
    return ((scores > right) | ((scores == right) & (ids < targets[:, None]))).sum(-1)
