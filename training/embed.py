"""Sentence vectors: one vector of a BILMA, or of another encoder, for each text, in a Parquet file.

    python training/embed.py --model bilma-mx --input_file texts.jsonl.gz --output_file vectors.parquet
    python training/embed.py --model bilma-mx --input_file texts.csv --pooling cls --layers concatenated \
        --output_file vectors.parquet

Columns: `row`, the number of the text among the usable ones; `text_hash`, as training/splits.py uses it; `vector`, of
32-bit floats. The choices of layers are those of the BERT paper (arXiv 1810.04805, section 5.3), for two layers.
"""

import os
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option, parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.inference.embeddings import embed
from training.texts.corpus import Corpus, FormatArguments
from training.texts.files import find_files
from training.texts.splits import text_hash

TEXTS_PER_CHUNK = 8192  # are sorted by length together, and are a row group of the file


@dataclass(kw_only=True)
class EmbedArguments(FormatArguments):
    model: str = field(metadata={"help": "model folder or Hub id"})
    input_file: list[str] = field(metadata={"help": "files (.txt .jsonl .csv .tsv .parquet, or with .gz) or folders"})
    output_file: str = field(metadata={"help": "Parquet file for the vectors"})
    pooling: Literal["cls", "mean", "max"] = option("mean", "of the first token, or over all tokens of the text")
    layers: Literal["last", "last_two_summed", "concatenated"] = option(
        "last", "states that are pooled: of which layers"
    )
    max_length: int = option(128, "texts are cut at this many tokens")
    texts_per_batch: int = option(64, "texts that go through the model at once")
    overwrite: bool = option(False, "replace the output file")


def main() -> None:
    args = parse_arguments(EmbedArguments, __doc__.splitlines()[0])
    output_file = Path(args.output_file)
    check_arguments(args, output_file)
    corpus = Corpus(find_files(args.input_file), text_column=args.text_column, file_format=args.file_format)
    with as_input_error(OSError, ValueError):
        tokenizer = AutoTokenizer.from_pretrained(args.model, trust_remote_code=False)
        model = AutoModel.from_pretrained(args.model, dtype=torch.float32, trust_remote_code=False)
    positions = model.config.max_position_embeddings
    if args.max_length > positions:
        raise InputError(f"--max_length {args.max_length} is more than the {positions} positions of the model")
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    write_vectors(args, corpus, model, tokenizer, output_file)


def check_arguments(args: EmbedArguments, output_file: Path) -> None:
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    check_each(args, "1 or more", "texts_per_batch")
    if output_file.is_dir():
        raise InputError(f"{output_file} is a folder: give a file as --output_file")
    if output_file.exists() and not args.overwrite:
        raise InputError(f"{output_file} exists already: give another --output_file, or --overwrite to replace it")


def write_vectors(
    args: EmbedArguments,
    corpus: Corpus,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    output_file: Path,
) -> None:
    """The vectors of all texts, a chunk at a time; the file appears only once it is complete."""
    size = model.config.hidden_size * (2 if args.layers == "concatenated" else 1)
    schema = pa.schema({"row": pa.int64(), "text_hash": pa.int64(), "vector": pa.list_(pa.float32(), size)})
    beside = output_file.with_name(f".{output_file.name}.writing")
    texts, row = iter(corpus), 0
    try:
        with as_input_error(OSError):
            output_file.parent.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(beside, schema) as writer, tqdm(unit=" texts", leave=False) as bar:
                while chunk := list(islice(texts, TEXTS_PER_CHUNK)):
                    vectors = embed(
                        chunk, model, tokenizer, args.pooling, args.layers, args.max_length, args.texts_per_batch, bar
                    )
                    hashes = [text_hash(text) for text in chunk]
                    flat = pa.FixedSizeListArray.from_arrays(vectors.flatten().numpy(), size)
                    writer.write_batch(pa.record_batch([range(row, row + len(chunk)), hashes, flat], schema=schema))
                    row += len(chunk)
            if not row:
                raise corpus.no_text_error()
            os.replace(beside, output_file)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{output_file}: {row:,} vectors of {size}; {corpus.report.summary()}")


if __name__ == "__main__":
    run(main)
