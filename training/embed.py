"""Embed texts: the rows of a file come back in their order, with a vector of each text beside them.

    python training/embed.py --model bilma-mx --input_file texts.jsonl.gz --output_file vectors.parquet
    python training/embed.py --model bilma-mx --input_file texts.csv --pooling cls --layers concatenated \
        --output_file vectors.npy

A Parquet or JSONL file has all columns of the input and the column `vector`; a .npy file has the vectors alone, a row
for each row of the input. A row without text has no vector (NaN in .npy), and is counted. A line that is not decodable
or over 1 MB is left out and counted, or refused where a .npy file is written. The choices of layers are those of the
BERT paper (arXiv 1810.04805, section 5.3), for two layers.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from dataclasses import dataclass, field
from typing import Literal

from transformers import AutoModel

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option, parse_arguments
from training.common.errors import run
from training.inference.annotation import annotate, check_output, describe_counts, run_identity
from training.inference.embeddings import Embedder
from training.inference.outputs import check_max_length, open_model
from training.inference.tables import input_at, table_at
from training.texts.corpus import FormatArguments


@dataclass(kw_only=True)
class EmbedArguments(FormatArguments):
    """The flags of this script."""

    model: str = field(metadata={"help": "model folder or Hub id"})
    input_file: str = field(metadata={"help": "file of texts (.csv .tsv .jsonl .parquet .txt, or with .gz)"})
    output_file: str = field(metadata={"help": "file for the vectors: .parquet, .jsonl or .npy"})
    pooling: Literal["cls", "mean", "max"] = option(
        "mean", "the state of the first token, or the mean or maximum over all tokens"
    )
    layers: Literal["last", "last_two_summed", "concatenated"] = option("last", "layers whose states are pooled")
    max_length: int = option(128, "maximum number of tokens of a text; longer ones are cut, and counted")
    texts_per_batch: int = option(64, "texts that go through the model together")
    resume: bool = option(False, "continue an interrupted run")
    overwrite: bool = option(False, "replace the output file, or an interrupted run")


def main() -> None:
    args = parse_arguments(EmbedArguments, __doc__.splitlines()[0])
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    check_each(args, "1 or more", "texts_per_batch")
    source = input_at(args.input_file, "--input_file", file_format=args.file_format)
    output = table_at(args.output_file, "--output_file", ("parquet", "jsonl", "npy"))
    check_output(args.input_file, args.output_file, args.resume, args.overwrite)
    model, tokenizer = open_model(AutoModel, args.model, dtype="float32")
    check_max_length(args.max_length, model)
    embedder = Embedder(model, tokenizer, args.pooling, args.layers, args.max_length, args.texts_per_batch)
    identity = run_identity(args, source)
    counts = annotate(
        source, output, args.text_column, embedder, identity, args.resume, keep_columns=output.format != "npy"
    )
    print(f"{args.output_file}: vectors of {embedder.size}, {describe_counts(counts)}")


if __name__ == "__main__":
    run(main)
