import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training.common.errors import InputError
from training.pretraining.arguments import PretrainArguments, check_start
from training.pretraining.start import log_frequencies, set_word_vectors, vectors_fingerprint
from training.texts.word_vectors import vocabulary_fingerprint


@pytest.fixture
def model():
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "head_dim": 4, "intermediate_size": 8, "num_hidden_layers": 1}
    return BilmaForMaskedLM(BilmaConfig(vocab_size=20, tie_word_embeddings=True, **sizes))


def write_vectors(folder, vectors, vocabulary=""):
    save_file({"word_vectors": vectors}, folder / "word_vectors.safetensors")
    (folder / "word_vectors.json").write_text(json.dumps({"vocabulary": vocabulary}))


def test_word_vectors_become_both_ends_of_a_tied_model(model, tmp_path):
    vectors = torch.randn(20, 8)
    write_vectors(tmp_path, vectors)
    set_word_vectors(model, tmp_path)
    assert torch.equal(model.get_input_embeddings().weight, vectors)
    assert torch.equal(model.decoder.weight, vectors)


def test_word_vectors_of_another_size_are_refused(model, tmp_path):
    write_vectors(tmp_path, torch.randn(20, 9))
    with pytest.raises(InputError, match=r"20 x 9 numbers, and the model has 20 x 8"):
        set_word_vectors(model, tmp_path)


def test_the_fingerprint_is_of_the_numbers_and_their_tokenizer(tmp_path):
    tokenizer = build_tokenizer(train_vocabulary(["vamos a comer tacos"] * 9, 100, 2))
    write_vectors(tmp_path, torch.zeros(2, 2), vocabulary_fingerprint(tokenizer))
    first = vectors_fingerprint(str(tmp_path), tokenizer)
    write_vectors(tmp_path, torch.ones(2, 2), vocabulary_fingerprint(tokenizer))
    assert vectors_fingerprint(str(tmp_path), tokenizer) != first
    assert vectors_fingerprint(None, tokenizer) is None
    write_vectors(tmp_path, torch.ones(2, 2), "another")
    with pytest.raises(InputError, match="another tokenizer"):
        vectors_fingerprint(str(tmp_path), tokenizer)


def test_log_frequencies_are_a_distribution_in_which_special_tokens_are_lowest():
    bias = log_frequencies(np.array([50, 0, 7, 3]), special_ids=[0])
    assert np.exp(bias) == pytest.approx(np.array([1, 1, 8, 4]) / 14)
    assert bias.dtype == np.float32


@pytest.mark.parametrize(
    "flags",
    [
        {"init_from": "x", "word_vectors": "y"},
        {"init_from": "x", "output_bias": "frequencies"},
        {"streaming": True, "output_bias": "frequencies"},
        {"word_vectors": "y"},
    ],
)
def test_a_start_that_cannot_be_is_refused(flags):
    none = {"init_from": None, "word_vectors": None, "output_bias": "zeros", "streaming": False, "tokenizer": None}
    check_start(SimpleNamespace(**none))
    with pytest.raises(InputError, match="--word_vectors|--output_bias"):
        check_start(SimpleNamespace(**none | flags))


def test_the_published_start_is_the_default():
    assert PretrainArguments(region="mx", output_dir="x").output_bias == "zeros"
