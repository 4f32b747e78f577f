"""Encodings of text files, and lines that are too long."""

import gzip
import tracemalloc

import pytest

from training.common.errors import InputError
from training.texts import lines
from training.texts.corpus import Corpus
from training.texts.decoding import likely_encoding
from training.texts.files import find_files
from training.texts.lines import FileFormat

TEXT = "El niño está aquí, ¿qué tal?"


def open_file(path, content: bytes, encoding=None, **options) -> Corpus:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return Corpus(find_files([path]), file_format=FileFormat(encoding), **options)


def table(end: str, texts: list[str]) -> str:
    """The content of a file of this kind with these texts."""
    if end == "jsonl":
        return "".join(f'{{"text": "{text}"}}\n' for text in texts)
    return "".join(f'"{text}"\n' if end == "csv" else f"{text}\n" for text in [*["text"] * (end != "txt"), *texts])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le with mark", "utf-16-be with mark"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.csv.gz"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding, name):
    content = table(name.split(".")[1], [TEXT, "dos"])
    encoding, mark, _ = encoding.partition(" with mark")
    content = ("\ufeff" * bool(mark) + content).encode(encoding)
    assert list(open_file(tmp_path / name, content)) == [TEXT, "dos"]
    assert list(open_file(tmp_path / name, content, "latin-1")) == [TEXT, "dos"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.txt.gz"])
def test_a_file_in_another_encoding_is_refused_by_name_and_read_with_the_flag(tmp_path, name):
    content = table(name.split(".")[1], [TEXT] * 20 + ["llano"] * 80).encode("latin-1")
    with pytest.raises(InputError, match=rf"{name}: 20 of 10\d lines are not UTF-8: .*--encoding latin-1"):
        list(open_file(tmp_path / name, content))
    assert list(open_file(tmp_path / name, content, "latin-1")) == [TEXT] * 20 + ["llano"] * 80


def test_it_is_refused_before_a_long_file_is_read_to_its_end(tmp_path):
    read = []
    with pytest.raises(InputError, match="500 of 1,000 lines"):
        read.extend(open_file(tmp_path / "a.txt", f"{TEXT}\nllano\n".encode("latin-1") * 5000))
    assert len(read) < 1000


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_characters_without_a_mark_are_recognised(tmp_path, encoding):
    content = f"{TEXT}\ndos\n".encode(encoding)
    with pytest.raises(InputError, match=f"seems to be {encoding}.*--encoding {encoding}"):
        list(open_file(tmp_path / "a.txt", content))
    assert list(open_file(tmp_path / "a.txt", content, encoding)) == [TEXT, "dos"]


def test_a_file_of_two_bytes_a_character_that_is_cut_is_refused(tmp_path):
    with pytest.raises(InputError, match="a.txt, after line 2: not UTF-16"):
        list(open_file(tmp_path / "a.txt", f"{TEXT}\ndos\ntres\n".encode("utf-16")[:-1]))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("latin-1", "latin-1"), ("cp1252", "cp1252"), ("cp850", "cp850")],
)
def test_the_encodings_of_spanish_are_recognised(encoding, expected):
    text = f"{TEXT} “mañana” €5" if encoding == "cp1252" else TEXT
    assert likely_encoding(f"{text}\n".encode(encoding) * 10) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["qué", "año", "É", "¿qué tal?", "sí"])
def test_a_word_is_not_taken_for_two_bytes_a_character_and_two_bytes_not_for_one(text, encoding):
    assert likely_encoding(f"{text}\n".encode(encoding)) == encoding


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "latín"}, "--encoding latín: no encoding of this name"),
        ({"encoding": "rot13"}, "no encoding of this name"),
        ({"delimiter": ";;"}, "give one character"),
        ({"delimiter": '"'}, "give one character"),
    ],
)
def test_a_format_that_cannot_be_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        FileFormat(**settings)


def test_texts_without_a_visible_character_are_empty(tmp_path):
    corpus = open_file(tmp_path / "a.txt", "hola\n\0\0\n\u200b\u200d\n\u00a0 \u2028\n\u0301\ufe0f\n\x1b\n".encode())
    assert list(corpus) == ["hola"]
    assert corpus.report.empty == 5


@pytest.mark.parametrize("filler", ["\u115f", "\u1160", "\u2800", "\u3164", "\uffa0"])
def test_texts_of_fillers_alone_are_empty(tmp_path, filler):
    corpus = open_file(tmp_path / "a.txt", f"{filler}\n {filler * 2}\u200b\n{filler}a\n".encode())
    assert list(corpus) == [f"{filler}a"]
    assert corpus.report.empty == 2


@pytest.fixture
def short_limit(monkeypatch):
    for module in ("lines", "tables", "corpus"):
        monkeypatch.setattr(f"training.texts.{module}.LINE_LIMIT", 50)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.txt.gz"])
def test_lines_over_the_limit_are_counted_and_left_out(tmp_path, short_limit, name):
    content = table(name.split(".")[1], ["uno", "x" * 51, "dos", "y" * 5000, "z" * 20]).encode()
    corpus = open_file(tmp_path / name, content)
    assert list(corpus) == ["uno", "dos", "z" * 20]
    assert corpus.report.too_long == 2
    with pytest.raises(InputError, match="line [23]: over 1 MB.*--strict"):
        list(open_file(tmp_path / name, content, strict=True))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('text,x\n"uno\n' + "dos\n" * 40, id="never closed"),
        pytest.param('text,x\n"uno ' + "x" * 60 + "\ndos\n", id="opened in a long line"),
        pytest.param('text,x\n"uno\n' + "x" * 60 + '\ndos",1\n', id="around a long line"),
    ],
)
def test_a_long_record_in_quotation_marks_is_refused(tmp_path, short_limit, content):
    with pytest.raises(InputError, match="over 1 MB"):
        list(open_file(tmp_path / "a.csv", content.encode()))


@pytest.mark.parametrize("rest", ["", "uno\ndos\n"])
def test_a_header_over_the_limit_is_refused_and_not_replaced_by_the_next_line(tmp_path, short_limit, rest):
    with pytest.raises(InputError, match="a.csv, line 1: over 1 MB, where the columns are named"):
        list(open_file(tmp_path / "a.csv", f"text,{'x' * 60}\n{rest}".encode()))


def test_a_line_without_end_takes_no_memory(tmp_path):
    corpus = open_file(tmp_path / "a.txt.gz", b"uno\n" + b"x" * 20_000_000 + b"\ndos\n")
    tracemalloc.start()
    try:
        assert list(corpus) == ["uno", "dos"]
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert corpus.report.too_long == 1


def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BOMB_BYTES", 10_000)
    with pytest.raises(InputError, match="unpacks to over 500 times its size"):
        list(open_file(tmp_path / "a.txt.gz", b"\n" * 200_000))
