"""Predict the classes of texts or of their tokens, in batches of similar length."""

import numpy as np
import torch
from accelerate import Accelerator
from transformers import BatchEncoding, DataCollatorWithPadding, PreTrainedTokenizerBase

from modeling_bilma import BilmaForSequenceClassification, BilmaForTokenClassification
from training.texts.batches import batches_by_length

TEXTS_PER_BATCH = 128


@torch.no_grad()
def predict(
    accelerator: Accelerator,
    model: BilmaForSequenceClassification | BilmaForTokenClassification,
    ids: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> np.ndarray:
    """Predict the likeliest classes; the processes share the work.

    Args:
        ids: token ids of each text.

    Returns:
        The number of the likeliest class of each text, (texts,); of a token classifier, that of each token, (texts,
        longest text), and 0 beyond the end of a text.
    """
    model.eval()
    pad = DataCollatorWithPadding(tokenizer)
    lengths = [len(text) for text in ids]
    per_token = isinstance(model, BilmaForTokenClassification)
    shape = (len(ids), max(lengths)) if per_token else (len(ids),)
    predicted = torch.zeros(shape, dtype=torch.long, device=accelerator.device)
    batches = batches_by_length(lengths, TEXTS_PER_BATCH)
    for texts in batches[accelerator.process_index :: accelerator.num_processes]:
        inputs = BatchEncoding(pad([{"input_ids": ids[text]} for text in texts])).to(accelerator.device)
        with accelerator.autocast():
            classes = model(**inputs).logits.argmax(-1)
        rows = torch.from_numpy(texts).to(predicted.device)
        if per_token:
            predicted[rows, : classes.shape[1]] = classes * inputs["attention_mask"]
        else:
            predicted[rows] = classes
    return accelerator.reduce(predicted).cpu().numpy()
