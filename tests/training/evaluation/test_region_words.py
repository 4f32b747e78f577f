import numpy as np
import pytest

from training.evaluation.region_words import FEWEST, count_whole_words, is_listed, region_words


def test_the_words_that_one_model_prefers(tokenizer):
    vocabulary = tokenizer.get_vocab()
    means = {name: np.full(len(tokenizer), -10.0) for name in ("mx", "ar", "es")}
    means["mx"][vocabulary["mañana" if "mañana" in vocabulary else "manana"]] = -4
    means["ar"][vocabulary["comer"]] = -7
    means["es"][vocabulary["comer"]] = -8
    means["es"][vocabulary["_"]] = -1  # no word
    rare = next(token for token in vocabulary if is_listed(token) and token not in ("manana", "comer"))
    means["mx"][vocabulary[rare]] = -2
    counts = np.full(len(tokenizer), FEWEST)
    counts[vocabulary[rare]] -= 1
    found = {entry["model"]: entry["words"] for entry in region_words(means, counts, tokenizer, 2)}
    assert found["mx"][0]["word"] == "manana"
    assert found["mx"][0]["difference"] == pytest.approx(6)
    assert found["ar"][0]["word"] == found["es"][0]["word"] == "comer"
    assert found["ar"][0]["difference"] == pytest.approx(-7 + 9)
    assert found["ar"][0]["log_probability_of_others"] == pytest.approx(-9)
    assert all(len(words) == 2 for words in found.values())


def test_a_word_that_is_cut_is_not_counted(tokenizer):
    vocabulary = tokenizer.get_vocab()
    piece = next(token for token in vocabulary if token.startswith("##"))
    ids = [vocabulary[token] for token in ("comer", "comer", piece, piece, "comer")]
    counts = count_whole_words([ids, ids[:1]], tokenizer)
    assert counts[vocabulary["comer"]] == 3
    assert counts[vocabulary[piece]] == 1
    assert counts.sum() == 4


@pytest.mark.parametrize("token", ["##ndo", "_", "usr", "😍", "!", "10", "de"])
def test_what_is_no_word(token):
    assert not is_listed(token)
