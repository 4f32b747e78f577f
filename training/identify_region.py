"""Say which region a text is from, and which words decided.

    python training/identify_region.py --model models/bilma "Che, vení que ya sale el bondi"
    python training/identify_region.py --model models/bilma --texts tweets.jsonl.gz > regions.jsonl
    python training/identify_region.py --model models/bilma --fit corpora --group_column author

The model is a classifier whose labels are regions, or one with regional parts, whose likelihoods decide. The first
form prints for people, the second one JSON object a line. `--fit` learns prior and temperature from the validation
part of the corpora and writes them into the model's folder; without them all regions count as equally likely, and
probabilities are too sure. This runs the model code that lies beside the weights.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import argparse
import heapq
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from training.common.errors import InputError, run
from training.evaluation.region_calibration import (
    CALIBRATION_FILE,
    Calibration,
    fit_calibration,
    read_calibration,
    uncalibrated,
    write_calibration,
)
from training.evaluation.region_identification import Identification, RegionIdentifier, open_identifier
from training.texts.corpus import Corpus, open_corpora
from training.texts.files import find_files
from training.texts.lines import FileFormat
from training.texts.splits import is_validation, split_hash, text_hash

TEXTS_AT_ONCE = 256


def main() -> None:
    args = parse()
    if args.max_validation_texts < 1:
        raise InputError(f"--max_validation_texts {args.max_validation_texts} is not 1 or more")
    model = Path(args.model)
    if args.fit and (model / CALIBRATION_FILE).exists() and not args.overwrite:
        raise InputError(f"{model} already holds {CALIBRATION_FILE}: give --overwrite to replace it")
    identifier = open_identifier(model)
    fingerprint, regions = identifier.folder.fingerprint, identifier.regions
    if args.fit:
        print(write_calibration(model, learn(identifier, args)))
        return
    calibration = read_calibration(model, fingerprint, regions)
    if calibration is None:
        print("not calibrated: learn prior and temperature with --fit", file=sys.stderr)
        calibration = uncalibrated(fingerprint, regions)
    file_format = FileFormat(args.encoding, args.delimiter)
    files = find_files([args.texts]) if args.texts else ()
    corpus = Corpus(files, text_column=args.text_column, file_format=file_format)
    for found in identify_all(identifier, calibration, iter(args.text or corpus)):
        print(as_text(found) if args.text else json.dumps(found, ensure_ascii=False))
    if files:
        print(f"{args.texts}: {corpus.report.summary()}", file=sys.stderr)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="*", help="texts to identify")
    parser.add_argument(
        "--model", required=True, help="folder of a classifier of regions, or of a model with regional parts"
    )
    parser.add_argument("--texts", help="file of texts to identify")
    parser.add_argument("--text_column", default="text", help="column or field that holds the texts")
    parser.add_argument("--encoding", help="encoding of text files, such as latin-1 (default: UTF-8)")
    parser.add_argument("--delimiter", help="character between columns of a table (default: a comma, in .tsv a tab)")
    parser.add_argument("--fit", nargs="+", help="corpora to learn prior and temperature from, named by region")
    parser.add_argument("--group_column", help="column of the texts' authors, if the model's corpora were split by it")
    parser.add_argument("--validation_fraction", type=float, default=0.05, help="share of the texts to learn from")
    parser.add_argument("--max_validation_texts", type=int, default=500, help="most texts of each region for --fit")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier --fit learnt")
    args = parser.parse_args()
    if bool(args.text) + bool(args.texts) + bool(args.fit) != 1:
        raise InputError("give texts, a file of texts as --texts, or corpora as --fit: one of the three")
    if not 0 < args.validation_fraction <= 1:
        raise InputError(f"--validation_fraction {args.validation_fraction} is not above 0 and at most 1")
    return args


def identify_all(
    identifier: RegionIdentifier, calibration: Calibration, texts: Iterator[str]
) -> Iterator[Identification]:
    while some := list(islice(texts, TEXTS_AT_ONCE)):
        yield from identifier.identify(some, calibration)


def learn(identifier: RegionIdentifier, args: argparse.Namespace) -> Calibration:
    """Learn prior and temperature from the validation part of each region's corpus.

    Of more than `--max_validation_texts` texts, take those of the lowest hashes.

    Raises:
        InputError: if a corpus is of a region that the model lacks, or has no validation text.
    """
    texts, right = [], []
    file_format = FileFormat(args.encoding, args.delimiter)
    for region, corpus in open_corpora(args.fit, args.text_column, args.group_column, file_format).items():
        if region not in identifier.regions:
            raise InputError(
                f"{', '.join(corpus.names())}: the model does not know {region}, only {', '.join(identifier.regions)}"
            )
        held_out = (
            (text_hash(text), text)
            for text, group in corpus.grouped()
            if is_validation(split_hash(text, group), args.validation_fraction)
        )
        found = [text for _, text in heapq.nsmallest(args.max_validation_texts, held_out)]
        print(f"{region}: {len(found)} validation texts; {corpus.report.summary()}", file=sys.stderr)
        if not found:
            raise InputError(f"{', '.join(corpus.names())}: no validation text: raise --validation_fraction")
        texts += found
        right += [region] * len(found)
    evidence = identifier.evidence(texts)
    return fit_calibration(identifier.folder.fingerprint, identifier.regions, evidence, right)


def as_text(found: Identification) -> str:
    """One line for the text, one for the regions and one for the words."""
    shares = sorted(found["probabilities"].items(), key=lambda item: -item[1])
    words = ", ".join(f"{word['word']} ({word['nats']:+.2f})" for word in found["words"]) or "none"
    return "\n".join(
        [
            found["text"],
            "  " + "  ".join(f"{region} {share:.2f}" for region, share in shares),
            f"  words for {found['region']}: {words}",
        ]
    )


if __name__ == "__main__":
    run(main)
