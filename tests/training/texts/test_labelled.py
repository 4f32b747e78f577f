import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_bilma.published import EMOJI_15
from training.common.errors import InputError
from training.texts.emoji15 import emoji15
from training.texts.labelled import LabelledTexts, label_ids, labelled_corpus, load_labelled
from training.texts.splits import is_test, is_validation, text_hash
from training.texts.synthetic import generate_texts


def write(path, records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def load(task, path, label_column=None, **settings):
    return load_labelled(task, labelled_corpus(task, [path], label_column), **settings)


@pytest.fixture(scope="module")
def tweets():
    return generate_texts("mx", 1500)


@pytest.fixture
def opinions(tmp_path, tweets):
    """A file of labelled texts: what `opinions(...)` is given replaces or joins the columns of every record."""

    def opinions(count=300, **columns):
        records = [{"text": text, "label": "PN"[number % 2]} for number, text in enumerate(tweets[:count])]
        for name, value_of in columns.items():
            for number, record in enumerate(records):
                record[name] = value_of(number)
        return write(tmp_path / "opinions.jsonl", records)

    return opinions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qué día 😍", ("qué día", "😍")),
        ("😭no puedo😭😭 más 😭", ("no puedo más", "😭")),
        ("te quiero ❤️ mucho ❤", ("te quiero mucho", "❤")),
        ("bravo 👏🏽👏🏿", ("bravo", "👏")),
        ("jaja 😂 qué risa 😊", ("jaja 😂 qué risa", "😊")),
        ("sin nada", None),
        ("risa 😂", None),
        ("uno 😍 y otro 😘", None),
        ("😍 😍", None),
        ("corazón en llamas ❤️\u200d🔥", None),
        ("pareja 👩\u200d❤️\u200d👨 y ❤", None),
    ],
)
def test_emoji15_takes_the_one_kind_out_wherever_it_stands(text, expected):
    assert emoji15(text) == expected


def test_no_label_is_left_in_the_texts_of_the_task(tweets):
    pairs = list(filter(None, map(emoji15, tweets)))
    assert 200 < len(pairs) < 600
    assert {emoji for _, emoji in pairs} == set(EMOJI_15)
    assert not any(emoji in text for text, _ in pairs for emoji in EMOJI_15)


def test_raw_texts_are_split_as_pretraining_splits_them(tmp_path, tweets):
    path = write(tmp_path / "mx.jsonl", ({"text": text} for text in tweets))
    splits = load("emoji15", path, test_fraction=0.2, validation_fraction=0.2)
    for part, belongs in (("test", lambda h: is_test(h, 0.2)), ("validation", lambda h: is_validation(h, 0.2))):
        expected = {pair for text in tweets if belongs(text_hash(text)) and (pair := emoji15(text))}
        texts = splits.parts()[part]
        assert set(zip(texts.texts, texts.labels, strict=True)) <= expected
        assert len(texts) > 0.9 * len(expected)
    assert sum(map(len, splits.parts().values())) + splits.duplicates == sum(
        emoji15(text) is not None for text in tweets
    )
    assert splits.label_names == list(EMOJI_15)


def test_texts_without_a_label_of_the_task_are_counted(tmp_path, tweets):
    """A text without an emoji is no damage, so that `strict` takes it too."""
    path = write(tmp_path / "mx.jsonl", ({"text": text} for text in [*tweets, "", " "]))
    splits = load_labelled("emoji15", labelled_corpus("emoji15", [path], strict=True))
    without = sum(emoji15(text) is None for text in tweets)
    summary = f"left out: 2 empty, {without:,} without exactly one kind of the fifteen emoji"
    assert splits.report.summary() == summary
    assert sum(map(len, splits.parts().values())) + splits.duplicates + without == len(tweets)
    load("emoji15", path)  # another reading counts anew
    assert splits.report.summary() == summary


def test_the_same_text_is_in_one_part_only(tmp_path, tweets):
    records = [{"text": text, "label": "a", "split": "train"} for text in tweets[:20]]
    records += [{"text": text, "label": "b", "split": "train"} for text in tweets[20:30]]
    records += [{"text": text.upper(), "label": "a", "split": "dev"} for text in tweets[:3]]
    records += [{"text": text, "label": "b", "split": "test"} for text in tweets[2:4]]
    splits = load("variety", write(tmp_path / "a.jsonl", records))
    assert splits.test.texts == tweets[2:4]
    assert splits.validation.texts == [text.upper() for text in tweets[:2]]
    assert splits.train.texts == tweets[4:30]
    assert splits.duplicates == 5


def test_named_parts_are_kept_and_a_missing_one_is_cut_out(opinions):
    splits = load("sentiment", opinions(split=lambda n: "dev" if n < 60 else "train"), test_fraction=0.2)
    assert len(splits.validation) == 60
    assert 20 < len(splits.test) < 80
    assert sum(map(len, splits.parts().values())) == 300
    assert all(is_test(text_hash(text), 0.2) for text in splits.test.texts)
    assert splits.label_names == ["N", "P"]


def test_only_one_region(opinions):
    path = opinions(region=lambda n: "mx" if n < 200 else "ar")
    assert sum(map(len, load("sentiment", path, region="mx").parts().values())) == 200
    with pytest.raises(InputError, match="no text of region 'uy'; the column region holds: ar, mx"):
        load("sentiment", path, region="uy")


def test_regions_are_compared_in_lower_case_and_texts_of_others_are_counted(opinions):
    path = opinions(region=lambda n: ("MX", "mx", "Ar")[n // 100])
    for region in ("mx", "MX"):
        splits = load("sentiment", path, region=region)
        assert sum(map(len, splits.parts().values())) == 200
        assert splits.report.summary() == "left out: 100 of other regions"
        assert {found for part in splits.parts().values() for found in part.regions} == {"mx"}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_tables_with_numbers_for_labels(tmp_path, tweets, kind):
    texts, labels = tweets[:200], [number % 3 for number in range(200)]
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"class": labels, "text": texts}), path)
    else:
        mark, quote = {"csv": (",", '"'), "tsv": ("\t", "")}[kind]
        rows = (f"{label}{mark}{quote}{text}{quote}\n" for label, text in zip(labels, texts, strict=True))
        path.write_text(f"class{mark}text\n" + "".join(rows))
    splits = load("stars", path, label_column="class")
    assert splits.label_names == ["0", "1", "2"]
    assert sum(map(len, splits.parts().values())) == 200


def test_the_fingerprint_is_that_of_texts_and_labels():
    first = LabelledTexts(["a", "b"], ["x", "y"])
    assert first.fingerprint == LabelledTexts(["b", "a"], ["y", "x"]).fingerprint
    assert first.fingerprint != LabelledTexts(["a", "b"], ["y", "x"]).fingerprint


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": lambda n: "P"}, "all training texts have the label 'P'"),
        ({"label": lambda n: " "}, "no usable text .*300 without a label"),
        ({"label": lambda n: 0.5}, "line 1: 'label' holds a float, not a string or whole number"),
        ({"split": lambda n: "trian"}, "the column split holds 'trian': write train, test, validation"),
        ({"split": lambda n: "test"}, "none of the 300 labelled texts is left for train"),
        ({"text": lambda n: ""}, "no usable text"),
        (
            {"label": lambda n: "XPN"[(n % 2) + 1 if n > 2 else 0], "split": lambda n: "test" if n < 50 else "train"},
            r"opinions.jsonl \(test\): label 'X' \(3 texts\) does not occur among the training texts' labels \(N, P\)",
        ),
    ],
)
def test_a_set_that_cannot_be_learnt_is_refused(opinions, columns, message):
    with pytest.raises(InputError, match=message):
        load("sentiment", opinions(**columns))


def test_files_without_labels_are_refused(tmp_path, opinions):
    with pytest.raises(InputError, match=r"line 1: no column 'gold'; there are: text, label; .*--label_column"):
        load("sentiment", opinions(), label_column="gold")
    (tmp_path / "a.txt").write_text("hola\n")
    with pytest.raises(InputError, match=r"a \.txt file has no labels"):
        load("sentiment", tmp_path / "a.txt")
    with pytest.raises(InputError, match="none of the 1 texts has exactly one kind of the fifteen emoji"):
        load("emoji15", tmp_path / "a.txt")


def test_labels_that_are_no_emoji_are_for_another_task(opinions):
    message = (
        r"the labels of 300 of 300 texts are not the fifteen emoji \(N, P\): mend them, or use another --task name"
    )
    with pytest.raises(InputError, match=message):
        load("emoji15", opinions(), label_column="label")


def test_of_many_labels_the_first_few_and_their_number_are_named(opinions, tweets):
    """As with a column of free text."""
    with pytest.raises(InputError, match=r"does not occur among .*, \.\.\. 2[0-9]{2} in all\): mend it") as refusal:
        load("sentiment", opinions(label=lambda n: f"{tweets[n]} {n}{'x' * 200}"))
    assert len(str(refusal.value)) < 500
    with pytest.raises(InputError, match=r"holds: r000, r001, r002, r003, r004, \.\.\. 300 in all"):
        load("sentiment", opinions(label=lambda n: "P", region=lambda n: f"r{n:03}"), region="mx")


def test_a_label_that_a_model_has_not_learnt_is_refused():
    with pytest.raises(InputError, match=r"new: label 'Z' \(1 texts\)"):
        label_ids(LabelledTexts(["a", "b"], ["P", "Z"]), ["N", "P"], "new")
