"""Whole words instead of tokens, so that models with different vocabularies can be compared.

The words are chosen in the raw text. Every tokenizer then reads that raw text by its own rules (ours lower-cases and
strips accents, another may keep both), and masks all of its own tokens of a chosen word, so that all models predict
the same word at the same place of the same text. A model sees by the number of masks how many tokens its spelling
takes, which helps one that cuts words small; one that keeps case and accents has more to get right.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.common.errors import InputError
from training.common.progress import ProgressBar
from training.evaluation.masked_texts import MaskedText, MaskedTexts, TestTexts, choose, mask
from training.evaluation.models import ModelFolder
from training.evaluation.predictions import Predictions

Span = tuple[int, int]
_WORD = re.compile(r"[^\W\d_]+")


@dataclass
class MaskedWords:
    """The same words of one test set for every model.

    `rows` are each model's own; `sizes` says how many of its tokens each word takes. `texts` has the number of the
    text for each word. `left_out` counts the words that some tokenizer cannot spell or does not keep apart.
    """

    rows: dict[str, MaskedTexts]
    sizes: dict[str, np.ndarray]
    texts: np.ndarray
    left_out: int


def word_spans(text: str) -> list[Span]:
    """Find the words: runs of letters, but for those of links, users and hashtags."""
    return [
        (chunk.start() + word.start(), chunk.start() + word.end())
        for chunk in re.finditer(r"\S+", text)
        if not re.search("[@#]|://", chunk[0])
        for word in _WORD.finditer(chunk[0])
    ]


def mask_words(
    test: TestTexts,
    folders: Sequence[ModelFolder],
    max_length: int,
    mlm_probability: float,
    mask_draws: int,
    seed: int,
) -> MaskedWords:
    """Mask a share of each text's words, `mask_draws` times over, in the tokens of every model.

    Raises:
        InputError: if there is no word that all tokenizers can spell.
    """
    rows: dict[str, list[MaskedText]] = {folder.name: [] for folder in folders}
    sizes: dict[str, list[int]] = {folder.name: [] for folder in folders}
    texts, left_out = [], 0
    bar = ProgressBar(test.texts, desc=f"words of {test.region}", unit=" texts")
    for number, raw in enumerate(bar):
        text = unicodedata.normalize("NFC", raw)  # so that an accent is no character of its own
        spans = word_spans(text)
        if not spans:
            continue
        tokens = {folder.name: token_places(text, spans, folder, max_length) for folder in folders}
        for draw in range(mask_draws):
            chosen = choose(np.arange(len(spans)), mlm_probability, test.hashes[number], draw, seed)
            spelled = [word for word in chosen if all(len(places[word]) for _, places in tokens.values())]
            left_out += len(chosen) - len(spelled)
            if not spelled:
                continue
            texts += [number] * len(spelled)
            for folder in folders:
                ids, places = tokens[folder.name]
                positions = np.concatenate([places[word] for word in spelled])
                rows[folder.name].append(mask(number, ids, positions, folder.tokenizer.mask_token_id))
                sizes[folder.name] += [len(places[word]) for word in spelled]
    if not texts:
        raise InputError(f"{test.names}: the test set is empty, no word that all models can spell")
    return MaskedWords(
        rows={name: MaskedTexts(own) for name, own in rows.items()},
        sizes={name: np.array(own) for name, own in sizes.items()},
        texts=np.array(texts),
        left_out=left_out,
    )


def token_places(
    text: str, spans: Sequence[Span], folder: ModelFolder, max_length: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a model's token ids of a text, and for each span the positions of its tokens.

    A span has none where it is cut off, where a token reaches beyond it, and where one is unknown.
    """
    encoding = folder.tokenizer(
        text,
        truncation=True,
        max_length=min(max_length, folder.longest),
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    ids = np.array(encoding["input_ids"])
    offsets = np.array([trimmed(text, *offset) for offset in encoding["offset_mapping"]])
    offsets[np.array(encoding["special_tokens_mask"], bool)] = 0  # special tokens have no place in the text
    starts, ends = offsets.T
    places = []
    for start, end in spans:
        found = np.flatnonzero((starts < end) & (ends > start))
        whole = len(found) and starts[found].min() >= start and ends[found].max() == end
        known = (ids[found] != folder.tokenizer.unk_token_id).all()
        places.append(found if whole and known else found[:0])
    return ids, places


def trimmed(text: str, start: int, end: int) -> Span:
    """Trim the space that some tokenizers count with the word after it."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def word_predictions(predictions: Predictions, sizes: np.ndarray) -> Predictions:
    """Put the predictions for a word's tokens together.

    A word's log-probability is the sum of its tokens'. Its rank is that of its worst token: 0 if all of them are
    guessed right. A guess is the word's own number, or -1 where it is wrong.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.maximum.reduceat(predictions.rank, starts)
    return Predictions(
        guess=np.where(rank == 0, np.arange(len(sizes)), -1),
        rank=rank,
        log_probability=np.add.reduceat(predictions.known(), starts),
    )
