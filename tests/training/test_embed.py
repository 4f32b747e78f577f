import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from modeling_bilma import BilmaForMaskedLM, BilmaModel
from tests.conftest import TEXTS, tiny_config
from training import embed as embed_module
from training.common.errors import InputError
from training.inference.embeddings import embed
from training.texts.splits import text_hash


@pytest.fixture(params=[False, True], ids=["masked padding", "attended padding"])
def folder(request, tmp_path, tokenizer):
    config = tiny_config(vocab_size=len(tokenizer), attend_to_padding=request.param)
    BilmaForMaskedLM(config).save_pretrained(tmp_path / "bilma")
    tokenizer.save_pretrained(tmp_path / "bilma")
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS) + "\n")
    return tmp_path


@pytest.fixture
def write_vectors(folder, monkeypatch):
    def write_vectors(*argv):
        flags = ["--model", folder / "bilma", "--input_file", folder / "texts.txt"]
        flags += ["--output_file", folder / "vectors.parquet", "--max_length", 40, *argv]
        monkeypatch.setattr(sys, "argv", ["embed.py", *map(str, flags)])
        embed_module.main()
        return pq.read_table(folder / "vectors.parquet")

    return write_vectors


@pytest.mark.parametrize("layers", ["last", "last_two_summed", "concatenated"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_vectors_are_those_of_each_text_alone(folder, tokenizer, pooling, layers):
    model = BilmaModel.from_pretrained(folder / "bilma").eval()
    vectors = embed(TEXTS, model, tokenizer, pooling, layers, max_length=40, texts_per_batch=4)
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        before_last, last = states[-2][0], states[-1][0]
        chosen = {
            "last": last,
            "last_two_summed": before_last + last,
            "concatenated": torch.cat((before_last, last), dim=1),
        }[layers]
        expected = {"cls": chosen[0], "mean": chosen.mean(0), "max": chosen.amax(0)}[pooling]
        torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-5)


def test_the_file_has_a_row_for_each_text_in_order(write_vectors, folder, tokenizer, monkeypatch):
    monkeypatch.setattr(embed_module, "TEXTS_PER_CHUNK", 4)
    table = write_vectors()
    assert table["row"].to_pylist() == list(range(len(TEXTS)))
    assert table["text_hash"].to_pylist() == [text_hash(text) for text in TEXTS]
    model = BilmaModel.from_pretrained(folder / "bilma").eval()
    expected = embed(TEXTS, model, tokenizer, max_length=40).numpy()
    np.testing.assert_allclose(np.array(table["vector"].to_pylist()), expected, rtol=1e-4, atol=1e-5)
    assert {path.name for path in folder.iterdir()} == {"bilma", "texts.txt", "vectors.parquet"}


def test_wrong_input_is_named_and_nothing_is_overwritten(write_vectors, folder):
    with pytest.raises(InputError, match="--max_length 41 is more than the 40 positions"):
        write_vectors("--max_length", 41)
    with pytest.raises(InputError, match="bilmo"):
        write_vectors("--model", folder / "bilmo")
    (folder / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="empty.txt: no usable text"):
        write_vectors("--input_file", folder / "empty.txt")
    assert not (folder / "vectors.parquet").exists()
    write_vectors()
    with pytest.raises(InputError, match="vectors.parquet exists already"):
        write_vectors()
    assert len(write_vectors("--overwrite", "--layers", "concatenated")["vector"][0].as_py()) == 64


def test_sentence_transformers_opens_the_same_folder(folder, tokenizer):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoder = sentence_transformers.SentenceTransformer(str(folder / "bilma"), trust_remote_code=True, device="cpu")
    model = BilmaModel.from_pretrained(folder / "bilma").eval()
    expected = embed(TEXTS, model, tokenizer, "mean", max_length=40)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected.numpy(), rtol=1e-4, atol=1e-5)
