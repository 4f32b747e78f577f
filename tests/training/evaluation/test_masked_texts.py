import numpy as np
import pytest

from tests.training.conftest import write_texts
from training.common.errors import InputError
from training.evaluation.masked_texts import (
    behind_token,
    mask_tokens,
    read_test_texts,
    texts_outside,
    training_texts,
)
from training.texts.corpus import Corpus, open_corpora
from training.texts.splits import group_hash, is_test, text_hash
from training.texts.synthetic import generate_texts


@pytest.fixture
def corpus(tmp_path):
    texts = generate_texts("mx", 200)
    return Corpus((write_texts(tmp_path / "mx.jsonl", [*texts, texts[0].upper()]),))


def masked(test, tokenizer, draws=2, seed=0):
    return mask_tokens(test, tokenizer, 32, 0.15, draws, seed)


def test_the_test_set_is_what_pretrain_holds_out(corpus):
    test = read_test_texts("mx", corpus, 0.2, 1000)
    assert test.hashes == sorted({text_hash(text) for text in corpus if is_test(text_hash(text), 0.2)})
    assert [text_hash(text) for text in test.texts] == test.hashes
    assert not {text_hash(text) for text in training_texts(corpus, 0.2, 1000)} & set(test.hashes)
    assert len(training_texts(corpus, 0.2, 1000)) == sum(not is_test(text_hash(text), 0.2) for text in corpus)


def test_of_too_many_texts_those_of_the_highest_hashes_stay(corpus):
    assert read_test_texts("mx", corpus, 0.2, 12).hashes == read_test_texts("mx", corpus, 0.2, 1000).hashes[-12:]
    assert len(training_texts(corpus, 0.2, 7)) == 7


def test_every_text_is_tested_once(corpus):
    everything = read_test_texts("mx", corpus, 1, 1000)
    assert len(everything.texts) == 200  # the text in capitals is the same one


def test_an_empty_test_set(tmp_path, tokenizer):
    corpus = Corpus((write_texts(tmp_path / "mx.jsonl", ["hola"]),))
    with pytest.raises(InputError, match="mx.jsonl: the test set is empty.*larger --test_fraction"):
        read_test_texts("mx", corpus, 1e-9, 1000)
    with pytest.raises(InputError, match="1 texts are in the test part of 1, and an interval needs 10"):
        read_test_texts("mx", corpus, 1, 1000)
    unknown = Corpus((write_texts(tmp_path / "mx.jsonl", ["☃" * number for number in range(1, 12)]),))
    with pytest.raises(InputError, match="no text has a token to mask"):
        masked(read_test_texts("mx", unknown, 1, 20), tokenizer)


def test_masks_are_a_function_of_the_text_and_the_draw(corpus, tokenizer, tmp_path):
    def positions(corpus, draws=2, seed=0):
        test = read_test_texts("mx", corpus, 1, 1000)
        rows = masked(test, tokenizer, draws, seed).rows
        return [(test.texts[row.text], tuple(row.positions)) for row in rows]

    found = positions(corpus)
    backwards = Corpus((write_texts(tmp_path / "b.jsonl", list(corpus)[::-1]),))
    fewer = Corpus((write_texts(tmp_path / "c.jsonl", list(corpus)[1:51]),))
    assert positions(backwards) == found
    assert set(positions(fewer)) < set(found)
    assert set(found) < set(positions(corpus, draws=3))
    assert positions(corpus, seed=1) != found


def test_masks_hide_the_share_that_is_given(corpus, tokenizer):
    test = read_test_texts("mx", corpus, 1, 1000)
    found = masked(test, tokenizer, draws=1)
    for row in found.rows:
        ids = row.input_ids.copy()
        ids[row.positions] = row.targets
        assert ids.tolist() == tokenizer(test.texts[row.text], truncation=True, max_length=32)["input_ids"]
        assert (row.input_ids[row.positions] == tokenizer.mask_token_id).all()
        assert not np.isin(row.targets, tokenizer.all_special_ids).any()
        candidates = (~np.isin(ids, tokenizer.all_special_ids)).sum()
        assert len(row.targets) == max(1, round(0.15 * candidates))
    assert len(found.targets) == len(found.texts) == sum(len(row.targets) for row in found.rows)


def test_authors_are_the_clusters(tmp_path):
    """An unnamed author is none, so that such a text is drawn by itself."""
    texts = generate_texts("mx", 40)
    authors = [f"author {number % 12}" if number < 30 else None for number in range(40)]
    path = write_texts(tmp_path / "mx.jsonl", texts, author=authors)
    test = read_test_texts("mx", Corpus((path,), group_column="author"), 1, 1000)
    of_text = dict(zip(test.texts, test.clusters(), strict=True))
    for one, first in zip(texts, authors, strict=True):
        for other, second in zip(texts, authors, strict=True):
            same = one == other or (first is not None and first == second)
            assert (of_text[one] == of_text[other]) == same
    facts = test.facts(100)
    assert (facts["resampled"], facts["authors"]) == ("authors", 12)
    without = read_test_texts("mx", Corpus((path,)), 1, 1000)
    assert len(set(without.clusters())) == 40
    assert (without.facts(1)["resampled"], without.facts(1)["authors"]) == ("texts", None)


def test_too_few_authors_for_an_interval(tmp_path):
    path = write_texts(tmp_path / "mx.jsonl", generate_texts("mx", 40), author=["a", "b"] * 20)
    with pytest.raises(InputError, match="2 authors"):
        read_test_texts("mx", Corpus((path,), group_column="author"), 1, 1000)


def test_pooled_baselines_learn_from_no_test_text_and_no_author_of_one(tmp_path):
    texts = generate_texts("mx", 60)
    authors = [f"author {number % 20}" for number in range(60)]

    def corpus(name, number):
        path = write_texts(tmp_path / name, texts[:number], author=authors[:number])
        return Corpus((path,), group_column="author")

    everything = corpus("mx.jsonl", 60)
    test = read_test_texts("mx", corpus("test.jsonl", 12), 1, 100)
    others = {text for text, author in zip(texts, authors, strict=True) if author not in authors[:12]}
    assert set(texts_outside(everything, [test], 1)) == others
    split = set(texts_outside(everything, [test], 0.5))
    assert split == {text for text in others if not is_test(group_hash(authors[texts.index(text)]), 0.5)}
    assert 0 < len(split) < len(others)


def test_the_token_of_a_region_moves_the_masks(corpus, tokenizer):
    found = masked(read_test_texts("mx", corpus, 1, 20), tokenizer)
    behind = behind_token(found, 77)
    assert behind_token(found, None) is found
    for before, after in zip(found.rows, behind.rows, strict=True):
        assert after.input_ids[1] == 77
        assert (np.delete(after.input_ids, 1) == before.input_ids).all()
        assert (after.input_ids[after.positions] == tokenizer.mask_token_id).all()
    assert (behind.targets == found.targets).all()


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
