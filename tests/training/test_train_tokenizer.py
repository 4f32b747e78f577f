import json

import pytest
from transformers import AutoTokenizer

from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS
from training import train_tokenizer
from training.common.errors import run
from training.texts.splits import is_test, text_hash
from training.texts.synthetic import generate_texts


@pytest.fixture
def call(monkeypatch):
    def call(*argv: object):
        monkeypatch.setattr("sys.argv", ["train_tokenizer.py", *map(str, argv)])
        run(train_tokenizer.main)

    return call


@pytest.fixture
def ok(call):
    def ok(*argv: object):
        with pytest.raises(SystemExit) as stop:
            call(*argv)
        assert stop.value.code == 0

    return ok


@pytest.fixture
def corpora(tmp_path):
    for region in ("mx", "ar"):
        lines = [json.dumps({"text": text}) for text in generate_texts(region, 300)]
        (tmp_path / f"{region}.jsonl").write_text("\n".join(lines))
    return tmp_path / "mx.jsonl", tmp_path / "ar.jsonl"


def test_texts_kept_for_testing_teach_nothing(ok, corpora, tmp_path, capsys):
    ok("--train_file", *corpora, "--test_fraction", 0.5, "--output_dir", tmp_path / "out")
    hashes = [text_hash(text) for region in ("mx", "ar") for text in generate_texts(region, 300)]
    read = sum(not is_test(value, 0.5) for value in hashes)
    assert f"\n{read} texts learnt from" in "\n" + capsys.readouterr().out


def test_one_vocabulary_from_several_corpora(ok, corpora, tmp_path, capsys):
    ok("--train_file", *corpora, "--test_fraction", 0, "--output_dir", tmp_path / "out")
    assert "600 texts learnt from; left out: none" in capsys.readouterr().out
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    assert tokenizer.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS)
    assert {"tacos", "asado"} <= set(tokenizer.get_vocab())
    ok("--train_file", *corpora, "--test_fraction", 0, "--output_dir", tmp_path / "again")
    first, second = ((tmp_path / name / "tokenizer.json").read_text() for name in ("out", "again"))
    assert first == second


def test_a_published_vocabulary_becomes_a_tokenizer(ok, tmp_path):
    vocabulary = tmp_path / "vocab_file_ALL.txt"
    vocabulary.write_text("\n".join([*SPECIAL_TOKENS, "hola", "adios"]) + "\n")
    ok("--vocab_file", vocabulary, "--output_dir", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
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
def test_wrong_input(call, corpora, tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(SystemExit) as stop:
        call("--output_dir", "out", *flags.split())
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_in_the_way_is_kept(call, ok, corpora, tmp_path, capsys):
    ok("--train_file", corpora[0], "--output_dir", tmp_path / "out")
    before = (tmp_path / "out" / "tokenizer.json").read_text()
    with pytest.raises(SystemExit):
        call("--train_file", corpora[1], "--output_dir", tmp_path / "out")
    assert "already holds a tokenizer: give another --output_dir, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "tokenizer.json").read_text() == before
    ok("--train_file", corpora[1], "--output_dir", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "tokenizer.json").read_text() != before


def test_other_files_are_left_alone(call, corpora, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit):
        call("--train_file", corpora[0], "--output_dir", tmp_path / "out", "--overwrite")
    assert "holds other files (thesis.txt)" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
