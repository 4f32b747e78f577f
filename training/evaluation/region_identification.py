"""Which region a text is from, by the likelihoods that one model gives it behind each region's token.

The log-likelihood of a text is estimated by masking every token once, a quarter of them at a time, and adding up their
log-probabilities. Prior and temperature are learnt on validation texts: the probability of a region is a softmax over
`scale` times its log-likelihood plus its `bias`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from transformers import AutoModelForMaskedLM, BatchEncoding

from training.common.errors import InputError
from training.common.files import read_json, write_json
from training.evaluation.masked_texts import MaskedText, MaskedTexts, behind_token, mask
from training.evaluation.models import ModelFolder, columns_of, open_folder, pick_device
from training.evaluation.predictions import predict

CALIBRATION_FILE = "region_calibration.json"
PASSES = 4  # a token is masked in one of these, together with every fourth token of its text


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
class Calibration:
    """`scale` is one over the temperature; `bias` has the logarithm of each region's prior. Of one model's weights."""

    fingerprint: str
    scale: float
    bias: dict[str, float]

    def probabilities(self, log_likelihoods: np.ndarray) -> np.ndarray:
        """(texts, regions), from the log-likelihoods of the same shape, the regions in the order of `bias`."""
        return softmax(self.scale * log_likelihoods + np.array(list(self.bias.values())), axis=1)


def uncalibrated(folder: ModelFolder) -> Calibration:
    """All regions equally likely beforehand, and the likelihoods as they are."""
    return Calibration(folder.fingerprint, 1.0, {region: 0.0 for region in folder.regions})


def fit_calibration(folder: ModelFolder, log_likelihoods: np.ndarray, regions: Sequence[str]) -> Calibration:
    """Learn scale and bias from validation texts by maximum likelihood.

    Args:
        log_likelihoods: (texts, regions of the model).
        regions: the right region of each text; a region of the model without texts gets the prior of half a text.
    """
    right = np.array([folder.regions.index(region) for region in regions])
    counts = np.bincount(right, minlength=len(folder.regions))
    prior = np.log(np.maximum(counts, 0.5) / len(right))
    known = np.flatnonzero(counts)

    def loss(parameters: np.ndarray) -> float:
        bias = prior.copy()
        bias[known] += parameters[1:]
        log_probabilities = log_softmax(np.exp(parameters[0]) * log_likelihoods + bias, axis=1)
        # The small penalty pins the bias, of which only differences count.
        return -log_probabilities[np.arange(len(right)), right].mean() + 1e-6 * (parameters[1:] ** 2).sum()

    found = minimize(loss, np.zeros(1 + len(known)), method="L-BFGS-B").x
    prior[known] += found[1:]
    bias = dict(zip(folder.regions, prior.tolist(), strict=True))
    return Calibration(folder.fingerprint, float(np.exp(found[0])), bias)


def read_calibration(folder: ModelFolder) -> Calibration | None:
    """Read the calibration that `write_calibration` left in the model's folder; None if there is none.

    Raises:
        InputError: if it was learnt with other weights or regions, or is damaged.
    """
    path = folder.path / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        found = Calibration(**read_json(path))
    except TypeError as error:
        raise InputError(f"{path}: not a calibration ({error}): learn it again with --fit") from error
    if found.fingerprint != folder.fingerprint or list(found.bias) != folder.regions:
        raise InputError(f"{path}: learnt with other weights than the folder's: learn it again with --fit")
    return found


def write_calibration(folder: ModelFolder, calibration: Calibration) -> Path:
    path = folder.path / CALIBRATION_FILE
    write_json(path, asdict(calibration))
    return path


def open_regional_model(path: Path) -> ModelFolder:
    """Open the folder of a model with regional parts.

    Raises:
        InputError: if it is none.
    """
    folder = open_folder(path)
    if len(folder.regions) < 2:
        raise InputError(f"{path}: not a model with regional parts: give one, such as models/bilma")
    return folder


@dataclass
class TokenLikelihoods:
    """The log-probability of every token of one text under each region.

    `positions` are those of the tokens in the encoded text, (tokens,); `values` is (regions, tokens).
    """

    positions: np.ndarray
    values: np.ndarray


class RegionIdentifier:
    """Identifies regions with a model that was opened once.

    Raises:
        InputError: if the model cannot be opened.
    """

    def __init__(self, folder: ModelFolder, tokens_per_batch: int = 4096, device: torch.device | None = None):
        self.folder = folder
        self.columns = columns_of(folder)[1:]
        self.tokens_per_batch = tokens_per_batch
        self.model = folder.open(AutoModelForMaskedLM, device or pick_device())

    def token_likelihoods(self, texts: Sequence[str]) -> list[TokenLikelihoods]:
        """The log-probability of every token of every text; of a text without known tokens there is none."""
        tokenizer = self.folder.tokenizer
        rows: list[MaskedText] = []
        for number, text in enumerate(texts):
            ids = np.array(self.encode(text)["input_ids"])
            candidates = np.flatnonzero(~np.isin(ids, tokenizer.all_special_ids))
            for first in range(min(PASSES, len(candidates))):
                rows.append(mask(number, ids, candidates[first::PASSES], tokenizer.mask_token_id))
        if not rows:
            return [TokenLikelihoods(np.empty(0, int), np.empty((len(self.columns), 0))) for _ in texts]
        masked = MaskedTexts(rows)
        positions = np.concatenate([row.positions for row in rows])
        values = np.stack(
            [
                predict(
                    self.model,
                    behind_token(masked, column.token_id),
                    tokenizer.pad_token_id,
                    self.tokens_per_batch,
                    column.name,
                ).known()
                for column in self.columns
            ]
        )
        order = np.lexsort((positions, masked.texts))
        ends = np.searchsorted(masked.texts[order], np.arange(1, len(texts)))
        return [TokenLikelihoods(positions[of_text], values[:, of_text]) for of_text in np.split(order, ends)]

    def log_likelihoods(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, regions)."""
        return np.stack([found.values.sum(1) for found in self.token_likelihoods(texts)])

    def identify(self, texts: Sequence[str], calibration: Calibration, most_words: int = 3) -> list[Identification]:
        """Say of each text which region is the likeliest, and which words speak for it."""
        likelihoods = self.token_likelihoods(texts)
        probabilities = calibration.probabilities(np.stack([found.values.sum(1) for found in likelihoods]))
        found: list[Identification] = []
        for text, of_text, shares in zip(texts, likelihoods, probabilities, strict=True):
            best = int(shares.argmax())
            found.append(
                {
                    "text": text,
                    "region": self.folder.regions[best],
                    "probabilities": dict(zip(self.folder.regions, shares.tolist(), strict=True)),
                    "words": self.deciding_words(text, of_text, best)[:most_words],
                }
            )
        return found

    def deciding_words(self, text: str, likelihoods: TokenLikelihoods, region: int) -> list[DecidingWord]:
        """The words that speak for a region, the strongest first; several tokens of a word are added up."""
        encoding = self.encode(text)
        others = np.delete(likelihoods.values, region, axis=0).mean(0)
        words: dict[int, DecidingWord] = {}
        for position, nats in zip(likelihoods.positions, likelihoods.values[region] - others, strict=True):
            start, end = encoding["offset_mapping"][position]
            number = encoding.word_ids()[position]
            word = words.setdefault(number, {"word": "", "nats": 0.0})
            word["word"] += text[start:end]
            word["nats"] += float(nats)
        return sorted((word for word in words.values() if word["nats"] > 0), key=lambda word: -word["nats"])

    def encode(self, text: str) -> BatchEncoding:
        length = self.folder.longest - 1  # the region's token needs a place
        return self.folder.tokenizer(text, truncation=True, max_length=length, return_offsets_mapping=True)
