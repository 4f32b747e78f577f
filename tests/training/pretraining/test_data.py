import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from accelerate import Accelerator
from datasets import Dataset

from tests.conftest import tiny_config
from tests.training.conftest import write_texts
from training.common.errors import InputError
from training.pretraining.arguments import PretrainArguments
from training.pretraining.data import load_data, make_steps, smallest_hashes
from training.texts.corpus import Corpus
from training.texts.parquet_stream import ParquetStream
from training.texts.splits import text_hash
from training.texts.synthetic import generate_texts
from training.texts.token_cache import hashes_of

TEXTS = generate_texts("mx", 300)


@pytest.fixture
def load(tmp_path, tokenizer):
    """Arguments and data of a run on TEXTS, streamed or not."""

    def load(streaming=False, validation_texts=(), **changes):
        args = PretrainArguments(region="mx", output_dir="x", max_length=32, cache_dir=str(tmp_path), **changes)
        source = Corpus(files=(write_texts(tmp_path / "mx.jsonl", TEXTS),))
        if streaming:
            pq.write_table(pa.table({"text": TEXTS}), tmp_path / "mx.parquet", row_group_size=70)
            source = ParquetStream(Corpus(files=(tmp_path / "mx.parquet",)))
        validation = None
        if validation_texts:
            validation = Corpus(files=(write_texts(tmp_path / "validation.jsonl", validation_texts),))
            args.validation_file = ["validation.jsonl"]
        return args, load_data(args, source, validation, tokenizer, Accelerator(cpu=True))

    return load


def test_every_text_is_on_one_side(load):
    _, data = load(validation_fraction=0.2, test_fraction=0.3)
    hashes = hashes_of(data.train_tokens)
    train, validation = set(hashes[data.train_texts]), set(hashes[data.validation_texts])
    assert train.isdisjoint(validation)
    kept_for_testing = [number for number in hashes if number not in train | validation]
    assert len(kept_for_testing) == data.test_texts > 50
    assert min(kept_for_testing) > max(train) > min(train) > max(validation)


def test_a_stream_validates_on_texts_of_the_same_side(load):
    """All of them, or the first in an order of its own: not the whole of it is read to choose."""
    whole, streamed, few = (
        set(hashes_of(data.validation_tokens)[data.validation_texts])
        for _, data in (
            load(validation_fraction=0.2),
            load(streaming=True, validation_fraction=0.2),
            load(streaming=True, validation_fraction=0.2, max_validation_texts=17),
        )
    )
    assert streamed == whole
    assert len(few) == 17 < len(whole) and few < whole


@pytest.mark.parametrize("streaming", [False, True])
def test_texts_of_a_validation_file_are_not_trained_on(load, tokenizer, streaming):
    own = TEXTS[:40]
    args, data = load(streaming, validation_texts=own, test_fraction=0.0, streaming_lanes=1)
    assert len(data.validation_texts) == 40
    steps, _ = make_steps(args, data, tokenizer, tiny_config(), Accelerator(cpu=True))
    trained_on = sum(steps[number].texts for number in range(steps.steps_per_epoch))
    assert trained_on == len(TEXTS) - sum(text_hash(text) in set(map(text_hash, own)) for text in TEXTS)


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_left_out_of_a_validation_file_is_said(load, capsys, streaming):
    load(streaming, validation_texts=[*TEXTS[:40], "", " "])
    assert "validation.jsonl: 40 texts for validation; left out: 2 empty" in capsys.readouterr().out


def test_few_texts_to_validate_on_are_the_same_in_any_order():
    hashes = np.random.default_rng(0).permutation(100)
    tokens, turned = (Dataset.from_dict({"text_hash": values}) for values in (hashes, hashes[::-1]))
    for candidates in (tokens, turned):
        chosen = smallest_hashes(candidates, np.arange(100), 5)
        assert sorted(hashes_of(candidates)[chosen]) == [0, 1, 2, 3, 4]
        assert list(chosen) == sorted(chosen)


def test_a_side_without_texts_is_named(load):
    with pytest.raises(InputError, match="mx.jsonl: none of the 300 texts is left for validation: give more texts"):
        load(validation_fraction=1e-9)
    with pytest.raises(InputError, match="mx.jsonl: none of the 300 texts is left for training"):
        load(validation_texts=TEXTS)
