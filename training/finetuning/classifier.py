"""A text classifier on a BILMA: made, trained with or without its masked language modelling, asked."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, BilmaModel
from training.engine.models import open_whole
from training.texts.batches import IGNORED


class TrainedClassifier(nn.Module):
    """One encoder with one head or two, as it is trained: the sum of the classifier's loss and of the decoder's.

    Args:
        class_weights: of the loss of each class, (num_labels,).
        decoder: the masked language model's last layer, over the same encoder; None where it is not trained.
    """

    def __init__(
        self, classifier: BilmaForSequenceClassification, class_weights: Tensor, decoder: nn.Linear | None = None
    ):
        super().__init__()
        self.classifier = classifier
        self.decoder = decoder
        self.register_buffer("class_weights", class_weights)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, mlm_labels: Tensor | None = None
    ) -> Tensor:
        """The weighted losses summed over the texts, and the losses summed over the masked tokens: a tensor of two."""
        states = self.classifier.bilma(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier.classifier(states, attention_mask)
        label_loss = cross_entropy(
            logits.float(), labels, weight=self.class_weights, ignore_index=IGNORED, reduction="sum"
        )
        if self.decoder is None:
            return torch.stack((label_loss, torch.zeros_like(label_loss)))
        masked = mlm_labels != IGNORED
        token_loss = cross_entropy(self.decoder(states[masked]).float(), mlm_labels[masked], reduction="sum")
        return torch.stack((label_loss, token_loss))


def make_classifier(
    path_or_id: str,
    label_names: Sequence[str],
    pooling: str,
    class_weights: Tensor,
    with_decoder: bool,
    hidden_dropout_prob: float | None = None,
) -> TrainedClassifier:
    """A new classification head on the encoder of a BILMA, and its decoder if that goes on learning.

    Args:
        hidden_dropout_prob: dropout in training; None for what the model was pretrained with.

    Raises:
        InputError: if the model cannot be opened, or lacks a part that is needed.
    """
    dropout = {} if hidden_dropout_prob is None else {"hidden_dropout_prob": hidden_dropout_prob}
    masked_lm = open_whole(BilmaForMaskedLM, path_or_id, **dropout) if with_decoder else None
    encoder = masked_lm.bilma if masked_lm else open_whole(BilmaModel, path_or_id, **dropout)
    config = encoder.config
    config.pooling = pooling
    config.sparse_prediction = False
    config.id2label = dict(enumerate(label_names))
    config.label2id = {name: number for number, name in enumerate(label_names)}
    classifier = BilmaForSequenceClassification(config)
    classifier.bilma = encoder
    return TrainedClassifier(classifier, class_weights, masked_lm.decoder if masked_lm else None)


def balanced_weights(labels: np.ndarray, num_labels: int) -> Tensor:
    """Weights of shape (num_labels,), inverse to how often a label occurs, with the mean 1 over the texts."""
    counts = np.bincount(labels, minlength=num_labels)
    weights = np.divide(len(labels), counts * (counts > 0).sum(), where=counts > 0, out=np.zeros(num_labels))
    return torch.tensor(weights, dtype=torch.float32)
