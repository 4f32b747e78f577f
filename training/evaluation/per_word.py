"""Whole words instead of tokens, so that models with different vocabularies can be asked the same.

The words are chosen in the raw text. Every tokenizer then reads that raw text by its own rules (ours lower-cases and
takes accents away, a foreign one may keep both), and hides all of its own tokens of a chosen word. What is asked is
the same word at the same place of the same text; what a model has to spell there is its own affair. It is told how
many tokens its spelling takes, which helps a model that cuts words small; and a model that keeps case and accents has
more to get right.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from training.common.errors import InputError
from training.evaluation.masked_scores import Answers
from training.evaluation.models import ModelFolder
from training.evaluation.questions import AskedTexts, Questions, choose, hide

Span = tuple[int, int]
_WORD = re.compile(r"[^\W\d_]+")


@dataclass
class WordQuestions:
    """The same words of one test set for every model.

    `rows` are each model's own; `sizes` says how many of its tokens each word takes. `texts` has the number of the
    text for each word. `left_out` counts the words that some tokenizer cannot spell or does not keep apart.
    """

    rows: dict[str, Questions]
    sizes: dict[str, np.ndarray]
    texts: np.ndarray
    left_out: int


def word_spans(text: str) -> list[Span]:
    """Where the words stand: runs of letters, but for those of links, users and hashtags."""
    return [
        (chunk.start() + word.start(), chunk.start() + word.end())
        for chunk in re.finditer(r"\S+", text)
        if not re.search("[@#]|://", chunk[0])
        for word in _WORD.finditer(chunk[0])
    ]


def masked_words(
    test: AskedTexts,
    folders: Sequence[ModelFolder],
    max_length: int,
    mlm_probability: float,
    mask_draws: int,
    seed: int,
) -> WordQuestions:
    """Hide a share of each text's words, several times over, in the tokens of every model.

    Raises:
        InputError: if there is no word that all tokenizers can spell.
    """
    rows = {folder.name: [] for folder in folders}
    sizes = {folder.name: [] for folder in folders}
    texts, left_out = [], 0
    bar = tqdm(test.texts, desc=f"words of {test.region}", unit=" texts", leave=False)
    for number, raw in enumerate(bar):
        text = unicodedata.normalize("NFC", raw)  # so that an accent is no sign of its own
        spans = word_spans(text)
        if not spans:
            continue
        tokens = {folder.name: token_places(text, spans, folder, max_length) for folder in folders}
        for draw in range(mask_draws):
            chosen = choose(np.arange(len(spans)), mlm_probability, test.hashes[number], draw, seed)
            asked = [word for word in chosen if all(len(places[word]) for _, places in tokens.values())]
            left_out += len(chosen) - len(asked)
            if not asked:
                continue
            texts += [number] * len(asked)
            for folder in folders:
                ids, places = tokens[folder.name]
                positions = np.concatenate([places[word] for word in asked])
                rows[folder.name].append(hide(number, ids, positions, folder.tokenizer.mask_token_id))
                sizes[folder.name] += [len(places[word]) for word in asked]
    if not texts:
        raise InputError(f"{', '.join(test.corpus.names())}: the test set is empty, no word that all models can spell")
    return WordQuestions(
        rows={name: Questions(own, len(test.texts)) for name, own in rows.items()},
        sizes={name: np.array(own) for name, own in sizes.items()},
        texts=np.array(texts),
        left_out=left_out,
    )


def token_places(
    text: str, spans: Sequence[Span], folder: ModelFolder, max_length: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """A model's token ids of a text, and for each word the positions of its tokens.

    A word has none where it is cut off, where a token goes beyond it, and where one is unknown.
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
    offsets[np.array(encoding["special_tokens_mask"], bool)] = 0  # special tokens stand nowhere in the text
    starts, ends = offsets.T
    places = []
    for start, end in spans:
        found = np.flatnonzero((starts < end) & (ends > start))
        whole = len(found) and starts[found].min() >= start and ends[found].max() == end
        known = (ids[found] != folder.tokenizer.unk_token_id).all()
        places.append(found if whole and known else found[:0])
    return ids, places


def trimmed(text: str, start: int, end: int) -> Span:
    """A token's place without the space that some tokenizers count with the word after it."""
    while start < end and text[start].isspace():
        start += 1
    return start, end


def word_answers(answers: Answers, sizes: np.ndarray) -> Answers:
    """Answers for words from those for their tokens.

    A word's log-probability is the sum of its tokens'. Its rank is that of its worst token: 0 if all of them are
    guessed right. A guess is the word's own number, or -1 where it is wrong.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.maximum.reduceat(answers.rank, starts)
    return Answers(
        guess=np.where(rank == 0, np.arange(len(sizes)), -1),
        rank=rank,
        log_probability=np.add.reduceat(answers.log_probability, starts),
    )
