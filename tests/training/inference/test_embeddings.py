import pytest
import torch

from modeling_bilma import BilmaModel
from tests.conftest import TEXTS, tiny_config
from training.inference.embeddings import Embedder


@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("layers", ["last", "last_two_summed", "concatenated"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_vectors_are_those_of_each_text_alone(tokenizer, pooling, layers, attend_to_padding):
    model = BilmaModel(tiny_config(vocab_size=len(tokenizer), attend_to_padding=attend_to_padding)).eval()
    embedder = Embedder(model, tokenizer, pooling, layers, max_length=40, texts_per_batch=4)
    vectors, cut = embedder.embed(TEXTS)
    assert (cut, vectors.shape) == (0, (len(TEXTS), embedder.size))
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
