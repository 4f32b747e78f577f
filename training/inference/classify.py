"""Classify texts in batches of similar length."""

import numpy as np
import torch
from accelerate import Accelerator
from transformers import DataCollatorWithPadding, TokenizersBackend

from modeling_bilma import BilmaForSequenceClassification
from training.texts.batches import batches_by_length

TEXTS_AT_ONCE = 128


@torch.no_grad()
def predict(
    accelerator: Accelerator,
    model: BilmaForSequenceClassification,
    ids: list[list[int]],
    tokenizer: TokenizersBackend,
) -> np.ndarray:
    """The number of the likeliest class of each text, (texts,); the processes share the work."""
    model.eval()
    pad = DataCollatorWithPadding(tokenizer)
    guessed = torch.zeros(len(ids), dtype=torch.long, device=accelerator.device)
    batches = batches_by_length([len(text) for text in ids], TEXTS_AT_ONCE)
    for batch in batches[accelerator.process_index :: accelerator.num_processes]:
        inputs = pad([{"input_ids": ids[text]} for text in batch]).to(accelerator.device)
        with accelerator.autocast():
            logits = model(**inputs).logits
        guessed[torch.from_numpy(batch).to(guessed.device)] = logits.argmax(-1)
    return accelerator.reduce(guessed).cpu().numpy()
