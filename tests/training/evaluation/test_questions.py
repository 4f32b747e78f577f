import numpy as np
import pytest

from tests.training.conftest import write_texts
from training.common.errors import InputError
from training.evaluation.questions import is_trivial, masked_tokens, texts_to_ask, training_texts
from training.texts.corpus import Corpus, open_corpora
from training.texts.splits import is_test, text_hash
from training.texts.synthetic import generate_texts


@pytest.fixture
def corpus(tmp_path):
    texts = generate_texts("mx", 200)
    return Corpus((write_texts(tmp_path / "mx.jsonl", [*texts, texts[0].upper()]),))


def ask(test, tokenizer, draws=2, seed=0):
    return masked_tokens(test, tokenizer, 32, 0.15, draws, seed)


def test_the_test_set_is_what_pretrain_keeps_out(corpus):
    test = texts_to_ask("mx", corpus, 0.2, 1000)
    assert test.hashes == sorted({text_hash(text) for text in corpus if is_test(text_hash(text), 0.2)})
    assert [text_hash(text) for text in test.texts] == test.hashes
    assert not {text_hash(text) for text in training_texts(corpus, 0.2, 1000)} & set(test.hashes)
    assert len(training_texts(corpus, 0.2, 1000)) == sum(not is_test(text_hash(text), 0.2) for text in corpus)


def test_of_too_many_texts_those_kept_out_first_are_asked(corpus):
    assert texts_to_ask("mx", corpus, 0.2, 12).hashes == texts_to_ask("mx", corpus, 0.2, 1000).hashes[-12:]
    assert len(training_texts(corpus, 0.2, 7)) == 7


def test_every_text_is_asked_once(corpus):
    everything = texts_to_ask("mx", corpus, 1, 1000)
    assert len(everything.texts) == 200  # the text in capitals is the same one


def test_an_empty_test_set(tmp_path, tokenizer):
    corpus = Corpus((write_texts(tmp_path / "mx.jsonl", ["hola"]),))
    with pytest.raises(InputError, match="mx.jsonl: the test set is empty.*larger --test_fraction"):
        texts_to_ask("mx", corpus, 1e-9, 1000)
    with pytest.raises(InputError, match="1 texts are in the test part of 1, and an interval needs 10"):
        texts_to_ask("mx", corpus, 1, 1000)
    unknown = Corpus((write_texts(tmp_path / "mx.jsonl", ["☃" * number for number in range(1, 12)]),))
    with pytest.raises(InputError, match="no text has a token to ask"):
        ask(texts_to_ask("mx", unknown, 1, 20), tokenizer)


def test_masks_are_a_function_of_the_text_and_the_draw(corpus, tokenizer, tmp_path):
    def asked(corpus, draws=2, seed=0):
        test = texts_to_ask("mx", corpus, 1, 1000)
        rows = ask(test, tokenizer, draws, seed).rows
        return [(test.texts[row.text], tuple(row.positions)) for row in rows]

    found = asked(corpus)
    backwards = Corpus((write_texts(tmp_path / "b.jsonl", list(corpus)[::-1]),))
    fewer = Corpus((write_texts(tmp_path / "c.jsonl", list(corpus)[1:51]),))
    assert asked(backwards) == found
    assert set(asked(fewer)) < set(found)
    assert set(found) < set(asked(corpus, draws=3))
    assert asked(corpus, seed=1) != found


def test_masks_hide_the_share_that_is_asked_for(corpus, tokenizer):
    test = texts_to_ask("mx", corpus, 1, 1000)
    questions = ask(test, tokenizer, draws=1)
    for row in questions.rows:
        ids = row.input_ids.copy()
        ids[row.positions] = row.targets
        assert ids.tolist() == tokenizer(test.texts[row.text], truncation=True, max_length=32)["input_ids"]
        assert (row.input_ids[row.positions] == tokenizer.mask_token_id).all()
        assert not np.isin(row.targets, tokenizer.all_special_ids).any()
        candidates = (~np.isin(ids, tokenizer.all_special_ids)).sum()
        assert len(row.targets) == max(1, round(0.15 * candidates))
    assert len(questions.targets) == len(questions.texts) == sum(len(row.targets) for row in questions.rows)


@pytest.mark.parametrize("token", ["_", "url", "usr", "htag", ",", "¿", "…", "\ufe0f"])
def test_trivial_tokens(token):
    assert is_trivial(token)


@pytest.mark.parametrize("token", ["hola", "0", "😍", "##ndo", "$"])
def test_tokens_that_are_not_trivial(token):
    assert not is_trivial(token)


def test_a_corpus_for_each_region(tmp_path):
    for name in ("mx.jsonl", "news_tweets_mx.txt", "tweets-ar.csv"):
        (tmp_path / name).touch()
    found = open_corpora([tmp_path], "text")
    assert {region: corpus.names() for region, corpus in found.items()} == {
        "ar": ["tweets-ar.csv"],
        "mx": ["mx.jsonl", "news_tweets_mx.txt"],
    }


def test_a_file_without_a_region(tmp_path):
    (tmp_path / "tweets.txt").touch()
    with pytest.raises(InputError, match="tweets.txt: the name holds no region's two letters"):
        open_corpora([tmp_path / "tweets.txt"], "text")
