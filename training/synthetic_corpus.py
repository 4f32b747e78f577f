"""python training/synthetic_corpus.py --output_dir corpora/synthetic --regions mx ar --num_texts 5000

Writes one file of invented, tweet-like Spanish texts per region, for trying out training without any real
data. The words and sentences are in synthetic_lexicon.yaml, next to this file. The same region, number and
seed give the same bytes on every machine.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from training.texts.synthetic import _readme, _write_whole, available_regions, generate_texts, write_corpus


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = _OneLineParser(description="Write invented, tweet-like Spanish texts for each region.")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for the files")
    parser.add_argument("--regions", nargs="+", help="for example mx ar (default: all)")
    parser.add_argument("--num_texts", type=int, default=5000, help="texts per region (default: 5000)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other texts (default: 0)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the files the command line asks for; return 0, or 2 after one line on stderr."""
    args = _parse_args(argv)
    try:
        regions = list(dict.fromkeys(args.regions or available_regions()))
        # Everything is made before anything is written, so an error leaves no half set of files.
        corpora = {region: generate_texts(region, args.num_texts, args.seed) for region in regions}
        args.output_dir.mkdir(parents=True, exist_ok=True)
        for region, texts in corpora.items():
            path = write_corpus(args.output_dir, region, texts)
            print(f"{path}: {len(texts)} texts")
        readme = args.output_dir / "README.md"
        _write_whole(readme, _readme(regions, args.num_texts, args.seed))
        print(f"{readme}: how they were made")
    except (ValueError, OSError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
