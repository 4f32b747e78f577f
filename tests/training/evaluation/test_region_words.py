import numpy as np
import pytest

from training.evaluation.region_words import is_word, region_words


def test_the_words_that_one_model_prefers(tokenizer):
    vocabulary = tokenizer.get_vocab()
    means = {name: np.full(len(tokenizer), -10.0) for name in ("mx", "ar", "es")}
    means["mx"][vocabulary["mañana" if "mañana" in vocabulary else "manana"]] = -4
    means["ar"][vocabulary["comer"]] = -7
    means["es"][vocabulary["comer"]] = -8
    means["es"][vocabulary["_"]] = -1  # no word
    found = {entry["model"]: entry["words"] for entry in region_words(means, tokenizer, 2)}
    assert found["mx"][0]["word"] == "manana"
    assert found["mx"][0]["difference"] == pytest.approx(6)
    assert found["ar"][0]["word"] == found["es"][0]["word"] == "comer"
    assert found["ar"][0]["difference"] == pytest.approx(-7 + 9)
    assert found["ar"][0]["log_probability_of_others"] == pytest.approx(-9)
    assert all(len(words) == 2 for words in found.values())


@pytest.mark.parametrize("token", ["##ndo", "_", "usr", "😍", "!", "10", "de"])
def test_what_is_no_word(token):
    assert not is_word(token)
