"""Compare how several models complete phrases.

    python training/complete.py --models bilma-mx bilma-ar --phrases "vamos a comer [MASK]" "estoy en [MASK]"

Models are folders or Hub ids. The code that comes with a model is run.
"""

import argparse
from pathlib import Path

from training.common.arguments import check_each
from training.common.errors import run
from training.inference.completions import check_phrases, completions, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="model folders or Hub ids")
    parser.add_argument("--phrases", nargs="+", required=True, help="phrases with one [MASK] each")
    parser.add_argument("--top_k", type=int, default=5, help="number of answers to each phrase")
    args = parser.parse_args()
    check_each(args, "1 or more", "top_k")
    check_phrases(args.phrases)
    by_model = [completions(model, args.phrases, args.top_k) for model in args.models]
    names = [Path(model).name for model in args.models]
    for number, phrase in enumerate(args.phrases):
        print(table(phrase, names, [answers[number] for answers in by_model]))


if __name__ == "__main__":
    run(main)
