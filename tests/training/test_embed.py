import os
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from modeling_bilma import BilmaForMaskedLM, BilmaModel
from tests.conftest import TEXTS, tiny_config
from training import embed
from training.common.errors import InputError
from training.inference.embeddings import Embedder


@pytest.fixture
def folder(tmp_path, tokenizer):
    BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).save_pretrained(tmp_path / "bilma")
    tokenizer.save_pretrained(tmp_path / "bilma")
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS) + "\n")
    return tmp_path


@pytest.fixture
def write_vectors(folder, monkeypatch):
    def write_vectors(*argv, name="vectors.parquet"):
        flags = ["--model", folder / "bilma", "--input_file", folder / "texts.txt"]
        flags += ["--output_file", folder / name, "--max_length", 40, *argv]
        monkeypatch.setattr(sys, "argv", ["embed.py", *map(str, flags)])
        embed.main()
        return folder / name

    return write_vectors


def test_texts_stay_beside_their_vectors(write_vectors, folder, tokenizer):
    rows = pq.read_table(write_vectors()).to_pylist()
    model = BilmaModel.from_pretrained(folder / "bilma").eval()
    expected, _ = Embedder(model, tokenizer, max_length=40).embed(TEXTS)
    assert [row["text"] for row in rows[::2]] == TEXTS
    np.testing.assert_allclose([row["vector"] for row in rows[::2]], expected, rtol=1e-4, atol=1e-5)
    assert [row["vector"] for row in rows[1::2]] == [None] * (len(TEXTS) - 1)
    alone = np.load(write_vectors("--layers", "concatenated", name="vectors.npy"))
    assert alone.shape == (2 * len(TEXTS) - 1, 64)
    np.testing.assert_allclose(alone[::2, 32:], expected, rtol=1e-4, atol=1e-5)


def test_wrong_input_is_named_and_nothing_is_overwritten(write_vectors, folder):
    with pytest.raises(InputError, match="--max_length 41 is more than the 40 positions"):
        write_vectors("--max_length", 41)
    with pytest.raises(InputError, match="bilmo"):
        write_vectors("--model", folder / "bilmo")
    with pytest.raises(InputError, match="vectors.csv: unknown format"):
        write_vectors(name="vectors.csv")
    assert not list(folder.glob("*vectors*"))
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(InputError, match="pipe.txt: a pipe or device, not a file"):
        write_vectors("--input_file", folder / "pipe.txt")
    with pytest.raises(InputError, match="File name too long"):
        write_vectors(name="x" * 300 + ".npy")
    write_vectors()
    with pytest.raises(InputError, match="vectors.parquet exists already"):
        write_vectors()
    write_vectors("--overwrite")
    before = (folder / "vectors.parquet").read_bytes()
    with pytest.raises(InputError, match="is the input"):
        write_vectors("--input_file", folder / "vectors.parquet", "--overwrite")
    assert (folder / "vectors.parquet").read_bytes() == before


def test_sentence_transformers_opens_the_same_folder(folder, tokenizer):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoder = sentence_transformers.SentenceTransformer(str(folder / "bilma"), trust_remote_code=True, device="cpu")
    model = BilmaModel.from_pretrained(folder / "bilma").eval()
    expected, _ = Embedder(model, tokenizer, max_length=40).embed(TEXTS)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, rtol=1e-4, atol=1e-5)
