"""What each step does to a text by itself."""

import pytest
from datatrove.data import Document

from modeling_bilma.tokenization_bilma import normalize
from training.corpus_preparation.steps import AssignSplit, KeepLanguage, LeaveOutAutomatic, MaskEntities
from training.texts.splits import group_hash, is_validation, text_hash


def document(text, **record):
    return Document(text, id="1", metadata={"record": record, "path": "x.jsonl", "region": "mx"})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("hola @ana_1 y @beto!", "hola @usuario y @usuario!"),
        ("mira https://t.co/a1@b y www.ejemplo.mx/x", "mira https://url y https://url"),
        ("escribe a ana.paz@correo.com.mx hoy", "escribe a correo@example.com hoy"),
        ("llama al +52 55 1234 5678 o (011) 4321-8765", "llama al 000000000 o 000000000"),
        ("desde 8.8.8.8", "desde 0.0.0.0"),
    ],
)
def test_entities_are_masked(text, masked):
    assert MaskEntities().format(text) == masked


@pytest.mark.parametrize(
    "text", ["vale 1.250.000 pesos", "el 2021-11-26 y el 26-11-2021", "son 45 mil", "gana $12345678", "#12345678 @ 3"]
)
def test_other_numbers_stay(text):
    assert MaskEntities().format(text) == text


def test_masked_users_and_links_are_the_same_to_the_tokenizer():
    text = "hola @ana mira https://t.co/abc"
    assert normalize(MaskEntities().format(text)) == normalize(text)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("I'm at Starbucks in Lima https://t.co/x", None),
        ("Me gustó un video de @YouTube https://t.co/x", None),
        ("Amanecer", '<a href="http://instagram.com">Instagram</a>'),
    ],
)
def test_automatic_posts_are_left_out(text, source):
    keep, reason = LeaveOutAutomatic().filter(document(text, source=source))
    assert not keep
    assert "program" in reason or "automatic" in reason


def test_posts_of_people_stay():
    source = '<a href="x">Twitter for Android</a>'
    assert LeaveOutAutomatic().filter(document("me gustó el video que subiste", source=source)) is True


@pytest.mark.parametrize(
    "text", ["Mañana tenemos que madrugar otra vez, qué pereza", "jajaja no mames", "@ana https://t.co/x", "😂😂😂"]
)
def test_spanish_and_texts_without_words_stay(text):
    assert KeepLanguage("es").filter(document(text)) is True


@pytest.mark.parametrize(
    "text", ["I really can't believe that it's already Monday again", "Je suis trop fatigué, je vais me coucher"]
)
def test_other_languages_are_left_out(text):
    assert KeepLanguage("es").filter(document(text)) == (False, "another language")


def test_the_split_is_that_of_the_author_as_everywhere():
    step = AssignSplit("user", validation_fraction=0.5, test_fraction=0.0)
    for author in map(str, range(20)):
        documents = [document(text, user=author) for text in ("hola", "otra cosa")]
        assert all(map(step.filter, documents))
        expected = "validation" if is_validation(group_hash(author), 0.5) else "train"
        assert [doc.metadata["split"] for doc in documents] == [expected] * 2
        assert documents[0].metadata["author_hash"] == group_hash(author)


def test_an_author_that_is_not_unicode_is_counted():
    step = AssignSplit(None, validation_fraction=0.5, test_fraction=0.0)
    assert step.filter(document("hola", user={"id": "ana\ud83d"})) == (False, "not decodable")


def test_without_an_author_the_text_decides():
    doc = document("hola")
    AssignSplit(None, validation_fraction=0.5, test_fraction=0.0).filter(doc)
    assert doc.metadata["author_hash"] is None
    assert doc.metadata["split"] == ("validation" if is_validation(text_hash("hola"), 0.5) else "train")
