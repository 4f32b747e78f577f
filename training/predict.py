"""Label the texts of a file: its rows come back in their order, with a model's answers beside them.

    python training/predict.py --model bilma-mx-sentiment --input opinions.csv --output answers.csv
    python training/predict.py --model bilma-emoji --region mx --top_k 3 --input tweets.jsonl.gz --output emoji.parquet
    python training/predict.py --model bilma-es-loanwords --input news.txt --output spans.jsonl
    echo "vamos a comer [MASK]" | python training/predict.py --model models/bilma --region mx --input - --output -

The model decides the answer: `label` and `score` of a text classifier (lists of both where a text may have several
labels, `score` alone of a regression), `spans` of a token classifier, `completions` for each [MASK] of a masked
language model. Lists are JSON in CSV, TSV and Parquet. A row without text has empty answers, and is counted; so are
lines that are left out, as they are not decodable or over 1 MB.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import sys
from dataclasses import dataclass, field
from typing import Literal

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option, parse_arguments
from training.common.errors import InputError, run
from training.inference.annotation import annotate, check_output, describe_counts, run_identity
from training.inference.predictors import make_predictor
from training.inference.tables import OUTPUT_FORMATS, input_at, table_at
from training.texts.corpus import FormatArguments


@dataclass(kw_only=True)
class PredictArguments(FormatArguments):
    """The flags of this script."""

    model: str = field(metadata={"help": "model folder or Hub id"})
    input: str = field(
        metadata={"help": "file of texts (.csv .tsv .jsonl .parquet .txt, or with .gz), or - for stdin"}
    )
    output: str = field(metadata={"help": "file to write (.csv .tsv .jsonl .parquet), or - for stdout"})
    input_format: Literal["csv", "tsv", "jsonl", "txt"] = option("txt", "format of stdin")
    output_format: Literal["csv", "tsv", "jsonl"] = option("jsonl", "format of stdout")
    prefix: str = option("", "beginning of the names of the new columns")
    top_k: int | None = option(None, "number of classes, or of words for each mask (default: 1, or 5 for a mask)")
    all_scores: bool = option(False, "add a column with the probability of each class")
    threshold: float | None = option(
        None, "minimum probability of a label, where a text may have several (default: 0.5)"
    )
    region: str | None = option(
        None, "code of the region whose token begins every text, such as mx, for a pooled model"
    )
    max_length: int = option(128, "maximum number of tokens of a text; longer ones are cut, and counted")
    texts_per_batch: int = option(64, "texts that go through the model together")
    dtype: Literal["auto", "float32", "bfloat16"] = option("auto", "auto: bfloat16 where the machine multiplies in it")
    trust_remote_code: bool = option(False, "run the code that comes with a foreign model")
    resume: bool = option(False, "continue an interrupted run")
    overwrite: bool = option(False, "replace the output file, or an interrupted run")


def main() -> None:
    args = parse_arguments(PredictArguments, __doc__.splitlines()[0])
    source = input_at(args.input, "--input", args.input_format, args.file_format)
    output = table_at(args.output, "--output", OUTPUT_FORMATS, args.output_format)
    check_output(args.input, args.output, args.resume, args.overwrite)
    check_arguments(args)
    predictor = make_predictor(
        args.model,
        args.dtype,
        args.trust_remote_code,
        top_k=args.top_k,
        all_scores=args.all_scores,
        threshold=args.threshold,
        prefix=args.prefix,
        region=args.region,
        max_length=args.max_length,
        texts_per_batch=args.texts_per_batch,
    )
    identity = run_identity(args, source)
    counts = annotate(source, output, args.text_column, predictor, identity, args.resume)
    print(f"{args.output}: {describe_counts(counts)}", file=sys.stderr)


def check_arguments(args: PredictArguments) -> None:
    """Check the values of flags.

    Raises:
        InputError: if one is out of range.
    """
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    check_each(args, "1 or more", "texts_per_batch", "top_k")
    check_each(args, "between 0 and 1", "threshold")
    if args.input == "-" and args.resume:
        raise InputError("--resume needs a file as --input: standard input cannot be read again")


if __name__ == "__main__":
    run(main)
