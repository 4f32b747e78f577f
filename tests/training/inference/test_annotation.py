"""Tables keep their rows and columns; runs that break off go on."""

import csv
import gzip
import io
import json
import os
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.common.errors import InputError
from training.inference import annotation
from training.inference.annotation import annotate, check_output, parts_folder
from training.inference.tables import INPUT_FORMATS, OUTPUT_FORMATS, read_rows, table_at
from training.texts.lines import UTF8, FileFormat
from training.texts.report import ReadingReport

ROWS = [
    {"id": "007", "text": 'dijo "hola", sí', "when": ""},
    {"id": "NA", "text": "", "when": "x"},
    {"id": "3", "text": "  ", "when": "y"},
    {"id": "4", "text": "adiós 😍\u2028fin", "when": "z"},
    {"id": "5", "text": "uno", "when": "z"},
]


class Length:
    """Answers with the number of characters, and dies at a text if it is told to."""

    schema = pa.schema({"length": pa.int64(), "words": pa.string()})

    def __init__(self, deadly=None):
        self.deadly, self.answered = deadly, []

    def __call__(self, texts, bar):
        if self.deadly in texts:
            raise KeyboardInterrupt
        self.answered += texts
        return [{"length": len(text), "words": text.split()} for text in texts], Counter(long=len(texts))


class Vectors:
    schema = pa.schema({"vector": pa.list_(pa.float32(), 2)})

    def __call__(self, texts, bar):
        return [{"vector": [len(text), 0]} for text in texts], Counter()


@pytest.fixture(autouse=True)
def parts_of_two(monkeypatch):
    monkeypatch.setattr(annotation, "ROWS_PER_PART", 2)


@pytest.fixture
def answer(tmp_path):
    def answer(source, name, answerer=None, run=None, file_format=UTF8, **settings):
        tables = (
            table_at(str(tmp_path / source), "--input", INPUT_FORMATS, file_format=file_format),
            table_at(str(tmp_path / name), "--output", (*OUTPUT_FORMATS, "npy")),
        )
        return annotate(*tables, "text", answerer or Length(), run or {}, **settings)

    return answer


def read(path):
    report = ReadingReport()
    rows = list(read_rows(table_at(str(path), "", OUTPUT_FORMATS), "text", lambda reason, _: report.count(reason)))
    assert not report.left_out
    return rows


def write(path, rows=ROWS):
    table_format = path.name.removesuffix(".gz").rpartition(".")[2]
    if table_format == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    if table_format == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        buffer = io.StringIO()
        dialect = {"quoting": csv.QUOTE_NONE, "delimiter": "\t", "quotechar": None} if table_format == "tsv" else {}
        writer = csv.DictWriter(buffer, list(rows[0]), **dialect)
        writer.writeheader()
        writer.writerows(rows)
        text = "\ufeff" + buffer.getvalue()
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("source", ["a.csv", "a.tsv.gz", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("output", ["b.csv", "b.tsv", "b.jsonl", "b.parquet"])
def test_rows_and_columns_come_back_in_their_order_with_answers(tmp_path, answer, source, output):
    write(tmp_path / source)
    counts = answer(source, output)
    assert counts == {"rows": 5, "without text": 2, "long": 3}
    rows = read(tmp_path / output)
    assert [list(row) for row in rows] == [["id", "text", "when", "length", "words"]] * 5
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == ROWS
    nothing = None if output in ("b.jsonl", "b.parquet") else ""
    assert [row["length"] or nothing for row in rows[1:3]] == [nothing, nothing]
    assert int(rows[4]["length"]) == 3
    words = rows[4]["words"]
    assert (words if output == "b.jsonl" else json.loads(words)) == ["uno"]
    assert {path.name for path in tmp_path.iterdir()} == {source, output}


def test_a_text_file_has_a_row_for_each_line(tmp_path, answer):
    (tmp_path / "a.txt").write_bytes("uno\r\n\ndos\x85\u2028tres\n".encode())
    answer("a.txt", "b.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().split("\n")[:-1]]
    assert [row["text"] for row in rows] == ["uno", "", "dos\x85\u2028tres"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("escaped", [False, True], ids=["pandas", "R"])
def test_tables_with_quotes_are_read_in_their_encoding(tmp_path, answer, encoding, escaped):
    texts = ['dijo "sí" y se fue', "niño\tniña", "uno\ndos", "llano"]
    quoted = [text.replace('"', '\\"' if escaped else '""') for text in texts]
    content = '"id"\t"text"\n' + "".join(f'{number}\t"{text}"\n' for number, text in enumerate(quoted))
    (tmp_path / "a.tsv").write_bytes(content.encode(encoding))
    answer("a.tsv", "b.jsonl", file_format=FileFormat("latin-1" if encoding == "latin-1" else None))
    rows = read(tmp_path / "b.jsonl")
    assert [(row["id"], row["text"]) for row in rows] == [(str(number), text) for number, text in enumerate(texts)]


def test_another_delimiter_may_be_given(tmp_path, answer):
    (tmp_path / "a.csv").write_text('id;text\n1;"uno; dos"\n\n')
    counts = answer("a.csv", "b.jsonl", file_format=FileFormat(delimiter=";"))
    assert counts == {"rows": 2, "without text": 1, "long": 1}
    assert read(tmp_path / "b.jsonl")[0]["text"] == "uno; dos"


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
def test_lines_that_cannot_be_given_are_counted(tmp_path, answer, monkeypatch, name):
    monkeypatch.setattr("training.texts.lines.LINE_LIMIT", 50)
    lines = [b"text"] * (name == "a.csv") + [b"uno"] * 100 + [b"ni\xf1o", b"x" * 51, b"dos"]
    (tmp_path / name).write_bytes(b"\n".join(lines))
    counts = answer(name, "b.csv")
    assert counts == {"rows": 101, "long": 101, "left out as not decodable": 1, "left out as over 1 MB": 1}
    assert [row["text"] for row in read(tmp_path / "b.csv")] == ["uno"] * 100 + ["dos"]
    with pytest.raises(InputError, match="line 10[12]: not UTF-8.*: mend or remove the line"):
        answer(name, "b.npy", Vectors(), keep_columns=False)


def test_rows_whose_text_cannot_be_answered_come_back(tmp_path, answer, monkeypatch):
    monkeypatch.setattr(annotation, "LINE_LIMIT", 50)
    texts = ["uno", "x" * 51, "\u200b\0", None]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    assert answer("a.parquet", "b.parquet") == {"rows": 4, "long": 1, "over 1 MB": 1, "without text": 2}
    assert [(row["text"], row["length"]) for row in read(tmp_path / "b.parquet")] == [
        ("uno", 3),
        *((text, None) for text in texts[1:]),
    ]


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path, answer):
    table = pa.Table.from_arrays([pa.array(["uno"]), pa.array([1]), pa.array([2])], names=["text", "id", "id"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet: 2 columns are named 'id'"):
        answer("a.parquet", "b.parquet")


def test_parquet_keeps_its_types(tmp_path, answer):
    columns = {
        "text": pa.array(["a", None, "c"]),
        "when": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("ms", "UTC")),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "tags": pa.array([["p"], [], None]),
        "raw": pa.array([b"\xff", None, b""]),
    }
    table = pa.table(columns)
    pq.write_table(table, tmp_path / "a.parquet")
    answer("a.parquet", "b.parquet")
    answered = pq.read_table(tmp_path / "b.parquet").select(table.column_names)
    assert answered.schema == table.schema
    assert answered.to_pylist() == table.to_pylist()


@pytest.mark.parametrize("output", ["b.csv", "b.jsonl", "b.parquet"])
def test_an_interrupted_run_goes_on_after_its_last_part(tmp_path, answer, output):
    write(tmp_path / "a.csv")
    answer("a.csv", f"whole-{output}")
    with pytest.raises(KeyboardInterrupt):
        answer("a.csv", output, Length(deadly="uno"))
    assert not (tmp_path / output).exists()
    with pytest.raises(InputError, match="continue with --resume"):
        check_output("a.csv", str(tmp_path / output), resume=False, overwrite=False)
    with pytest.raises(InputError, match="cannot resume, model was None and is now other"):
        answer("a.csv", output, run={"model": "other"}, resume=True)
    second = Length()
    counts = answer("a.csv", output, second, resume=True)
    assert second.answered == ["uno"]
    assert counts["rows"] == 5
    assert (tmp_path / output).read_bytes() == (tmp_path / f"whole-{output}").read_bytes()
    assert not parts_folder(str(tmp_path / output)).exists()


def test_answers_to_standard_input_are_not_kept_for_a_second_run(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("dos\ntres\nuno\n")
    tables = (
        table_at("-", "--input", INPUT_FORMATS, "txt"),
        table_at(str(tmp_path / "b.csv"), "--output", OUTPUT_FORMATS),
    )
    with open(tmp_path / "a.txt") as source, pytest.raises(KeyboardInterrupt) as interruption:
        monkeypatch.setattr("sys.stdin", source)
        annotate(*tables, "text", Length(deadly="uno"), {})
    assert not hasattr(interruption.value, "__notes__")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_vectors_alone_have_a_row_for_each_row_of_the_input(tmp_path, answer):
    write(tmp_path / "a.csv")
    answer("a.csv", "b.npy", Vectors(), keep_columns=False)
    vectors = np.load(tmp_path / "b.npy")
    assert vectors[:, 0].tolist() == pytest.approx([15, np.nan, np.nan, 11, 3], nan_ok=True)


def test_standard_input_and_output(tmp_path, capsys, monkeypatch):
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write("uno\n\ndos\n".encode("utf-16"))
    with open(reading) as source, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", source)
        tables = table_at("-", "--input", INPUT_FORMATS, "txt"), table_at("-", "--output", OUTPUT_FORMATS, "csv")
        annotate(*tables, "text", Length(), {})
    assert capsys.readouterr().out == 'text,length,words\nuno,3,"[""uno""]"\n,,\ndos,3,"[""dos""]"\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,texto\n1,hola\n", "no column 'text'; there are: id, texto"),
        ("a.csv", b"text,length\nhola,4\n", "has a column 'length' already: rename it, or .* with --prefix"),
        ("a.csv", b"text,id,id\na,b,c\n", "line 1: 2 columns are named 'id'"),
        ("a.csv", b"text;id\na;b\n", "seems to be ';', not ',': give --delimiter ';'"),
        ("a.csv", b"text,id\nhola\n", "line 2: 1 fields where the header has 2"),
        ("a.csv", b'text\nhola\n"sin fin\n', "line 3: not a valid table"),
        ("a.csv", "text\n¿está aquí el niño?\n".encode("latin-1"), "1 of 1 lines are not UTF-8: .*--encoding latin-1"),
        ("a.txt", "hola\n".encode("utf-16-le"), "seems to be utf-16-le, .*--encoding utf-16-le"),
        ("a.csv", b"text\n", "holds no rows"),
        ("a.csv.gz", b"text\n", "damaged gzip file"),
        ("a.jsonl", b'{"text": "a"}\n{"text"\n', "line 2: not valid JSON"),
        ("a.jsonl", b'{"full_text": "a"}\n', "give --text_column full_text"),
        ("a.jsonl", b"[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"text": 7}\n', "row 2: 'text' is of type int"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("b.csv", b"", "No such file"),
        ("a.docx", b"", "unknown format"),
    ],
)
def test_wrong_input_is_named(tmp_path, answer, name, content, message):
    if not name.startswith("b"):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        answer(name, "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_what_is_not_unicode_is_counted(tmp_path, answer):
    (tmp_path / "half.jsonl").write_text('{"text": "\\ud83d"}\n{"text": "b"}\n')
    assert answer("half.jsonl", "c.jsonl")["not Unicode"] == 1
    assert [json.loads(line)["text"] for line in (tmp_path / "c.jsonl").read_text().splitlines()] == ["\ud83d", "b"]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "there.csv").write_text("mine")
    for path, flags, message in (
        (tmp_path / "there.csv", {}, "exists already"),
        (tmp_path, {}, "is a folder"),
        ("-", {"resume": True}, "are for files"),
        (tmp_path / "new.csv", {"resume": True, "overwrite": True}, "not both"),
    ):
        with pytest.raises(InputError, match=message):
            check_output("a.csv", str(path), **({"resume": False, "overwrite": False} | flags))


def test_a_row_of_parquet_over_the_limit_is_left_out_and_counted_as_a_line_is(answer, tmp_path, monkeypatch):
    monkeypatch.setattr("training.inference.tables.LINE_LIMIT", 50)
    rows = [{"id": 1, "text": "uno"}, {"id": 2, "text": "x" * 201}, {"id": 3, "text": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert answer("a.parquet", "b.jsonl")["left out as over 1 MB"] == 1
    assert [json.loads(line)["id"] for line in (tmp_path / "b.jsonl").read_text().splitlines()] == [1, 3]
    with pytest.raises(InputError, match="a.parquet, rows from 1 on: a text of over 1 MB"):
        answer("a.parquet", "b.npy", keep_columns=False)


LOOSE = [{"text": "uno", "a": 1}, {"text": "dos", "b": "x"}, {"text": "tres", "a": 2}]


@pytest.fixture
def loose(tmp_path):
    """A JSONL file of which no row has every column."""

    def loose(*rows):
        (tmp_path / "loose.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return "loose.jsonl"

    return loose


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_columns_of_some_rows_only_are_kept(answer, loose, tmp_path, name):
    answer(loose(*LOOSE), name)
    rows = read(tmp_path / name)
    assert [str(row.get("b") or "") for row in rows] == ["", "x", ""]
    assert [str(row.get("a") or "") for row in rows] == ["1", "", "2"]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_a_column_that_comes_too_late_is_named(answer, loose, tmp_path, name):
    source = loose(*LOOSE, {"text": "cuatro", "late": 1})
    with pytest.raises(InputError, match="loose.jsonl, row 4: none of the first 2 rows has its column 'late'"):
        answer(source, name)
    answer(source, "out.jsonl")
    assert read(tmp_path / "out.jsonl")[-1]["late"] == 1


def test_values_of_several_types_are_named(answer, loose):
    source = loose({"text": "uno", "a": 1}, {"text": "dos", "a": "x"})
    with pytest.raises(InputError, match="loose.jsonl: column 'a' cannot be written as parquet .*: write .jsonl"):
        answer(source, "out.parquet")
    later = loose({"text": "uno", "a": 1}, {"text": "dos", "a": 2}, {"text": "tres", "a": "x"})
    with pytest.raises(InputError, match="column 'a' cannot be written as parquet"):
        answer(later, "out.parquet")


@pytest.mark.parametrize("path", ["out.tsv", "-"])
def test_a_tab_is_not_written_as_tsv(answer, loose, tmp_path, path):
    source = table_at(str(tmp_path / loose({"text": "uno\tdos"})), "", INPUT_FORMATS)
    output = table_at(path if path == "-" else str(tmp_path / path), "", OUTPUT_FORMATS, "tsv")
    with pytest.raises(InputError, match="a row holds a tab or line break, which .tsv cannot"):
        annotate(source, output, "text", Length(), {})


def test_vectors_alone_need_no_free_name(answer, loose, tmp_path):
    source = loose({"text": "uno", "vector": 1})
    with pytest.raises(InputError, match="has a column 'vector' already"):
        answer(source, "out.parquet", Vectors())
    answer(source, "out.npy", Vectors(), keep_columns=False)
    assert np.load(tmp_path / "out.npy").tolist() == [[3.0, 0.0]]
