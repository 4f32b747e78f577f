"""Measure how well the regions of texts and authors are identified, next to TF-IDF with a linear classifier.

    python -m benchmarks.identify_region --model models/bilma --classifier bilma-region --corpora corpora \
        --group_column author --news dsl_tl.jsonl.gz

All are tested on authors that none has seen: `--classifier` is one of finetune.py with the same split. TF-IDF of words
and characters learns from the training part of each region's corpus; prior and temperature of every method are fitted
on the validation part. All texts are drawn with the seed. The output folder gets `identify_region.json`, a confusion
matrix and a reliability diagram. Accuracies are means over regions with equal weight.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.region_scores import Method, Part, Resampling, draw, score, summary
from benchmarks.reporting import write_result
from modeling_bilma.tokenization_bilma import normalize
from training.common.arguments import check_each, option, parse_arguments
from training.common.errors import InputError, run
from training.evaluation.arguments import check_resamples
from training.evaluation.models import pick_device
from training.evaluation.region_calibration import fit_calibration
from training.evaluation.region_identification import open_identifier
from training.finetuning.baselines import CHARACTERS, WORDS, best_linear, tfidf
from training.texts.corpus import Corpus, open_corpora
from training.texts.files import find_files
from training.texts.splits import is_test, is_validation, split_hash

BASELINE = "tfidf"


@dataclass(kw_only=True)
class IdentifyArguments:
    model: str = field(metadata={"help": "folder of a model with regional parts, whose likelihoods are measured"})
    corpora: list[str] = field(metadata={"help": "files or folders of texts, named after their regions"})
    classifier: str | None = option(None, "folder of a classifier of regions")
    news: str | None = option(None, "labelled file of another genre, with labels such as ES-AR; others are left out")
    output_dir: str = option("benchmarks/results", "folder for the results")
    text_column: str = option("text", "column or field that holds the texts")
    group_column: str | None = option(None, "column or field that names a text's author")
    test_fraction: float = option(0.05, "share of the texts in the test part, as given to pretrain.py")
    validation_fraction: float = option(0.05, "share of the texts to fit prior and temperature on")
    max_training_texts: int = option(20000, "most texts of each region that TF-IDF learns from")
    max_validation_texts: int = option(500, "most validation texts of each region")
    max_test_texts: int = option(3000, "most test texts of each region")
    max_likelihood_texts: int = option(500, "most of them that likelihoods are computed of, which takes long")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of the texts and of the bootstrap")


def main() -> None:
    args = parse_arguments(IdentifyArguments, __doc__.splitlines()[0])
    check_each(args, "above 0 and at most 1", "test_fraction", "validation_fraction")
    check_resamples(args.resamples)
    corpora = open_corpora(args.corpora, args.text_column, args.group_column)
    regions = sorted(corpora)
    parts = read_parts(args, corpora)
    every = {name: np.arange(len(part.texts)) for name, part in parts.items()}
    few = {name: part.first_of_each(args.max_likelihood_texts) for name, part in parts.items()}

    resampling = Resampling(args.resamples, args.seed)
    baseline = calibrated(every, tfidf_evidence(parts), parts, regions)
    scores = {BASELINE: score(baseline, baseline, parts, resampling)}
    for name, path, places in (("likelihoods", args.model, few), ("classifier", args.classifier, every)):
        if path:
            evidence, speed = model_evidence(path, regions, parts, places)
            method = calibrated(places, evidence, parts, regions)
            scores[name] = {"texts_per_second": speed} | score(method, baseline, parts, resampling)
    result = write_result(
        Path(args.output_dir) / "identify_region.json",
        pick_device(),
        settings={name: value for name, value in vars(args).items() if isinstance(value, int | float)},
        corpora={region: {"names": c.names(), "fingerprint": c.fingerprint} for region, c in corpora.items()},
        regions=regions,
        methods=scores,
    )
    draw(result, Path(args.output_dir))
    print(summary(result))


def read_parts(args: IdentifyArguments, corpora: dict[str, Corpus]) -> dict[str, Part]:
    """Draw training, validation and test texts of all regions, split as in all scripts, and the news.

    Raises:
        InputError: if a part of a region has no texts.
    """
    most = {name: getattr(args, f"max_{name}_texts") for name in ("training", "validation", "test")}
    parts = {name: Part() for name in most}
    for number, region in enumerate(sorted(corpora)):
        rows: dict[str, list[tuple[str, str | None]]] = {name: [] for name in most}
        for text, author in corpora[region].grouped():
            rows[part_of(split_hash(text, author), args)].append((text, author))
        print(f"{region}: {corpora[region].report.summary()}")
        rng = np.random.default_rng((args.seed, number))
        for name, part in parts.items():
            if not rows[name]:
                names = ", ".join(corpora[region].names())
                raise InputError(f"{names}: no {name} text: give more texts, or a larger fraction")
            for drawn in rng.permutation(len(rows[name]))[: most[name]]:
                part.add(*rows[name][drawn], number)
    return parts | ({"news": read_news(args, sorted(corpora))} if args.news else {})


def part_of(hash_: int, args: IdentifyArguments) -> str:
    if is_test(hash_, args.test_fraction):
        return "test"
    return "validation" if is_validation(hash_, args.validation_fraction) else "training"


def read_news(args: IdentifyArguments, regions: list[str]) -> Part:
    """Read labelled texts in a drawn order; those with another label than a language and a known region are left out.

    Raises:
        InputError: if none is left.
    """
    corpus = Corpus(find_files([args.news]), text_column=args.text_column, label_column="label")
    rows = [(text, label.partition("-")[2].lower()) for text, label in corpus.rows()]
    known = [row for row in rows if row[1] in regions]
    print(f"{args.news}: {len(rows) - len(known)} of {len(rows)} texts have no label of one region; left out")
    if not known:
        raise InputError(f"{args.news}: no text has a label such as ES-AR, of one of the regions of the corpora")
    part = Part()
    for drawn in np.random.default_rng(args.seed).permutation(len(known)):
        part.add(known[drawn][0], None, regions.index(known[drawn][1]))
    return part


def tfidf_evidence(parts: dict[str, Part]) -> dict[str, np.ndarray]:
    """Return margins of a linear classifier on TF-IDF, (texts, regions) by part; validation texts choose it."""
    named = {"train" if name == "training" else name: part for name, part in parts.items()}  # as the baselines call it
    features = tfidf(
        {name: [normalize(text) for text in part.texts] for name, part in named.items()}, CHARACTERS, WORDS
    )
    machine = best_linear(features, {name: part.regions for name, part in named.items()}, "balanced")
    return {name: margins(machine.decision_function(matrix)) for name, matrix in features.items() if name != "train"}


def margins(decisions: np.ndarray) -> np.ndarray:
    """(texts, regions), also of two regions, for which scikit-learn gives one column."""
    return decisions if decisions.ndim == 2 else np.stack([-decisions, decisions], axis=1)


def model_evidence(
    path: str, regions: Sequence[str], parts: dict[str, Part], places: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float]:
    """Return the evidence of a model, (texts, regions) by part, and how many test texts it read in a second.

    Raises:
        InputError: if the model does not know a region.
    """
    identifier = open_identifier(Path(path))
    if lacking := sorted(set(regions) - set(identifier.regions)):
        raise InputError(f"{path}: the model does not know {', '.join(lacking)}: omit their corpora")
    columns = [identifier.regions.index(region) for region in regions]
    found, seconds = {}, {}
    for name in (name for name in parts if name != "training"):
        started = time.perf_counter()
        found[name] = identifier.evidence(parts[name].at(places[name]).texts)[:, columns]
        seconds[name] = time.perf_counter() - started
    return found, len(places["test"]) / seconds["test"]


def calibrated(
    places: dict[str, np.ndarray], evidence: dict[str, np.ndarray], parts: dict[str, Part], regions: Sequence[str]
) -> Method:
    right = [regions[number] for number in parts["validation"].regions[places["validation"]]]
    return Method(places, evidence, fit_calibration("", regions, evidence["validation"], right))


if __name__ == "__main__":
    run(main)
