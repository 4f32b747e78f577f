import errno
import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.common.errors import InputError
from training.texts.corpus import Corpus
from training.texts.files import find_files

TEXTS = ["vamos a comer", 'dijo: "sí, ¿y?"', "ñandú 😍"]


def write(path, texts=TEXTS, column="text"):
    kind = path.name.removesuffix(".gz").rsplit(".")[-1]
    if kind == "parquet":
        pq.write_table(pa.table({"id": list(range(len(texts))), column: texts}), path)
        return path
    if kind == "jsonl":
        lines = [json.dumps({"id": 1, column: text}, ensure_ascii=False) for text in texts]
    elif kind == "csv":
        lines = [f"id,{column}", *('1,"{}"'.format(text.replace('"', '""')) for text in texts)]
    elif kind == "tsv":
        lines = [f"id\t{column}", *(f"1\t{text}" for text in texts)]
    else:
        lines = texts
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_bytes(path, texts):
    """A Parquet file whose strings are these bytes."""
    pq.write_table(pa.table({"text": pa.array(texts, pa.binary()).view(pa.string())}), path)
    return path


def read(*paths, **options):
    return list(Corpus(files=find_files(paths), **options))


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_every_kind_of_file_gives_the_same_texts(tmp_path, name):
    assert read(write(tmp_path / name)) == TEXTS
    if not name.endswith("parquet"):
        assert read(write(tmp_path / f"{name}.gz")) == TEXTS


def test_several_files_and_folders(tmp_path):
    write(tmp_path / "b.txt", ["dos"])
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", ["uno"])
    write(tmp_path / "notes.md", ["no corpus"])
    assert read(tmp_path) == ["dos", "uno"]
    assert read(tmp_path / "in", tmp_path / "b.txt") == ["uno", "dos"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.parquet"])
def test_a_missing_column_names_the_ones_there_are(tmp_path, name):
    path = write(tmp_path / name, column="tweet")
    with pytest.raises(InputError, match=r"no column 'text'; there are: id, tweet.*--text_column"):
        read(path)
    assert read(path, text_column="tweet") == TEXTS


def test_csv_fields_may_hold_line_breaks(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,x\n"una\nlínea",1\notra,2\n')
    assert read(path) == ["una\nlínea", "otra"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext\nhola\n")
    assert read(path) == ["hola"]


def test_empty_texts_are_counted_and_skipped(tmp_path):
    corpus = Corpus(files=(write(tmp_path / "a.jsonl", ["uno", "", "  \t", "dos"]),))
    assert list(corpus) == ["uno", "dos"]
    assert corpus.report.empty == 2


def test_invalid_utf8_is_counted_and_skipped_or_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"uno\nd\xf3s\n" + b"tres\n" * 98)
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["uno"] + ["tres"] * 98
    assert corpus.report.invalid == 1
    with pytest.raises(InputError, match=r"a.txt, line 2: not UTF-8 \(byte 0xf3 at 1\).*--strict"):
        read(path, strict=True)


@pytest.mark.parametrize("end", ["csv", "tsv"])
def test_a_bad_byte_costs_one_record_of_a_table(tmp_path, end):
    path = tmp_path / f"a.{end}"
    separator = b"," if end == "csv" else b"\t"
    rows = [b"text", b"x\nuno", b"1\nd\xf3s", *[b"2\ntres"] * 98, b"3\n"]
    path.write_bytes(separator.join(rows))
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["uno"] + ["tres"] * 98
    assert corpus.report.invalid == 1
    with pytest.raises(InputError, match="line 3: not UTF-8 .*--strict"):
        read(path, strict=True)


def test_a_bad_byte_inside_quotes_costs_one_record(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,x\n"uno\n\xf3 fin",1\n' + b"dos,2\n" * 99)
    assert read(path) == ["dos"] * 99


def test_parquet_texts_that_are_not_utf8_or_missing(tmp_path):
    corpus = Corpus(files=(write_bytes(tmp_path / "a.parquet", [b"uno", b"d\xf3s", None, *[b"tres"] * 98]),))
    assert list(corpus) == ["uno"] + ["tres"] * 98
    assert (corpus.report.invalid, corpus.report.empty) == (1, 1)
    pq.write_table(pa.table({"text": pa.array(["uno", "uno"]).dictionary_encode()}), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet") == ["uno", "uno"]


def test_half_a_surrogate_pair_is_invalid_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "uno \\ud83d"}\n' + '{"text": "dos \\ud83d\\ude0d"}\n' * 99)
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["dos 😍"] * 99
    assert corpus.report.invalid == 1


@pytest.mark.parametrize("bad", [90, 3])
def test_texts_that_are_not_unicode_are_refused_when_they_are_many(tmp_path, bad):
    path = write_bytes(tmp_path / "a.parquet", ["qué más".encode("latin-1")] * bad + [b"uno"] * (100 - bad))
    with pytest.raises(InputError, match=rf"a.parquet: {bad} of 100 texts are not Unicode: .* latin-1: write them as"):
        read(path)
    (tmp_path / "a.jsonl").write_text('{"text": "uno \\ud83d"}\n' * bad + '{"text": "dos"}\n' * (100 - bad))
    with pytest.raises(
        InputError, match=rf"a.jsonl: {bad} of 100 texts are not Unicode: .* halves of surrogate pairs"
    ):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "uno"}\n{"text": dos}\n', "a.jsonl, line 2: not valid JSON.*column 10"),
        ("a.jsonl", b'["uno"]\n', "line 1: not a JSON object"),
        ("a.jsonl", b'{"text": 5}\n', "line 1: 'text' is of type int, not a string"),
        ("a.jsonl", b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "line 1: not valid JSON"),
        ("a.csv", b"text,x\nuno,1\ndos\n", "a.csv, line 3: 1 fields where the header has 2"),
        ("a.csv", b'text\n"hola\nuno\ndos\n', "not a valid table .unexpected end of data."),
        ("a.csv", "año\nuno\n".encode("latin-1"), "a.csv: 1 of 1 lines are not UTF-8: .*--encoding latin-1"),
        ("a.parquet", b"text", "not a readable Parquet file"),
        ("a.txt.gz", b"plain", "damaged gzip file"),
        ("a.txt.gz", gzip.compress(b"hola\n" * 9999, mtime=0)[:40], "damaged gzip file"),
        ("a.docx", b"", "unknown kind of file"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="gone.txt: no such file or folder"):
        find_files([tmp_path / "gone.txt"])
    with pytest.raises(InputError, match="no corpus file in this folder"):
        find_files([tmp_path])


def test_a_parquet_column_of_numbers_is_refused(tmp_path):
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1: .text. is of type int, not a string"):
        read(tmp_path / "a.parquet")


def test_hidden_files_and_backups_in_a_folder_are_no_corpus(tmp_path):
    write(tmp_path / "a.txt", ["uno"])
    for name in (".a.txt", "._a.txt", "~$a.csv", "#a.txt#", "a.txt~", "a.txt.bak", ".ipynb_checkpoints/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, ["dos"])
    assert read(tmp_path) == ["uno"]
    assert read(tmp_path / ".a.txt") == ["dos"], "it was named"


def test_suffixes_in_upper_case_and_ndjson_are_known(tmp_path):
    for number, kind in enumerate(("csv", "csv.gz", "jsonl", "parquet", "tsv", "txt")):
        write(tmp_path / f"{number}.{kind}", [kind]).rename(tmp_path / f"{number}.{kind.upper()}")
    write(tmp_path / "6.jsonl", ["ndjson"]).rename(tmp_path / "6.ndjson")
    assert read(tmp_path) == ["csv", "csv.gz", "jsonl", "parquet", "tsv", "txt", "ndjson"]


def test_linked_folders_are_read_once_whatever_they_link_to(tmp_path):
    (tmp_path / "corpus" / "inside").mkdir(parents=True)
    write(tmp_path / "corpus" / "inside" / "a.txt", ["uno"])
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "a.txt", ["dos"])
    for name, target in (("again", "inside"), ("loop", "."), ("more", "../elsewhere"), ("inside/up", "..")):
        (tmp_path / "corpus" / name).symlink_to(target)
    assert read(tmp_path / "corpus") == ["uno", "dos"]


def test_other_files_of_a_folder_are_counted_in_a_line(tmp_path, capsys, monkeypatch):
    write(tmp_path / "a.txt")
    find_files([tmp_path])
    assert capsys.readouterr().err == ""
    for name in ("b.docx", "c.docx", "LICENSE", ".hidden"):
        (tmp_path / name).touch()
    find_files([tmp_path, tmp_path / "a.txt"])
    line = f"{tmp_path}: files of other kinds, which are not read: 3 (.docx, no suffix)\n"
    assert capsys.readouterr().err == f"{line}named more than once, by links too, and read once: 1\n"
    monkeypatch.setenv("RANK", "1")
    find_files([tmp_path])
    assert capsys.readouterr().err == "", "another process says it"


def test_what_cannot_be_read_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(InputError, match="pipe.txt: a pipe or device, not a file"):
        find_files([tmp_path / "pipe.txt"])
    with pytest.raises(InputError, match="pipe.txt: a pipe or device, not a file"):
        find_files([tmp_path])
    (tmp_path / "pipe.txt").unlink()
    (tmp_path / "link.txt").symlink_to("gone.txt")
    for path in (tmp_path, tmp_path / "link.txt"):
        with pytest.raises(InputError, match="link.txt: a link to gone.txt, which does not exist"):
            find_files([path])
    with pytest.raises(InputError, match="File name too long"):
        find_files([tmp_path / ("x" * 300 + ".txt")])


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    def walk(folder, onerror, **_):
        onerror(PermissionError(errno.EACCES, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)  # permissions do not hold for root, who may run the tests
    with pytest.raises(InputError, match="cannot be read .Permission denied"):
        find_files([tmp_path])


def test_other_kinds_of_files_may_be_looked_for(tmp_path):
    write(tmp_path / "a.txt")
    (tmp_path / "b.conll.gz").touch()
    assert find_files([tmp_path], [".conll"]) == (tmp_path / "b.conll.gz",)


def test_a_file_that_is_named_twice_is_read_once(tmp_path, capsys):
    file = tmp_path / "mx.txt"
    file.write_text("uno\n")
    (tmp_path / "link.txt").symlink_to(file)
    assert find_files([file, tmp_path / "link.txt", tmp_path / ".." / tmp_path.name / "mx.txt", file]) == (file,)
    assert "and read once: 3\n" in capsys.readouterr().err
