"""Texts of a group, such as an author, are on one side of every split."""

import numpy as np
import pytest

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.training.conftest import write_texts
from training.common.errors import InputError
from training.evaluation.masked_texts import read_test_texts, training_texts
from training.pretraining.arguments import PretrainArguments, check_arguments
from training.texts.corpus import Corpus, open_corpora
from training.texts.regions import get_region
from training.texts.splits import duplicates_of, group_hash, is_test, is_training, text_hash
from training.texts.synthetic import generate_texts
from training.texts.token_cache import load_tokens

TEXTS = list(dict.fromkeys(generate_texts("mx", 600)))
AUTHORS = [f"a{number % 40}" for number in range(len(TEXTS))]
HELD_OUT = {author for author in AUTHORS if is_test(group_hash(author), 0.3)}


@pytest.fixture
def path(tmp_path):
    return write_texts(tmp_path / "mx.jsonl", TEXTS, author=AUTHORS)


def test_tokens_hold_the_hash_of_the_group_beside_that_of_the_text(path, tmp_path):
    tokenizer = build_tokenizer(train_vocabulary(TEXTS, 200, 2))
    grouped, _ = load_tokens(Corpus((path,), group_column="author"), tokenizer, 32, tmp_path / "cache")
    plain, _ = load_tokens(Corpus((path,)), tokenizer, 32, tmp_path / "cache")
    missing, _ = load_tokens(Corpus((path,), group_column="missing"), tokenizer, 32, tmp_path / "cache")
    assert grouped["split_hash"][:] == [group_hash(author) for author in AUTHORS]
    assert grouped["text_hash"][:] == plain["split_hash"][:] == missing["split_hash"][:] == plain["text_hash"][:]


def test_authors_of_the_test_part_teach_baselines_nothing(path):
    corpus = open_corpora([str(path)], "text", "author")["mx"]
    author_of = dict(zip(TEXTS, AUTHORS, strict=True))
    assert 0 < len(HELD_OUT) < 40
    assert {author_of[text] for text in read_test_texts("mx", corpus, 0.3, 1000).texts} == HELD_OUT
    assert not {author_of[text] for text in training_texts(corpus, 0.3, 1000)} & HELD_OUT


def test_a_held_out_text_is_not_learnt_from_another_author_either(tmp_path):
    held_out, other = next(iter(HELD_OUT)), next(author for author in AUTHORS if author not in HELD_OUT)
    texts = [*TEXTS, "Hola, ñandú", "HOLA,  ñandú"]
    path = write_texts(tmp_path / "mx.jsonl", texts, author=[*AUTHORS, held_out, other])
    corpus = open_corpora([str(path)], "text", "author")["mx"]
    assert text_hash(texts[-2]) == text_hash(texts[-1])
    assert texts[-1] not in training_texts(corpus, 0.3, 1000)

    hashes = np.array([5, 5, 7])
    for_training = np.array([False, True, True])
    assert duplicates_of(hashes[~for_training], for_training, hashes).tolist() == [False, True, False]


def test_what_is_for_training_is_for_nothing_else():
    hashes = np.array([0, 2**62, 2**63 - 1])
    assert is_training(hashes, 0.1, 0.1).tolist() == [False, True, False]


def test_groups_cannot_be_streamed():
    args = PretrainArguments(
        region="mx", output_dir="out", train_file=["mx.parquet"], tokenizer="x", streaming=True, group_column="author"
    )
    with pytest.raises(InputError, match="--group_column needs all texts"):
        check_arguments(args, get_region("mx"))
