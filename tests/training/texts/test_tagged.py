import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, List, Value

from training.common.errors import InputError
from training.texts.tagged import TaggedArguments, open_tagged

WORDS, TAGS = ["en", "Nueva", "York"], ["O", "B-LOC", "I-LOC"]


@pytest.fixture
def open_files(tmp_path):
    """`open_files(train=("x.conll", "..."), test=...)`: write files and open them; the tests change one at a time."""

    def open_files(suffix=".conll", **changes):
        contents = {part: conll([*WORDS, part]) for part in ("train", "validation", "test")} | changes
        files = {}
        for part, content in contents.items():
            files[part] = tmp_path / f"{part}{suffix}"
            files[part].write_text(content, encoding="utf-8")
        flags = {f"{part}_file": [str(file)] for part, file in files.items()}
        return open_tagged(TaggedArguments(task="tokens", **flags))

    return open_files


def conll(words, tags=(*TAGS, "O")):
    return "".join(f"{word}\tNOUN\t{tag}\n" for word, tag in zip(words, tags, strict=True)) + "\n"


def test_conll_texts_end_at_empty_lines_and_comments_are_no_words(open_files):
    splits = open_files(train="-DOCSTART- O\n\n# sent_id = 1\nEn O\nLa B-LOC\nPaz I-LOC\n\n\n#tema\tO\nsí\tO")
    assert splits.train.words == [["En", "La", "Paz"], ["#tema", "sí"]]
    assert splits.train.tags == [["O", "B-LOC", "I-LOC"], ["O", "O"]]
    assert splits.label_names == ["O", "B-LOC", "I-LOC"]
    assert splits.describe()["test"]["labels"] == {"LOC": 1}


def test_json_and_parquet_hold_the_same_texts_as_conll(open_files, tmp_path):
    parts = ("train", "validation", "test")
    records = [{"tokens": [*WORDS, part], "tags": [*TAGS, "O"], "split": part} for part in parts]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "all.parquet")
    expected = open_files().describe() | {"names": []}
    for name in ("all.jsonl", "all.parquet"):
        splits = open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / name)]))
        assert splits.describe() | {"names": []} == expected


def test_parts_without_a_file_are_cut_from_the_training_texts(tmp_path):
    file = tmp_path / "train.conll"
    words = ["".join(letters) for letters in itertools.product("abcdefghij", repeat=3)][:300]
    file.write_text("".join(conll([*WORDS, word]) for word in words))
    splits = open_tagged(TaggedArguments(task="tokens", train_file=[str(file)], test_fraction=0.2))
    sizes = {name: len(part) for name, part in splits.parts().items()}
    assert sum(sizes.values()) == 300
    assert 40 < sizes["test"] < 80 and 15 < sizes["validation"] < 50


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_records_without_words_are_counted(tmp_path, suffix):
    file = tmp_path / f"train{suffix}"
    parts = ("train", "validation", "test")
    records = [{"tokens": [*WORDS, part], "tags": [*TAGS, "O"], "split": part} for part in parts]
    records += [{"tokens": [], "tags": [], "split": "train"}] * 2
    if suffix == ".jsonl":
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        pq.write_table(pa.Table.from_pylist(records), file)
    splits = open_tagged(TaggedArguments(task="tokens", train_file=[str(file)]))
    assert len(splits.train) == 1
    assert splits.report.summary() == "left out: 2 empty"


def test_a_text_in_two_parts_stays_in_the_later_one(open_files):
    splits = open_files(train=conll([*WORDS, "test"]) + conll([*WORDS, "hoy"]))
    assert (splits.duplicates, splits.train.words) == (1, [[*WORDS, "hoy"]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("en\tO\nParís\tI-LOC\n", r"line 2: I-LOC follows O"),
        ("Ana\tB-PER\nParís\tI-LOC\n", r"line 2: I-LOC follows B-PER"),
        ("Ana\tB-PER\n\nParís\tI-PER\n", r"line 3: I-PER follows O"),
        ("en\tX-LOC\n", r"line 1: 'X-LOC' is no BIO tag"),
        ("en\tB-\n", r"'B-' is no BIO tag"),
        ("en\tO\nsola\n", r"line 2: 'sola' has no tag"),
        ("en\tO\n", r"every tag is O"),
        ("en\tB-PER\n", r"entities of type LOC, which no training text holds"),
        ("\n", r"no text is left for train"),
    ],
)
def test_what_is_no_tagged_text_is_named(open_files, content, message):
    with pytest.raises(InputError, match=message):
        open_files(train=content)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tokens": ["en"]}, "line 1: no column 'tags'"),
        ({"tokens": "en", "tags": ["O"]}, "'tokens' is of type str"),
        ({"tokens": ["en"], "tags": ["O", "O"]}, "1 words and 2 tags"),
        ({"tokens": ["en"], "tags": ["I-LOC"]}, "line 1: I-LOC follows O"),
        ({"tokens": ["en"], "tags": ["O"], "split": "gold"}, "holds 'gold'"),
    ],
)
def test_what_is_no_tagged_record_is_named(open_files, record, message):
    with pytest.raises(InputError, match=message):
        open_files(".jsonl", train=json.dumps(record))


def test_files_that_cannot_be_read(tmp_path):
    for name, content, message in (
        ("a.txt", b"x", "unknown kind"),
        ("a.conll", b"ni\xf1o O", "UTF-8"),
        ("a.jsonl", b"{", "line 1: not valid JSON"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
        ("a.conll.gz", b"\x1f\x8b\x08", "damaged gzip file"),
        ("long.conll", b"x" * 2**20 + b" O\n", "line 1: over 1 MB"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / name)]))
    with pytest.raises(InputError, match="no such file"):
        open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / "none.conll")]))


def test_a_file_for_two_parts_is_refused(tmp_path):
    file = tmp_path / "dev.conll"
    file.write_text(conll([*WORDS, "fin"]))
    (tmp_path / "train.conll").write_text(conll([*WORDS, "inicio"]))
    parts = {"validation_file": [str(file)], "test_file": [str(file)]}
    with pytest.raises(InputError, match="dev.conll is given as --validation_file and --test_file"):
        open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / "train.conll")], **parts))


def test_a_folder_gives_all_its_files(tmp_path):
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        (tmp_path / "texts" / f"{name}.conll").write_text(conll([*WORDS, name]))
        (tmp_path / f"{name}.conll").write_text(conll([*WORDS, name * 2]))
    parts = {"validation_file": [str(tmp_path / "a.conll")], "test_file": [str(tmp_path / "b.conll")]}
    splits = open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / "texts")], **parts))
    assert [words[-1] for words in splits.train.words] == ["a", "b"]


@pytest.mark.parametrize("number", [None, -1, 3])
def test_numbers_that_name_no_tag_are_refused(tmp_path, number):
    names = ClassLabel(names=["O", "B-LOC", "I-LOC"])
    features = Features({"tokens": List(Value("string")), "tags": List(names)})
    table = pa.table({"tokens": [WORDS], "tags": [[0, 1, number]]}, schema=features.arrow_schema)
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(InputError, match=f"row 1: the tag {number} is none of the numbers 0 to 2"):
        open_tagged(TaggedArguments(task="tokens", train_file=[str(tmp_path / "train.parquet")]))
