import json

import pytest
from transformers import AutoTokenizer

from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS
from tests.training.conftest import run_main
from training import train_tokenizer
from training.texts.splits import is_test, text_hash
from training.texts.synthetic import generate_texts


@pytest.fixture
def train(tmp_path):
    return lambda *argv, out="out": run_main(train_tokenizer, *argv, output_dir=tmp_path / out)


@pytest.fixture
def refused(train, refusal):
    return lambda *argv: refusal(train_tokenizer, lambda: train(*argv))


@pytest.fixture
def corpora(tmp_path):
    for region in ("mx", "ar"):
        lines = [json.dumps({"text": text}) for text in generate_texts(region, 300)]
        (tmp_path / f"{region}.jsonl").write_text("\n".join(lines))
    return tmp_path / "mx.jsonl", tmp_path / "ar.jsonl"


def test_texts_kept_for_testing_are_not_learnt_from(train, corpora, capsys):
    train("--train_file", *corpora, "--test_fraction", 0.5)
    hashes = [text_hash(text) for region in ("mx", "ar") for text in generate_texts(region, 300)]
    read = sum(not is_test(value, 0.5) for value in hashes)
    assert f"\n{read} texts learnt from" in "\n" + capsys.readouterr().out


def test_one_vocabulary_from_several_corpora(train, corpora, capsys):
    first, second = (train("--train_file", *corpora, "--test_fraction", 0, out=out) for out in ("out", "again"))
    assert capsys.readouterr().out.count("600 texts learnt from; left out: none") == 2
    tokenizer = AutoTokenizer.from_pretrained(first, trust_remote_code=False)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert {"tacos", "asado"} <= set(tokenizer.get_vocab())
    assert (first / "tokenizer.json").read_text() == (second / "tokenizer.json").read_text()


def test_a_published_vocabulary_becomes_a_tokenizer(train, tmp_path):
    vocabulary = tmp_path / "vocab_file_ALL.txt"
    vocabulary.write_text("\n".join([*SPECIAL_TOKENS, "hola", "adios"]) + "\n")
    tokenizer = AutoTokenizer.from_pretrained(train("--vocab_file", vocabulary), trust_remote_code=False)
    assert tokenizer("¡Hola, adiós!")["input_ids"] == [2, 1, 5, 1, 6, 1, 3]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "give one of --train_file, --dataset_name and --vocab_file"),
        ("--train_file gone.txt", "gone.txt: no such file or folder"),
        ("--vocab_file gone.txt", "gone.txt"),
        ("--train_file mx.jsonl --vocab_size 5", "vocab_size=5 is less than the"),
        ("--train_file mx.jsonl --min_frequency 0", "--min_frequency 0 is not 1 or more"),
        ("--train_file mx.jsonl --text_column tweet", "no column 'tweet'; there are: text"),
        ("--train_file empty.txt", "empty.txt: no text to learn"),
        ("--train_file mx.jsonl --vocab_sise 9", "unknown flag --vocab_sise: did you mean --vocab_size"),
    ],
)
def test_wrong_input(refused, corpora, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    assert message in refused(*flags.split())
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_in_the_way_is_kept(train, refused, corpora):
    file = train("--train_file", corpora[0]) / "tokenizer.json"
    before = file.read_text()
    assert "already holds a tokenizer: give another --output_dir, or --overwrite" in refused(
        "--train_file", corpora[1]
    )
    assert file.read_text() == before
    train("--train_file", corpora[1], "--overwrite")
    assert file.read_text() != before


def test_other_files_are_not_touched(refused, corpora, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "holds other files (thesis.txt)" in refused("--train_file", corpora[0], "--overwrite")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
