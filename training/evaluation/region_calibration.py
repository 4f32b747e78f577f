"""From evidence for each region to probabilities: prior and temperature, learnt on validation texts.

The probability of a region is a softmax over `scale` times the evidence for it plus its `bias`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from training.common.errors import InputError
from training.common.files import read_json, write_json

CALIBRATION_FILE = "region_calibration.json"


@dataclass
class Calibration:
    """`scale` is one over the temperature; `bias` has the logarithm of each region's prior. Of one model's weights."""

    fingerprint: str
    scale: float
    bias: dict[str, float]

    def probabilities(self, evidence: np.ndarray) -> np.ndarray:
        """(texts, regions), from evidence of the same shape, the regions in the order of `bias`."""
        return softmax(self.scale * evidence + np.array(list(self.bias.values())), axis=1)


def uncalibrated(fingerprint: str, regions: Sequence[str]) -> Calibration:
    """All regions equally likely beforehand, and the evidence as it is."""
    return Calibration(fingerprint, 1.0, dict.fromkeys(regions, 0.0))


def fit_calibration(
    fingerprint: str, regions: Sequence[str], evidence: np.ndarray, right: Sequence[str]
) -> Calibration:
    """Learn scale and bias from validation texts by maximum likelihood.

    Args:
        fingerprint: of the weights that the evidence is from.
        evidence: (texts, regions).
        right: the right region of each text; a region without texts gets the prior of half a text.
    """
    numbers = np.array([list(regions).index(region) for region in right])
    counts = np.bincount(numbers, minlength=len(regions))
    prior = np.log(np.maximum(counts, 0.5) / len(numbers))
    known = np.flatnonzero(counts)

    def loss(parameters: np.ndarray) -> float:
        bias = prior.copy()
        bias[known] += parameters[1:]
        log_probabilities = log_softmax(np.exp(parameters[0]) * evidence + bias, axis=1)
        # The small penalty pins the bias, of which only differences count.
        return -log_probabilities[np.arange(len(numbers)), numbers].mean() + 1e-6 * (parameters[1:] ** 2).sum()

    found = minimize(loss, np.zeros(1 + len(known)), method="L-BFGS-B").x
    prior[known] += found[1:]
    return Calibration(fingerprint, float(np.exp(found[0])), dict(zip(regions, prior.tolist(), strict=True)))


def read_calibration(folder: Path, fingerprint: str, regions: Sequence[str]) -> Calibration | None:
    """Read the calibration that `write_calibration` left in a model's folder; None if there is none.

    Raises:
        InputError: if it was learnt with other weights or regions, or is damaged.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    try:
        found = Calibration(**read_json(path))
    except TypeError as error:
        raise InputError(f"{path}: not a calibration ({error}): learn it again with --fit") from error
    if found.fingerprint != fingerprint or list(found.bias) != list(regions):
        raise InputError(f"{path}: learnt with other weights than the folder's: learn it again with --fit")
    return found


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    path = folder / CALIBRATION_FILE
    write_json(path, asdict(calibration))
    return path
