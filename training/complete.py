"""Compare how several models complete phrases.

    python training/complete.py --models models/bilma --phrases "vamos a comer [MASK]"
    python training/complete.py --models bilma-mx bilma-ar --phrases "vamos a comer [MASK]" "estoy en [MASK]"

Models are folders or Hub ids; one with regional parts answers once for each of its regions. The code that comes with a
model is run.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import argparse

from training.common.arguments import check_each
from training.common.errors import run
from training.inference.completions import check_phrases, completions_by_column, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="model folders or Hub ids")
    parser.add_argument("--phrases", nargs="+", required=True, help="phrases with one [MASK] each")
    parser.add_argument("--top_k", type=int, default=5, help="number of answers to each phrase")
    args = parser.parse_args()
    check_each(args, "1 or more", "top_k")
    check_phrases(args.phrases)
    columns = [column for model in args.models for column in completions_by_column(model, args.phrases, args.top_k)]
    names = [name for name, _ in columns]
    for number, phrase in enumerate(args.phrases):
        print(table(phrase, names, [answers[number] for _, answers in columns]))


if __name__ == "__main__":
    run(main)
