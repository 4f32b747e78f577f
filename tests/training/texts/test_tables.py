"""Tables as other programs write them: delimiters, quotes, headers, and labels of any type."""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.common.errors import InputError
from training.inference.tables import input_at, read_rows
from training.texts.columns import category, sorted_names
from training.texts.corpus import Corpus
from training.texts.files import find_files
from training.texts.lines import FileFormat
from training.texts.parquet_stream import Lane, ParquetStream
from training.texts.tables import strings_as_bytes

TEXTS = ['dijo "hola" y se fue', '"hola"', "uno\tdos", "tres\ncuatro", "llano"]


def open_table(path, content: str | bytes, delimiter=None, **options) -> Corpus:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Corpus(find_files([path]), file_format=FileFormat(delimiter=delimiter), **options)


def test_tables_of_pandas_are_read_as_written(tmp_path):
    frame = pd.DataFrame({"text": TEXTS, "label": "a"})
    for name, separator in (("a.tsv", "\t"), ("a.csv", ",")):
        assert list(open_table(tmp_path / name, frame.to_csv(sep=separator, index=False))) == TEXTS
    assert list(open_table(tmp_path / "a.csv", frame.to_csv(sep=";", index=False), delimiter=";")) == TEXTS


@pytest.mark.parametrize(("name", "separator"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_table_of_r_is_read_as_written(tmp_path, name, separator):
    rows = ['"text"\t"label"', '"dijo \\"hola\\" y se fue"\t"a"', '"\\"hola\\""\t"b"', '"llano"\t"a"']
    content = "\n".join(rows).replace("\t", separator)
    assert list(open_table(tmp_path / name, content)) == [TEXTS[0], TEXTS[1], "llano"]


def test_a_backslash_before_the_end_of_a_field_is_only_that(tmp_path):
    assert list(open_table(tmp_path / "a.csv", 'text,x\n"C:\\",1\n"dijo ""sí""",2\n')) == ["C:\\", 'dijo "sí"']


@pytest.mark.parametrize(("name", "separator"), [("a.tsv", "\t"), ("a.csv", ",")])
def test_a_table_of_r_with_row_names_is_read_without_them(tmp_path, name, separator):
    rows = [["text", "label"], ["1", "hola, amigo", "a"], ["2", "a\nb", "b"], ["17", "NA", "b"]]
    content = "".join(separator.join(f'"{field}"' for field in row) + "\n" for row in rows)
    corpus = open_table(tmp_path / name, content, label_column="label")
    assert list(corpus.rows()) == [("hola, amigo", "a"), ("a\nb", "b"), ("NA", "b")]
    table = input_at(str(tmp_path / name), "--input")
    assert next(read_rows(table, "text", print)) == {"row.names": "1", "text": "hola, amigo", "label": "a"}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("text,label\n1,hola,a\n", id="without quotes, as a text with a comma"),
        pytest.param('"text","label"\n"hola", amigo,a\n', id="a text that is not quoted whole"),
        pytest.param('"text","label"\n"1","a",\n', id="an empty field too many"),
    ],
)
def test_what_may_be_no_row_names_is_refused_with_the_advice(tmp_path, content):
    with pytest.raises(InputError, match="line 2: 3 fields where the header has 2: .*; if R wrote it, use row.names"):
        list(open_table(tmp_path / "a.csv", content))


@pytest.mark.parametrize("text", ['"hola" dijo', '"hola"', 'dijo: "sí"', '"sin cerrar', "C:\\nuevo"])
def test_tabs_without_quotes_keep_the_quotation_marks_of_a_text(tmp_path, text):
    assert list(open_table(tmp_path / "a.tsv", f"text\tlabel\n{text}\ta\nllano\tb\n")) == [text, "llano"]


def test_a_broken_line_in_a_table_without_quotes_is_not_to_be_quoted(tmp_path):
    with pytest.raises(InputError, match=r"line 2: 1 fields where the header has 2: .*write .jsonl or .csv"):
        list(open_table(tmp_path / "a.tsv", "text\tlabel\nlinea uno\nlinea dos\tpos\n"))


@pytest.mark.parametrize(
    ("name", "header", "seen"),
    [
        ("a.csv", "text;label", ";"),
        ("a.csv", '"text";"label"', ";"),
        ("a.csv", "id\ttext\tlabel", "\\\\t"),
        ("a.csv", "id|tweet", r"\|"),
        ("a.tsv", "text,label", ","),
    ],
)
def test_another_delimiter_is_named(tmp_path, name, header, seen):
    with pytest.raises(InputError, match=f"line 1: .* the separator .* seems to be '{seen}'.*--delimiter '{seen}'"):
        list(open_table(tmp_path / name, f"{header}\n"))


def test_a_delimiter_may_be_given(tmp_path):
    assert list(open_table(tmp_path / "a.csv", "text|x\nuno, dos|1\n", delimiter="|")) == ["uno, dos"]
    assert list(open_table(tmp_path / "a.tsv", 'text;x\n"uno; dos";1\n', delimiter=";")) == ["uno; dos"]
    assert list(open_table(tmp_path / "a.csv", "text\tx\nuno, dos\t1\n", delimiter="\\t")) == ["uno, dos"]


def test_a_header_may_follow_a_byte_order_mark_and_end_in_a_carriage_return(tmp_path):
    assert list(open_table(tmp_path / "a.csv", b'\xef\xbb\xbf"text",x\r\nuno,1\r\n')) == ["uno"]
    assert list(open_table(tmp_path / "a.tsv", b"\xef\xbb\xbftext\tx\runo\t1\r")) == ["uno"]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_header_alone_is_no_text(tmp_path, name):
    corpus = open_table(tmp_path / name, "" if name == "a.jsonl" else "text\n")
    assert list(corpus) == []
    assert "a header alone" in str(corpus.no_text_error())


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="line 1: 2 columns are named 'text'"):
        list(open_table(tmp_path / "a.csv", "text,text\nuno,dos\n"))
    table = pa.Table.from_arrays([pa.array(["uno"]), pa.array(["dos"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet: 2 columns are named 'text'"):
        list(Corpus(find_files([tmp_path / "a.parquet"])))


def write_labels(path, frame: pd.DataFrame) -> Corpus:
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return Corpus((path,), label_column="label")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([True, False, True], ["true", "false", "true"]),
        ([10, 2, 1], ["10", "2", "1"]),
        ([1.0, 0.0, None], ["1", "0"]),
        (["pos", "neg", None], ["pos", "neg"]),
        (["1.0", "nan", " x "], ["1", "x"]),
        (["NA", "n/a", "NONE"], ["NONE"]),
        (pd.Categorical(["b", "a", None]), ["b", "a"]),
        (pd.Categorical([2, 1, 2]), ["2", "1", "2"]),
        (pd.array([True, None, False], dtype="boolean"), ["true", "false"]),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_labels_have_one_name_in_every_kind_of_file(tmp_path, labels, names, name):
    corpus = write_labels(tmp_path / name, pd.DataFrame({"text": ["uno", "dos", "tres"], "label": labels}))
    assert [label for _, label in corpus.rows()] == names
    assert corpus.report.unlabelled == 3 - len(names)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_fraction_is_no_label_in_any_kind_of_file(tmp_path, name):
    corpus = write_labels(tmp_path / name, pd.DataFrame({"text": ["uno"], "label": [0.5]}))
    with pytest.raises(InputError, match="'label' holds a float, not a string or whole number: 0.5"):
        list(corpus.rows())


@pytest.mark.parametrize("value", [[1], {"a": 1}, float("inf")])
def test_what_is_no_category_is_refused(value):
    with pytest.raises(ValueError, match="holds a (list|dict|float)"):
        category(value)


def test_whole_numbers_are_sorted_as_numbers():
    assert sorted_names(["10", "2", "-1", "2"]) == ["-1", "2", "10"]
    assert sorted_names(["10", "2", "x"]) == ["10", "2", "x"]


def test_notices_of_the_twitter_api_are_counted_and_left_out(tmp_path):
    records = [{"text": "uno"}, {"delete": {"status": {"id": 1}}}, {"limit": {"track": 5}}, {"text": "dos"}]
    corpus = open_table(tmp_path / "a.jsonl", "".join(f"{json.dumps(record)}\n" for record in records), strict=True)
    assert list(corpus) == ["uno", "dos"]
    assert corpus.report.notices == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"full_text": "uno", "id": 1}, "give --text_column full_text"),
        ({"extended_tweet": {"full_text": "uno"}}, "full_text inside extended_tweet"),
    ],
)
def test_the_other_fields_of_tweets_are_named(tmp_path, record, message):
    with pytest.raises(InputError, match=f"line 1: no column 'text'.*{message}"):
        list(open_table(tmp_path / "a.jsonl", json.dumps(record)))


def test_a_bad_byte_in_a_label_costs_its_text(tmp_path):
    rows = b"text,label\nuno,d\xf3s\n" + b"tres,a\n" * 98
    corpus = open_table(tmp_path / "a.csv", rows, label_column="label")
    assert {label for _, label in corpus.rows()} == {"a"}
    assert corpus.report.invalid == 1


def test_a_damaged_parquet_file_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["uno", "dos"] * 500}), path)
    whole = path.read_bytes()
    for damaged in (whole[:-20], whole[:200], whole.replace(b"text", b"t\xffxt"), whole[:4] + bytes(60) + whole[64:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"a\.parquet"):
            list(Corpus((path,)))


def test_rows_that_a_damaged_parquet_file_lost_are_missed(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["hola"] * 8})
    pq.write_table(table, path, row_group_size=4, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[5] = 2  # the kind of the first page, which pyarrow skips then
    path.write_bytes(content)
    corpus = Corpus((path,))
    with pytest.raises(InputError, match="damaged: 4 of 8 rows are there"):
        list(corpus)
    stream = ParquetStream(corpus)
    with pytest.raises(InputError, match="damaged: 0 of 4 rows of a row group"):
        list(Lane(stream).texts((0, 0), 0, len(stream)))


def test_a_long_text_of_parquet_is_counted_and_never_decoded_whole(tmp_path, monkeypatch):
    for module in ("tables", "corpus"):
        monkeypatch.setattr(f"training.texts.{module}.LINE_LIMIT", 50)
    texts = ["uno", "x" * 51, "a" + "ñ" * 5000, "hola" + " " * 5000 + "adiós", None, "dos"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    corpus = Corpus((tmp_path / "a.parquet",))
    assert list(corpus) == ["uno", "dos"]
    assert corpus.report.summary() == "left out: 1 empty, 3 over 1 MB"
    assert max(map(len, filter(None, strings_as_bytes(pa.array(texts), "").to_pylist()))) == 204


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_column_of_parquet_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, use_dictionary):
    monkeypatch.setattr("training.texts.tables.BOMB_BYTES", 1_000_000)
    path = tmp_path / "a.parquet"
    table = pa.table({"text": ["uno"], "text 2": ["x" * 2_000_000]})
    pq.write_table(table, path, compression="zstd", use_dictionary=use_dictionary)
    assert list(Corpus((path,))) == ["uno"], "that column is not read"
    for read in (
        lambda: list(Corpus((path,), text_column="text 2")),
        lambda: list(Lane(ParquetStream(Corpus((path,), text_column="text 2"))).texts((0, 0), 0, 1)),
        lambda: list(read_rows(input_at(str(path), "--input"), "text", print)),
    ):
        with pytest.raises(InputError, match=r"a.parquet: column 'text 2' unpacks to over 500 times its size"):
            read()
