"""Scores of methods that tell regions: accuracies with intervals over authors, calibration, and their pictures."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.draw import OTHERS, OURS
from training.evaluation.figures import heatmap
from training.evaluation.intervals import interval, resampled_sums, sums_of_clusters
from training.evaluation.region_calibration import Calibration
from training.evaluation.results import Estimate, number
from training.finetuning.scores import confusion

BINS = 10  # of the calibration error
TEXTS_OF_AUTHOR = 100
LENGTHS = (0, 8, 12, 16, 24, 1000)  # of texts in words, each the beginning of a class
COLOURS = {"tfidf": OTHERS, "likelihoods": OURS, "classifier": "#D55E00"}


@dataclass
class Part:
    """Texts with the numbers of their regions and their authors; a text without an author is its own."""

    texts: list[str] = field(default_factory=list)
    authors: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    @property
    def regions(self) -> np.ndarray:
        return np.array(self.numbers)

    def add(self, text: str, author: str | None, region: int) -> None:
        self.texts.append(text)
        self.authors.append(author or f"\0{len(self.texts)}")
        self.numbers.append(region)

    def first_of_each(self, most: int) -> np.ndarray:
        """Return the places of the first texts of each region."""
        regions = self.regions
        return np.concatenate([np.flatnonzero(regions == region)[:most] for region in np.unique(regions)])

    def at(self, places: np.ndarray) -> "Part":
        return Part(*([values[place] for place in places] for values in (self.texts, self.authors, self.numbers)))

    def author_numbers(self) -> np.ndarray:
        return np.unique(self.authors, return_inverse=True)[1]


@dataclass
class Method:
    """What a method finds: evidence for each region, (texts, regions), of the texts at `places`, by part."""

    places: dict[str, np.ndarray]
    evidence: dict[str, np.ndarray]
    calibration: Calibration

    def log_probabilities(self, part: str) -> np.ndarray:
        """(texts, regions), of the texts at `places`."""
        return np.log(self.calibration.probabilities(self.evidence[part]))


@dataclass
class Resampling:
    resamples: int
    seed: int

    def accuracies(self, hits: np.ndarray, regions: np.ndarray, clusters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the mean accuracy over regions of equal weight, and the same in bootstrap samples of clusters.

        Args:
            hits, regions, clusters: whether each prediction is right, its region, and its author; (predictions,).
        """
        classes = np.eye(regions.max() + 1)[regions]
        of_texts = np.concatenate([classes * hits[:, None], classes], axis=1)
        samples = resampled_sums(sums_of_clusters(of_texts, clusters), self.resamples, self.seed)
        return float(mean_accuracy(of_texts.sum(0))), mean_accuracy(samples)

    def compared(
        self, hits: np.ndarray, theirs: np.ndarray, regions: np.ndarray, clusters: np.ndarray
    ) -> dict[str, Estimate]:
        """Return the accuracy, and what it exceeds that of the baseline by, paired by prediction."""
        (ours, our_samples), (other, other_samples) = (
            self.accuracies(of_method, regions, clusters) for of_method in (hits, theirs)
        )
        return {
            "accuracy": interval(ours, our_samples),
            "less_tfidf": interval(ours - other, our_samples - other_samples),
        }


def mean_accuracy(sums: np.ndarray) -> np.ndarray:
    """Return the mean accuracy over regions, from (..., 2 x regions): right predictions, then all."""
    hits, counts = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(hits / counts, axis=-1)


def score(method: Method, baseline: Method, parts: dict[str, Part], resampling: Resampling) -> dict[str, Any]:
    """Score a method on its test texts and, if there are any, news, each next to the baseline on the same texts.

    The baseline has found evidence for all texts.
    """
    found = score_texts(method, baseline, parts["test"], resampling)
    return found | ({"news": score_news(method, baseline, parts["news"], resampling)} if "news" in parts else {})


def score_texts(method: Method, baseline: Method, test: Part, resampling: Resampling) -> dict[str, Any]:
    """Score a method per text, per author and by length."""
    part = test.at(method.places["test"])
    ours = method.log_probabilities("test")
    theirs = baseline.log_probabilities("test")[method.places["test"]]
    hits, their_hits = ours.argmax(1) == part.regions, theirs.argmax(1) == part.regions
    authors = part.author_numbers()
    lengths = np.array([len(text.split()) for text in part.texts])
    by_length = {}
    for low, high in pairwise(LENGTHS):
        if (chosen := (lengths >= low) & (lengths < high)).any():
            places = np.unique(authors[chosen], return_inverse=True)[1]
            found = resampling.compared(hits[chosen], their_hits[chosen], part.regions[chosen], places)
            by_length[f"{low} to {high - 1}"] = {"texts": int(chosen.sum()), **found}
    return {
        "texts": np.bincount(part.regions).tolist(),
        "per_text": resampling.compared(hits, their_hits, part.regions, authors),
        "per_author": score_authors(part, ours, theirs, resampling),
        "by_length": by_length,
        "calibration": {"scale": method.calibration.scale, "bias": method.calibration.bias},
        "calibration_error": calibration_error(np.exp(ours), part.regions),
        "reliability": reliability(np.exp(ours), part.regions),
        "confusion": confusion(part.regions, ours.argmax(1), ours.shape[1]).tolist(),
    }


def score_authors(part: Part, ours: np.ndarray, theirs: np.ndarray, resampling: Resampling) -> dict[str, Any]:
    """Score authors by the summed log-probabilities of up to `TEXTS_OF_AUTHOR` texts of each."""
    numbers = part.author_numbers()
    texts = [np.flatnonzero(numbers == author)[:TEXTS_OF_AUTHOR] for author in range(numbers.max() + 1)]
    regions = np.array([part.regions[own[0]] for own in texts])
    hits, their_hits = (np.array([found[own].sum(0).argmax() for own in texts]) == regions for found in (ours, theirs))
    return {
        "authors": len(texts),
        "texts_of_author": float(np.mean([len(own) for own in texts])),
        **resampling.compared(hits, their_hits, regions, np.arange(len(texts))),
        "by_region": [float(hits[regions == region].mean()) for region in np.unique(regions)],
    }


def score_news(method: Method, baseline: Method, news: Part, resampling: Resampling) -> dict[str, Any]:
    """Score a method on texts of another genre; it chooses among their regions alone."""
    part = news.at(method.places["news"])
    among = np.unique(part.regions)
    hits, theirs = (
        among[found[:, among].argmax(1)] == part.regions
        for found in (method.log_probabilities("news"), baseline.log_probabilities("news")[method.places["news"]])
    )
    return {"texts": len(part.texts), **resampling.compared(hits, theirs, part.regions, part.author_numbers())}


def reliability(probabilities: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Return number of texts, mean confidence and accuracy for each non-empty bin of confidence."""
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == right
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "texts": int((bins == number).sum()),
            "confidence": float(confidence[bins == number].mean()),
            "accuracy": float(hits[bins == number].mean()),
        }
        for number in range(BINS)
        if (bins == number).any()
    ]


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, weighted by texts."""
    found = reliability(probabilities, right)
    return sum(entry["texts"] * abs(entry["confidence"] - entry["accuracy"]) for entry in found) / len(right)


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw the reliability of all methods, and the confusion matrix of the one that is right most often."""
    methods = result["methods"]
    best = max(methods, key=lambda name: methods[name]["per_text"]["accuracy"]["value"])
    for name, figure in (("reliability", reliability_diagram(methods)), ("confusion", confusion_matrix(result, best))):
        figure.savefig(folder / f"identify_region_{name}.png", dpi=120)


def reliability_diagram(methods: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(5, 5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    for name, scores in methods.items():
        confidence, accuracy = ([entry[key] for entry in scores["reliability"]] for key in ("confidence", "accuracy"))
        label = f"{name}, calibration error {scores['calibration_error']:.3f}"
        axis.plot(confidence, accuracy, marker="o", color=COLOURS[name], label=label)
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Region of a text: reliability")
    axis.legend(loc="upper left")
    return figure


def confusion_matrix(result: dict[str, Any], name: str) -> Figure:
    counts, regions = np.array(result["methods"][name]["confusion"]), result["regions"]
    labels = [[str(count) for count in row] for row in counts]
    title = f"{name}: test texts, shaded by the share of their region's"
    shares = counts / counts.sum(1, keepdims=True)
    return heatmap(shares, labels, regions, regions, title, "texts of", "guess", cell=(0.7, 0.5))


def summary(result: dict[str, Any]) -> str:
    lines = []
    for name, scores in result["methods"].items():
        lines.append(f"{name}: {sum(scores['texts']):,} texts; calibration error {scores['calibration_error']:.3f}")
        for kind in ("per_text", "per_author", "news"):
            if kind in scores:
                found = scores[kind]
                lines.append(f"  {kind}: {number(found['accuracy'])}; less TF-IDF {number(found['less_tfidf'])}")
    return "\n".join(lines)
