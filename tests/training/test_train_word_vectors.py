import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.training.conftest import run_main, write_texts
from training import train_word_vectors
from training.common.errors import InputError
from training.texts.synthetic import generate_texts
from training.texts.word_vectors import normalize_lengths

TEXTS = generate_texts("mx", 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    write_texts(folder / "mx.jsonl", TEXTS, author=[f"a{number % 20}" for number in range(len(TEXTS))])
    build_tokenizer(train_vocabulary([*TEXTS, "zyxwvut " * 9], 300, 2)).save_pretrained(folder / "tokenizer")
    return folder


@pytest.fixture
def learn(folder, tmp_path):
    def learn(name="vectors", *argv, **flags):
        fixed = {"tokenizer": folder / "tokenizer", "cache_dir": folder / "cache", "size": 16, "workers": 1}
        flags = {"train_file": folder / "mx.jsonl", "output_dir": tmp_path / name} | fixed | flags
        return run_main(train_word_vectors, *argv, **flags)

    return learn


def vectors_in(folder):
    return load_file(folder / "word_vectors.safetensors")["word_vectors"]


def test_vectors_have_the_scale_of_a_models_and_say_what_they_are_of(learn):
    out = learn(group_column="author", test_fraction=0.3)
    facts = json.loads((out / "word_vectors.json").read_text())
    vectors = vectors_in(out)
    assert (out / "word_vectors.safetensors").stat().st_mode == (out / "word_vectors.json").stat().st_mode
    assert vectors.shape[1] == 16 and vectors.dtype == np.float32
    assert vectors.std() == pytest.approx(16**-0.5, rel=0.05)
    assert 0 < facts["texts"] < 0.9 * len(TEXTS) and facts["settings"]["group_column"] == "author"
    assert 0 < facts["tokens_that_never_occur"] < len(vectors)


def test_the_same_seed_gives_the_same_vectors(learn):
    first, again, other = learn("first"), learn("again"), learn("other", seed=1)
    assert np.array_equal(vectors_in(first), vectors_in(again))
    assert not np.array_equal(vectors_in(first), vectors_in(other))


def test_skip_gram_learns_other_vectors(learn):
    assert not np.array_equal(vectors_in(learn("cbow")), vectors_in(learn("skip_gram", "--skip_gram")))


def test_vectors_are_not_replaced_unasked(learn):
    learn()
    with pytest.raises(InputError, match="already holds word vectors"):
        learn()
    learn("vectors", "--overwrite")


def test_tokens_that_never_occur_get_random_vectors_of_the_same_scale():
    learnt = np.random.default_rng(0).normal(3, 7, (1000, 64)).astype(np.float32)
    occurs = np.arange(1000) < 500
    result = normalize_lengths(learnt, occurs, seed=0)
    assert np.linalg.norm(result[occurs], axis=1) == pytest.approx(1.0)
    assert result[~occurs].std() == pytest.approx(0.125, rel=0.05)
    assert np.array_equal(result, normalize_lengths(learnt, occurs, seed=0))
