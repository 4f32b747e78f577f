"""Runs that read their texts while they train."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary


@pytest.fixture
def shards(tmp_path, texts):
    """The texts as three Parquet files, and a tokenizer for them: what streaming needs."""
    lines = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    for number, part in enumerate(np.array_split(lines, 3)):
        (tmp_path / "shards").mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": list(part)}), tmp_path / "shards" / f"{number}.parquet", row_group_size=50)
    build_tokenizer(train_vocabulary(lines, 400, 5)).save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "shards"


@pytest.mark.slow
def test_a_streamed_run_goes_on_as_an_unbroken_one_and_names_a_replaced_file(train, train_until, refused, shards):
    flags = ("--streaming", "--tokenizer", shards.parent / "tokenizer", "--max_steps", 16)  # beyond an epoch
    out = train(*flags, name="unbroken", train_file=shards)
    unbroken, metrics = load_file(out / "model.safetensors"), json.loads((out / "metrics.json").read_text())
    assert metrics["corpus"]["texts"] == 400 and metrics["corpus"]["shards"] == 3
    assert 16 * 32 * 0.8 < metrics["training"]["texts_seen"] < 16 * 32
    train_until(6, *flags, name="out", train_file=shards)
    kept = (shards / "1.parquet").read_bytes()
    pq.write_table(pa.table({"text": ["otro"] * 134}), shards / "1.parquet", row_group_size=50)
    assert "of the training texts 1.parquet has changed" in refused(*flags, "--resume", train_file=shards)
    (shards / "1.parquet").write_bytes(kept)
    resumed = load_file(train(*flags, "--resume", name="out", train_file=shards) / "model.safetensors")
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


@pytest.mark.slow
def test_streaming_trains_on_the_texts_and_validates_on_the_side_that_a_whole_reading_does(train, shards):
    flags = ("--tokenizer", shards.parent / "tokenizer", "--max_steps", 13)
    whole, streamed = (
        json.loads((train(*flags, *more, name=name, train_file=shards) / "metrics.json").read_text())
        for name, more in {"whole": (), "streamed": ("--streaming",)}.items()
    )
    assert streamed["validation"]["texts"] == whole["validation"]["texts"]
    assert streamed["validation"]["scored_tokens"] == whole["validation"]["scored_tokens"]
    assert streamed["training"]["texts_seen"] == whole["training"]["texts"]  # 13 streamed steps are an epoch


@pytest.mark.slow
def test_a_streamed_run_says_at_its_end_what_it_left_out(train, refused, shards, capsys):
    texts = [text.encode() for text in pq.read_table(shards)["text"].to_pylist()]
    flags = ("--streaming", "--tokenizer", shards.parent / "tokenizer", "--max_steps", 13)  # an epoch
    for bad, path in ((4, shards.parent / "few.parquet"), (300, shards.parent / "many.parquet")):
        column = pa.array(["qué más".encode("latin-1")] * bad + texts[bad:], pa.binary()).view(pa.string())
        pq.write_table(pa.table({"text": column}), path, row_group_size=50)
    train(*flags, name="few", train_file=shards.parent / "few.parquet")
    assert "rows read to train on since the last start, in every epoch anew: left out: 4 not decodable" in (
        capsys.readouterr().out
    )
    message = refused(*flags, train_file=shards.parent / "many.parquet")
    assert "many.parquet: 300 of 400 texts are not Unicode: they seem to be latin-1" in message


def test_streaming_asks_for_what_it_needs(refused, shards, texts):
    assert "--streaming needs --tokenizer or --init_from" in refused("--streaming", train_file=shards)
    flags = ("--streaming", "--tokenizer", shards.parent / "tokenizer")
    assert "mx.jsonl: --streaming reads Parquet files only" in refused(*flags)
    message = refused(*flags, "--streaming_lanes", 33, train_file=shards)
    assert "--streaming_lanes 33 is not from 1 to --texts_per_step" in message
