"""Records of dumps, in the forms that they are found in."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.common.errors import InputError
from training.corpus_preparation import records
from training.corpus_preparation.records import find_dumps, is_retweet, read_records, value_at
from training.texts import lines
from training.texts.lines import LINE_LIMIT, UTF8, FileFormat
from training.texts.report import ReadingReport

RECORDS = [{"text": "¡Qué frío!", "author": "a"}, {"text": "Vamos, che", "author": "b"}]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()


def read(path, report=None, file_format=UTF8):
    report = report or ReadingReport()
    return list(read_records(path, "text", file_format, lambda reason, _: report.count(reason)))


def pack(path, content):
    """Write a file, packed as its name says."""
    with pa.output_stream(str(path), compression="detect") as file:
        file.write(content)


def test_every_kind_of_dump_gives_the_same_records(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    pack(tmp_path / "b.json.gz", LINES)
    pack(tmp_path / "c.jsonl.zst", LINES)
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "d.parquet")
    with (tmp_path / "e.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "author"])
        writer.writeheader()
        writer.writerows(RECORDS)
    for name in ("a.jsonl", "c.jsonl.zst", "d.parquet", "e.csv"):
        (tmp_path / name.upper()).write_bytes((tmp_path / name).read_bytes())
    files = find_dumps([str(tmp_path)])
    assert [file.name[0] for file in files] == list("ACDEabcde")
    for file in files:
        assert read(file) == RECORDS, file


def test_zst_of_several_frames_is_read_to_its_end(tmp_path):
    path = tmp_path / "x.jsonl.zst"
    pack(path, LINES)
    path.write_bytes(path.read_bytes() * 2)
    assert read(path) == RECORDS * 2


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_truncated_file_is_an_error(tmp_path, suffix):
    path = tmp_path / f"x.jsonl.{suffix}"
    pack(path, LINES * 50)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        read(path)


def test_a_broken_line_is_none_and_many_are_an_error(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES + b'{"text": "corta\n')
    assert read(path) == [*RECORDS, None]
    path.write_bytes(LINES + b"no\n" * 3)
    with pytest.raises(InputError, match="3 of 5 lines are no JSON objects"):
        read(path)


@pytest.mark.parametrize("number", [2, 100_000])  # in one line, short or over the limit
def test_a_list_is_named_and_not_one_line_that_is_left_out(tmp_path, number):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(RECORDS * (number // 2)))
    with pytest.raises(InputError, match="a JSON list: write one object a line"):
        read(path)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("written", "encoding"),
    [("utf-16", None), ("utf-8-sig", None), ("latin-1", "latin-1"), ("utf-16-le", "utf-16-le")],
)
def test_json_lines_are_read_in_their_encoding(tmp_path, written, encoding, suffix):
    path = tmp_path / f"x.jsonl{suffix}"
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS * 20)
    pack(path, text.encode(written))
    assert read(path, file_format=FileFormat(encoding)) == RECORDS * 20
    if encoding:
        with pytest.raises(InputError, match=f"seems to be {encoding}.*: read it with --encoding {encoding}"):
            read(path)


def test_lines_that_are_not_decodable_or_too_long_are_counted_and_the_others_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(LINES * 50 + b'{"text": "ni\xf1o"}\n' + b'{"text": "' + b"a" * 17 * LINE_LIMIT + b'"}\n' + LINES)
    report = ReadingReport()
    assert read(path, report) == RECORDS * 51
    assert (report.invalid, report.too_long) == (1, 1)


@pytest.mark.parametrize(("suffix", "module"), [("gz", lines), ("zst", records)])
def test_a_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, suffix, module):
    path = tmp_path / f"x.jsonl.{suffix}"
    pack(path, b"\n" * 2**22)
    assert read(path) == []
    monkeypatch.setattr(module, "BOMB_BYTES", 10_000)
    with pytest.raises(InputError, match="unpacks to over 500 times its size"):
        read(path)


def test_a_line_of_version_2_is_its_tweet_with_author_and_place(tmp_path):
    tweet = {"text": "hola", "author_id": "7", "geo": {"place_id": "p"}}
    users = [{"id": "1", "location": "Lima"}, {"id": "7", "location": "Rosario"}]
    line = {"data": tweet, "includes": {"users": users, "places": [{"id": "p", "country_code": "AR"}]}}
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(line))
    assert read(path) == [tweet | {"user": users[1], "place": {"id": "p", "country_code": "AR"}}]


def test_a_table_is_read_as_its_format_says_and_lines_left_out_are_counted(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("text;author\n¡Qué frío!;a\nVamos, che;b\n".encode("latin-1"))
    with pytest.raises(InputError, match="seems to be ';'"):
        read(path)
    assert read(path, file_format=FileFormat("latin-1", ";")) == RECORDS
    report = ReadingReport()
    path.write_bytes(b"text\n" + b"hola\n" * 99 + b"ni\xf1o\n")
    assert len(read(path, report)) == 99
    assert report.invalid == 1


@pytest.mark.parametrize("name", ["x.ndjson", "x.NDJSON.ZST", "x.Json.gz", "X.CSV"])
def test_names_in_capitals_and_of_other_tools_are_known(tmp_path, name):
    pack(tmp_path / name.lower(), b"text,author\nhola,a\n" if name == "X.CSV" else LINES)
    (tmp_path / name.lower()).rename(tmp_path / name)
    assert len(read(*find_dumps([str(tmp_path)]))) == (1 if name == "X.CSV" else 2)


def test_a_table_in_zst_is_refused(tmp_path):
    pack(tmp_path / "x.csv.zst", b"text\nhola\n")
    with pytest.raises(InputError, match="JSON lines only"):
        find_dumps([str(tmp_path / "x.csv.zst")])


def test_values_inside_values_and_names_with_points():
    assert value_at({"user": {"location": "Lima"}}, "user.location") == "Lima"
    assert value_at({"user.location": "Lima"}, "user.location") == "Lima"
    assert value_at({"user": None}, "user.location") is None


@pytest.mark.parametrize(
    "record",
    [
        {"retweeted_status": {"id": 1}},
        {"referenced_tweets": [{"type": "replied_to"}, {"type": "retweeted"}]},
        {"text": "RT @ana: hola"},
    ],
)
def test_retweets(record):
    assert is_retweet(record, record.get("text", "hola"))


@pytest.mark.parametrize("record", [{"retweeted_status": None}, {"referenced_tweets": [{"type": "quoted"}, 7]}, {}])
def test_quotations_and_plain_tweets_are_no_retweets(record):
    assert not is_retweet(record, "RT si te gusta")
