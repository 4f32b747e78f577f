"""Which region a text is from, by a classifier of regions or by the likelihoods of a model with regional parts.

A classifier gives log-probabilities of the regions. A model with regional parts gives the log-likelihood of the text
behind each region's token, estimated by masking every token once, a quarter of them at a time, and adding up their
log-probabilities. Either is the evidence that a calibration turns into probabilities.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from training.common.errors import InputError
from training.evaluation.masked_texts import MaskedText, MaskedTexts, behind_token, mask
from training.evaluation.models import ModelFolder, columns_of, open_folder, pick_device
from training.evaluation.predictions import predict
from training.evaluation.region_calibration import Calibration
from training.inference.outputs import batched_outputs

PASSES = 4  # a token is masked in one of these, together with every fourth token of its text
TOKENS_PER_BATCH = 4096
TEXTS_PER_BATCH = 64


class DecidingWord(TypedDict):
    """A word and by how many nats it speaks for the likeliest region against the mean of the others."""

    word: str
    nats: float


class Identification(TypedDict):
    """The likeliest region of a text, the probability of each, and the words that speak most for it."""

    text: str
    region: str
    probabilities: dict[str, float]
    words: list[DecidingWord]


@dataclass
class EncodedText:
    """The token ids of a text, and its words with the positions of their tokens; special tokens are in no word."""

    ids: np.ndarray
    words: list[str]
    positions: list[np.ndarray]


@dataclass
class Evidence:
    """What speaks for each region, in nats: `total` of the text, (regions,), and `by_word`, (words, regions)."""

    total: np.ndarray
    words: list[str]
    by_word: np.ndarray


class RegionIdentifier(ABC):
    """Identifies regions with a model that is opened once; `regions` are those that it tells apart.

    Raises:
        InputError: if the model cannot be opened.
    """

    auto_class: ClassVar[Any]

    def __init__(self, folder: ModelFolder, regions: Sequence[str], device: torch.device | None = None):
        self.folder, self.regions = folder, list(regions)
        self.model = folder.open(self.auto_class, device or pick_device())

    @abstractmethod
    def evidence(self, texts: Sequence[str]) -> np.ndarray:
        """Return what speaks for each region, (texts, regions); of a text without known tokens nothing does."""

    @abstractmethod
    def evidence_by_word(self, texts: Sequence[str]) -> list[Evidence]:
        """Return the same for each text, and what each of its words adds."""

    def identify(self, texts: Sequence[str], calibration: Calibration, most_words: int = 3) -> list[Identification]:
        """Say of each text which region is the likeliest, and which words speak for it."""
        explained = self.evidence_by_word(texts)
        probabilities = calibration.probabilities(np.stack([evidence.total for evidence in explained]))
        found: list[Identification] = []
        for text, evidence, shares in zip(texts, explained, probabilities, strict=True):
            best = int(shares.argmax())
            found.append(
                {
                    "text": text,
                    "region": self.regions[best],
                    "probabilities": dict(zip(self.regions, shares.tolist(), strict=True)),
                    "words": deciding_words(evidence, best)[:most_words],
                }
            )
        return found

    def encode(self, text: str) -> EncodedText:
        tokenizer = self.folder.tokenizer
        length = self.folder.longest - 1  # the region's token needs a place
        encoding = tokenizer(text, truncation=True, max_length=length, return_offsets_mapping=True)
        ids, offsets, numbers = np.array(encoding["input_ids"]), encoding["offset_mapping"], encoding.word_ids()
        words: dict[int, list[int]] = {}
        for position in np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids)).tolist():
            words.setdefault(numbers[position], []).append(position)
        spelled = ["".join(text[slice(*offsets[position])] for position in word) for word in words.values()]
        return EncodedText(ids, spelled, [np.array(word) for word in words.values()])


def deciding_words(evidence: Evidence, region: int) -> list[DecidingWord]:
    """List the words that speak for a region against the mean of the others, the strongest first."""
    nats = evidence.by_word[:, region] - np.delete(evidence.by_word, region, axis=1).mean(1)
    words: list[DecidingWord] = [
        {"word": word, "nats": float(value)} for word, value in zip(evidence.words, nats, strict=True) if value > 0
    ]
    return sorted(words, key=lambda word: -word["nats"])


class ByLikelihood(RegionIdentifier):
    """With a model with regional parts. A word adds the log-probabilities of its tokens."""

    auto_class = AutoModelForMaskedLM

    def evidence(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([values.sum(0) for values in self.token_likelihoods([self.encode(text) for text in texts])])

    def evidence_by_word(self, texts: Sequence[str]) -> list[Evidence]:
        encoded = [self.encode(text) for text in texts]
        found = []
        for text, values in zip(encoded, self.token_likelihoods(encoded), strict=True):
            ends = np.cumsum([len(word) for word in text.positions])[:-1]
            by_word = [of_word.sum(0) for of_word in np.split(values, ends)] if text.words else []
            found.append(Evidence(values.sum(0), text.words, np.reshape(by_word, (-1, len(self.regions)))))
        return found

    def token_likelihoods(self, texts: Sequence[EncodedText]) -> list[np.ndarray]:
        """Return for each text the log-probabilities of the tokens of its words, (tokens, regions)."""
        tokenizer = self.folder.tokenizer
        rows: list[MaskedText] = []
        for number, text in enumerate(texts):
            tokens = np.concatenate([np.empty(0, int), *text.positions])
            for first in range(min(PASSES, len(tokens))):
                rows.append(mask(number, text.ids, tokens[first::PASSES], tokenizer.mask_token_id))
        if not rows:
            return [np.empty((0, len(self.regions))) for _ in texts]
        masked = MaskedTexts(rows)
        values = np.stack(
            [
                predict(
                    self.model,
                    behind_token(masked, column.token_id),
                    tokenizer.pad_token_id,
                    TOKENS_PER_BATCH,
                    column.name,
                ).known()
                for column in columns_of(self.folder)[1:]
            ],
            axis=1,
        )
        order = np.lexsort((np.concatenate([row.positions for row in rows]), masked.texts))
        return np.split(values[order], np.searchsorted(masked.texts[order], np.arange(1, len(texts))))


class ByClassifier(RegionIdentifier):
    """With a classifier whose labels are regions. A word adds what is lost where its tokens are masked."""

    auto_class = AutoModelForSequenceClassification

    def evidence(self, texts: Sequence[str]) -> np.ndarray:
        return self.log_probabilities([self.encode(text).ids for text in texts])

    def evidence_by_word(self, texts: Sequence[str]) -> list[Evidence]:
        encoded = [self.encode(text) for text in texts]
        mask_id = self.folder.tokenizer.mask_token_id
        rows = []
        for text in encoded:
            rows += [text.ids, *(mask(0, text.ids, positions, mask_id).input_ids for positions in text.positions)]
        ends = np.cumsum([1 + len(text.words) for text in encoded])[:-1]
        of_texts = np.split(self.log_probabilities(rows), ends)
        return [
            Evidence(found[0], text.words, found[0] - found[1:]) for text, found in zip(encoded, of_texts, strict=True)
        ]

    def log_probabilities(self, rows: Sequence[np.ndarray]) -> np.ndarray:
        """(rows, regions), from token ids."""
        found = np.empty((len(rows), len(self.regions)))
        for numbers, _, outputs in batched_outputs(
            [row.tolist() for row in rows], self.model, self.folder.tokenizer, TEXTS_PER_BATCH
        ):
            found[numbers] = outputs.logits.double().log_softmax(-1).cpu().numpy()
        return found


def open_identifier(path: Path, device: torch.device | None = None) -> RegionIdentifier:
    """Open a classifier of regions, or a model with regional parts.

    Raises:
        InputError: if the folder holds neither.
    """
    folder = open_folder(path)
    if (folder.config.architectures or [""])[0].endswith("ForSequenceClassification"):
        if all(re.fullmatch("[a-z]{2}", label) for label in folder.label_names):
            return ByClassifier(folder, folder.label_names, device)
    elif len(folder.regions) > 1:
        return ByLikelihood(folder, folder.regions, device)
    raise InputError(
        f"{path}: tells no regions apart: give a classifier with regions as labels, or a model with regional parts, "
        "such as models/bilma"
    )
