"""A classifier of texts or tokens on a BILMA encoder, trained with or without its masked language model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, BilmaForTokenClassification, BilmaModel
from training.common.errors import InputError
from training.engine.models import open_whole
from training.texts.batches import IGNORED

Classifier = BilmaForSequenceClassification | BilmaForTokenClassification


class TrainedClassifier(nn.Module):
    """One encoder with one head or two, as it is trained: the classifier's, and the masked language model's.

    Args:
        class_weights: weight of each class in the loss, (num_labels,).
        decoder: last layer of the masked language model, over the same encoder; None if it is not trained.
    """

    class_weights: Tensor

    def __init__(self, classifier: Classifier, class_weights: Tensor, decoder: nn.Linear | None = None):
        super().__init__()
        self.classifier = classifier
        self.decoder = decoder
        self.register_buffer("class_weights", class_weights)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, mlm_labels: Tensor | None = None
    ) -> Tensor:
        """Return a tensor of two: the weighted loss summed over labels, and the loss summed over masked tokens.

        Args:
            labels: (B,) for texts, (B, L) for tokens; IGNORED is not scored.
            mlm_labels: (B, L), IGNORED where no token is masked; needed if there is a decoder.
        """
        # If all states are requested, a classifier that reads one position of the last layer computes the others too.
        outputs = self.classifier(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=self.decoder is not None
        )
        label_loss = cross_entropy(
            outputs.logits.float().flatten(0, -2),
            labels.flatten(),
            weight=self.class_weights,
            ignore_index=IGNORED,
            reduction="sum",
        )
        if self.decoder is None:
            return torch.stack((label_loss, torch.zeros_like(label_loss)))
        assert mlm_labels is not None
        masked = mlm_labels != IGNORED
        states = outputs.hidden_states[-1][masked]
        token_loss = cross_entropy(self.decoder(states).float(), mlm_labels[masked], reduction="sum")
        return torch.stack((label_loss, token_loss))


def make_classifier(
    path_or_id: str,
    label_names: Sequence[str],
    pooling: str,
    class_weights: Tensor,
    with_decoder: bool,
    hidden_dropout_prob: float | None = None,
    model_class: type[Classifier] = BilmaForSequenceClassification,
    label_tokens: Sequence[int | None] = (),
) -> TrainedClassifier:
    """Put a classification head on the encoder of a BILMA, with its decoder if that is trained too.

    The head is new, unless the BILMA is itself a classifier of these very labels and goes on without a decoder.

    Args:
        hidden_dropout_prob: dropout in training; None for what the model was pretrained with.
        label_tokens: of each label, the token whose row of the decoder it begins with, if there is one; for the
            pooling "mask".

    Raises:
        InputError: if the model cannot be opened, or lacks a part that is needed.
    """
    settings: dict[str, Any] = {"pooling": pooling, "sparse_prediction": False}
    if hidden_dropout_prob is not None:
        settings["hidden_dropout_prob"] = hidden_dropout_prob
    needs_decoder = with_decoder or pooling == "mask"
    masked_lm = open_masked_lm(path_or_id, with_decoder, **settings) if needs_decoder else None
    encoder = masked_lm.bilma if masked_lm else open_whole(BilmaModel, path_or_id, **settings)
    config = encoder.config
    id2label = dict(enumerate(label_names))
    if not with_decoder and model_class.__name__ in (config.architectures or []) and config.id2label == id2label:
        return TrainedClassifier(open_whole(model_class, path_or_id, **settings), class_weights)
    config.id2label = id2label
    config.label2id = {name: number for number, name in id2label.items()}
    classifier = model_class(config)
    classifier.bilma = encoder
    if masked_lm and isinstance(classifier, BilmaForSequenceClassification):
        begin_with_tokens(classifier.classifier.out_proj, masked_lm.decoder, label_tokens)
    return TrainedClassifier(classifier, class_weights, masked_lm.decoder if masked_lm and with_decoder else None)


def open_masked_lm(path_or_id: str, with_decoder: bool, pooling: str, **settings: Any) -> BilmaForMaskedLM:
    """Open the masked language model that a classifier begins with.

    Raises:
        InputError: as `open_whole` does, with the way out if its encoder is whole.
    """
    try:
        return open_whole(BilmaForMaskedLM, path_or_id, pooling=pooling, **settings)
    except InputError as error:
        open_whole(BilmaModel, path_or_id, pooling=pooling, **settings)
        instead = ["--mlm_weight 0"] * with_decoder + ["a --pooling other than mask"] * (pooling == "mask")
        raise InputError(f"{error}: give {' and '.join(instead)}, or start from a masked language model") from error


@torch.no_grad()
def begin_with_tokens(out_proj: nn.Linear, decoder: nn.Linear, label_tokens: Sequence[int | None]) -> None:
    """Give the labels that are tokens those tokens' rows and biases of the masked language model's last layer."""
    for label, token in enumerate(label_tokens):
        if token is not None:
            out_proj.weight[label] = decoder.weight[token]
            out_proj.bias[label] = decoder.bias[token]


def balanced_weights(labels: np.ndarray, num_labels: int) -> Tensor:
    """Return class weights, (num_labels,), inverse to how often each label occurs, with the mean 1 over the labels."""
    counts = np.bincount(labels, minlength=num_labels)
    weights = np.divide(len(labels), counts * (counts > 0).sum(), where=counts > 0, out=np.zeros(num_labels))
    return torch.tensor(weights, dtype=torch.float32)
