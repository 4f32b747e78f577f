"""Measure how well the likelihoods of one model identify regions, next to TF-IDF with a linear classifier.

    python -m benchmarks.identify_region --model models/bilma --corpora corpora --group_column author

Both are tested on authors that neither has seen. TF-IDF of words and characters is trained on the training part of
each region's corpus; prior and temperature of the model are fitted on the validation part. The output folder gets
`identify_region.json`, with accuracy per text and per author, confusion matrix and calibration error, and a
reliability diagram. Accuracies are means over regions with equal weight.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.reporting import write_result
from modeling_bilma.tokenization_bilma import normalize
from training.common.arguments import check_each, option, parse_arguments
from training.common.errors import InputError, run
from training.evaluation.arguments import check_resamples
from training.evaluation.figures import save
from training.evaluation.intervals import interval, resampled_sums
from training.evaluation.region_identification import RegionIdentifier, fit_calibration, open_regional_model
from training.evaluation.results import Estimate
from training.finetuning.baselines import CHARACTERS, linear, tfidf
from training.finetuning.scores import confusion
from training.texts.corpus import Corpus, open_corpora
from training.texts.splits import is_test, is_validation, split_hash

BINS = 10  # of the calibration error
TEXTS_OF_AUTHOR = 100


@dataclass(kw_only=True)
class IdentifyArguments:
    model: str = field(metadata={"help": "folder of a model with regional parts"})
    corpora: list[str] = field(metadata={"help": "files or folders of texts, named after their regions"})
    output_dir: str = option("benchmarks/results", "folder for the results")
    text_column: str = option("text", "column or field that holds the texts")
    group_column: str | None = option(None, "column or field that names a text's author")
    test_fraction: float = option(0.05, "share of the texts in the test part, as given to pretrain.py")
    validation_fraction: float = option(0.05, "share of the texts to fit prior and temperature on")
    max_training_texts: int = option(20000, "most texts of each region that TF-IDF learns from")
    max_validation_texts: int = option(500, "maximum validation texts of each region")
    max_test_texts: int = option(1000, "maximum test texts of each region")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of the bootstrap")


@dataclass
class Part:
    """Texts with the numbers of their regions and their authors; a text without an author is its own."""

    texts: list[str]
    regions: np.ndarray
    authors: list[str]


def main() -> None:
    args = parse_arguments(IdentifyArguments, __doc__.splitlines()[0])
    check_each(args, "above 0 and at most 1", "test_fraction", "validation_fraction")
    check_resamples(args.resamples)
    folder = open_regional_model(Path(args.model))
    corpora = open_corpora(args.corpora, args.text_column, args.group_column)
    if lacking := sorted(set(corpora) - set(folder.regions)):
        raise InputError(f"{args.model}: the model has no part for {', '.join(lacking)}: omit their corpora")
    regions = sorted(corpora)
    parts = read_parts(args, corpora)

    identifier = RegionIdentifier(folder)
    columns = [folder.regions.index(region) for region in regions]
    likelihoods = {name: identifier.log_likelihoods(parts[name].texts) for name in ("validation", "test")}
    right = [regions[number] for number in parts["validation"].regions]
    calibration = fit_calibration(folder, likelihoods["validation"], right)
    probabilities = calibration.probabilities(likelihoods["test"])[:, columns]
    guesses = {"model": probabilities.argmax(1), "tfidf": tfidf_guesses(parts)}

    output_dir = Path(args.output_dir)
    found = {
        "settings": {
            name: getattr(args, name) for name in vars(args) if name not in ("model", "corpora", "output_dir")
        },
        "model": folder.facts(),
        "corpora": {region: {"names": c.names(), "fingerprint": c.fingerprint} for region, c in corpora.items()},
        "regions": regions,
        "test_texts": np.bincount(parts["test"].regions).tolist(),
        "authors": len(set(parts["test"].authors)),
        "calibration": {"scale": calibration.scale, "bias": calibration.bias},
        "per_text": per_text(args, parts["test"], guesses),
        "per_author": per_author(parts["test"], calibration.scale * likelihoods["test"][:, columns]),
        "confusion": confusion(parts["test"].regions, guesses["model"], len(regions)).tolist(),
        "calibration_error": calibration_error(probabilities, parts["test"].regions),
        "reliability": reliability(probabilities, parts["test"].regions),
    }
    result = write_result(output_dir / "identify_region.json", identifier.model.device, **found)
    save(reliability_diagram(result["reliability"]), output_dir / "identify_region")
    print(summary(result))


def read_parts(args: IdentifyArguments, corpora: dict[str, Corpus]) -> dict[str, Part]:
    """Read the training, validation and test texts of all regions, split as in all scripts.

    Raises:
        InputError: if a part of a region has no texts.
    """
    most = {name: getattr(args, f"max_{name}_texts") for name in ("training", "validation", "test")}
    parts = {name: Part([], np.empty(0, int), []) for name in most}
    for number, corpus in enumerate(corpora[region] for region in sorted(corpora)):
        counts = dict.fromkeys(most, 0)
        for text, author in corpus.grouped():
            name = part_of(split_hash(text, author), args)
            if counts[name] < most[name]:
                counts[name] += 1
                parts[name].texts.append(text)
                parts[name].authors.append(author or f"text {number} {len(parts[name].texts)}")
        if not all(counts.values()):
            empty = min(counts, key=counts.__getitem__)
            raise InputError(f"{', '.join(corpus.names())}: no {empty} text: give more texts, or a larger fraction")
        for name, part in parts.items():
            part.regions = np.append(part.regions, np.full(counts[name], number))
    return parts


def part_of(hash_: int, args: IdentifyArguments) -> str:
    if is_test(hash_, args.test_fraction):
        return "test"
    return "validation" if is_validation(hash_, args.validation_fraction) else "training"


def tfidf_guesses(parts: dict[str, Part]) -> np.ndarray:
    """Predict with a linear classifier on TF-IDF of words and characters, selected on the validation texts."""
    names = {"training": "train", "validation": "validation", "test": "test"}
    texts = {names[name]: [normalize(text) for text in part.texts] for name, part in parts.items()}
    features = tfidf(texts, {"token_pattern": r"\S+", "ngram_range": (1, 2)}, CHARACTERS)
    return linear(features, {names[name]: part.regions for name, part in parts.items()}, "balanced")["test"]


def mean_accuracy(sums: np.ndarray) -> np.ndarray:
    """Return the mean accuracy over regions, from (..., 2 x regions): correct predictions, then texts."""
    hits, texts = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.nanmean(hits / texts, axis=-1)


def per_text(args: IdentifyArguments, test: Part, guesses: dict[str, np.ndarray]) -> dict[str, Estimate]:
    """Return the accuracy of each method and the difference of the two, with intervals over authors."""
    classes = np.eye(test.regions.max() + 1)[test.regions]
    _, authors = np.unique(test.authors, return_inverse=True)
    values, samples = {}, {}
    for name, guessed in guesses.items():
        of_texts = np.concatenate([classes * (guessed == test.regions)[:, None], classes], axis=1)
        of_authors = np.zeros((authors.max() + 1, of_texts.shape[1]))
        np.add.at(of_authors, authors, of_texts)
        values[name] = float(mean_accuracy(of_texts.sum(0)))
        samples[name] = mean_accuracy(resampled_sums(of_authors, args.resamples, args.seed))
    found = {name: interval(value, samples[name]) for name, value in values.items()}
    found["model_less_tfidf"] = interval(values["model"] - values["tfidf"], samples["model"] - samples["tfidf"])
    return found


def per_author(test: Part, scores: np.ndarray) -> dict[str, Any]:
    """Return the accuracy over authors, adding up the log-likelihoods of up to `TEXTS_OF_AUTHOR` texts of each."""
    number_of_region = dict(zip(test.authors, test.regions.tolist(), strict=True))
    hits: dict[int, list[bool]] = {number: [] for number in range(scores.shape[1])}
    for author, region in number_of_region.items():
        own = [number for number, name in enumerate(test.authors) if name == author][:TEXTS_OF_AUTHOR]
        hits[region].append(bool(scores[own].sum(0).argmax() == region))
    shares = [float(np.mean(found)) for found in hits.values() if found]
    return {"accuracy": float(np.mean(shares)), "by_region": shares, "authors": len(number_of_region)}


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


def reliability_diagram(found: list[dict[str, float]]) -> Figure:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    axis.plot([entry["confidence"] for entry in found], [entry["accuracy"] for entry in found], marker="o")
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title="Region of a text: reliability")
    return figure


def summary(result: dict[str, Any]) -> str:
    lines = [f"{sum(result['test_texts']):,} texts of {result['authors']:,} authors, {len(result['regions'])} regions"]
    for name, estimate in result["per_text"].items():
        lines.append(f"{name}: {estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})")
    lines.append(f"per author: {result['per_author']['accuracy']:.3f}")
    lines.append(f"calibration error: {result['calibration_error']:.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
