import gzip
import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import TokenizersBackend

from training import corpus as corpus_module
from training import corpus_files
from training.corpus import Corpus, encode, find_files, load_tokens, text_hash, text_hashes
from training.errors import InputError
from training.synthetic_corpus import generate_texts

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
    path.write_bytes(b"uno\nd\xf3s\ntres\n")
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["uno", "tres"]
    assert corpus.report.invalid == 1
    with pytest.raises(InputError, match=r"a.txt, line 2: not UTF-8 \(byte 0xf3 at 1\).*--strict"):
        read(path, strict=True)


@pytest.mark.parametrize("end", ["csv", "tsv"])
def test_a_bad_byte_costs_one_record_of_a_table(tmp_path, end):
    path = tmp_path / f"a.{end}"
    separator = b"," if end == "csv" else b"\t"
    path.write_bytes(separator.join([b"text", b"x\nuno", b"1\nd\xf3s", b"2\ntres", b"3\n"]))
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["uno", "tres"]
    assert corpus.report.invalid == 1
    with pytest.raises(InputError, match="a text is not Unicode .*--strict"):
        read(path, strict=True)


def test_a_bad_byte_inside_quotes_costs_one_record(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,x\n"uno\n\xf3 fin",1\ndos,2\n')
    assert read(path) == ["dos"]


def test_parquet_texts_that_are_not_utf8_or_missing(tmp_path):
    bad = pa.array([b"uno", b"d\xf3s", None, b"tres"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    corpus = Corpus(files=(tmp_path / "a.parquet",))
    assert list(corpus) == ["uno", "tres"]
    assert (corpus.report.invalid, corpus.report.empty) == (1, 1)
    pq.write_table(pa.table({"text": pa.array(["uno", "uno"]).dictionary_encode()}), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet") == ["uno", "uno"]


def test_half_a_surrogate_pair_is_invalid_text(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "uno \\ud83d"}\n{"text": "dos \\ud83d\\ude0d"}\n')
    corpus = Corpus(files=(path,))
    assert list(corpus) == ["dos 😍"]
    assert corpus.report.invalid == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "uno"}\n{"text": dos}\n', "a.jsonl, line 2: not valid JSON.*column 10"),
        ("a.jsonl", b'["uno"]\n', "line 1: not a JSON object"),
        ("a.jsonl", b'{"text": 5}\n', "line 1: 'text' holds a int, not a string"),
        ("a.jsonl", b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "line 1: not valid JSON"),
        ("a.csv", b"text,x\nuno,1\ndos\n", "a.csv, line 3: 1 fields where the header has 2"),
        ("a.csv", b'text\n"hola\nuno\ndos\n', "not a valid table .unexpected end of data."),
        ("a.csv", "año\nuno\n".encode("latin-1"), "a.csv, line 1: no column 'text'; there are: a.o"),
        ("a.parquet", b"text", "not a readable Parquet file"),
        ("a.txt.gz", b"plain", "damaged gzip file"),
        ("a.txt.gz", gzip.compress(b"hola\n" * 9999)[:40], "damaged gzip file"),
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
    with pytest.raises(InputError, match="row 1: .text. holds a int, not a string"):
        read(tmp_path / "a.parquet")


@pytest.fixture
def hub(monkeypatch):
    """A dataset on the Hub, as far as this code sees one; returns its rows, to be filled."""
    rows: list[dict] = []

    def load_dataset(name, config, split, streaming):
        assert (name, config, split, streaming) == ("org/tweets", None, "train", True)
        return iter(rows)

    monkeypatch.setattr(corpus_files, "load_dataset", load_dataset)
    monkeypatch.setattr(
        corpus_module, "HfApi", lambda: SimpleNamespace(dataset_info=lambda _: SimpleNamespace(sha="c0"))
    )
    return rows


def test_a_dataset_of_the_hub(hub, tokenizer, tmp_path):
    hub += [{"text": "vamos a comer"}, {"text": None}, {"text": "otro texto"}]
    tokens, report = load_tokens(Corpus(dataset_name="org/tweets"), tokenizer, 20, tmp_path)
    assert (len(tokens), report.empty) == (2, 1)
    assert Corpus(dataset_name="org/tweets").names() == ["org/tweets"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tweet": "a"}, "dataset org/tweets: no column 'text'; there are: tweet"),
        ({"text": 5}, "holds a int, not a string"),
    ],
)
def test_a_dataset_of_the_hub_without_texts(hub, row, message):
    hub.append(row)
    with pytest.raises(InputError, match=message):
        list(Corpus(dataset_name="org/tweets"))


def test_the_hash_sees_the_text_and_not_its_dress():
    assert text_hash("Vamos a  COMER") == text_hash("vamos a comer ")
    assert text_hash("¿Qué tal? https://t.co/a jajaja") == text_hash("¿que tal? https://t.co/b jajajaja")
    assert text_hash("vamos a comer") != text_hash("vamos a cenar")
    assert text_hash("vamos a comer") == 6_967_800_493_318_837_245, (
        "a change moves texts between training and validation"
    )
    share = np.mean([text_hash("a" * (number % 97) + "b" * (number // 97)) < 0.05 * 2**63 for number in range(20_000)])
    assert 0.045 < share < 0.055


# What could tell a text that stands among others from the same text alone.
AWKWARD = [
    *("", "  ", "[START]", "vamos[END]comer", "[MASK] a [PAD]", "[END", "START]", "[", "]", "\uffff", "a \uffff b"),
    *("\x1e", "vamos\x1ea\x1e", "\u0301acento", "a\u0323", "\n-", "1", "ja", "jaja\n", "@ana", "#viernes", "https://"),
    *("x" * 5000, "vamos " * 3000),
]


def test_hashes_of_many_texts_are_those_of_each():
    texts = [*AWKWARD, *generate_texts("mx", 300)] * 2
    assert text_hashes(texts).tolist() == [text_hash(text) for text in texts]
    assert text_hashes(iter(texts[:3])).dtype == text_hashes([]).dtype == np.int64


def test_encode_gives_what_the_tokenizer_gives_for_each_text(tokenizer):
    texts = [*AWKWARD, *generate_texts("mx", 300)] * 2
    alone = [tokenizer(text)["input_ids"] for text in texts]
    tokenizer(texts, truncation=True, padding=True, max_length=5)
    assert encode(texts, tokenizer, max_length=10_000) == alone
    assert encode([], tokenizer, max_length=10_000) == []


def test_encode_knows_other_tokenizers():
    pipeline = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "vamos": 2, "a": 3}, unk_token="a"))
    pipeline.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    other = TokenizersBackend(tokenizer_object=pipeline, cls_token="<s>", sep_token="</s>")
    assert encode(["vamos a", "a"], other, max_length=9) == [[2, 3], [3]], "it adds no special tokens"


def test_encode_cuts_long_texts_and_keeps_the_end(tokenizer):
    short, long = encode(["vamos", "vamos " * 50], tokenizer, max_length=8)
    assert short == tokenizer("vamos")["input_ids"]
    assert len(long) == 8
    assert (long[0], long[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_tokens_are_made_once_and_again_when_anything_changed(tmp_path, tokenizer):
    path, cache = write(tmp_path / "a.txt", ["vamos a comer", "\u0301", "me gusta el café"]), tmp_path / "cache"

    def load(max_length=20, **options):
        return load_tokens(Corpus(files=(path,), **options), tokenizer, max_length, cache)

    tokens, report = load()
    assert tokens["input_ids"][:] == tokenizer(["vamos a comer", "me gusta el café"])["input_ids"]
    assert tokens["text_hash"][:] == [text_hash("vamos a comer"), text_hash("me gusta el café")]
    assert (report.texts, report.empty) == (2, 1), "a text of accents alone has no token"
    assert report.tokens == sum(map(len, tokens["input_ids"]))
    stamp = {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")}
    assert load()[1] == report
    assert {file: file.stat().st_mtime_ns for file in cache.rglob("*.arrow")} == stamp
    load(max_length=4)
    write(path, ["otro texto"])
    assert load()[1].texts == 1
    assert len(list(cache.iterdir())) == 3, "three caches, and nothing half-written"


def test_a_corpus_without_usable_text_is_refused(tmp_path, tokenizer):
    path = write(tmp_path / "a.txt", ["", "   "])
    with pytest.raises(InputError, match="a.txt: no usable text \\(2 empty, 0 not UTF-8\\)"):
        load_tokens(Corpus(files=(path,)), tokenizer, 20, tmp_path / "cache")


def test_a_failed_reading_leaves_nothing_in_the_cache(tmp_path, tokenizer):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "uno"}\n{')
    with pytest.raises(InputError):
        load_tokens(Corpus(files=(path,)), tokenizer, 20, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
