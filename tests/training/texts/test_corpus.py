from types import SimpleNamespace

import numpy as np
import pytest

from training.common.errors import InputError
from training.texts import corpus as corpus_module
from training.texts import files as corpus_files
from training.texts.corpus import Corpus
from training.texts.splits import text_hash, text_hashes
from training.texts.synthetic import generate_texts
from training.texts.token_cache import load_tokens


def write(folder, *texts):
    path = folder / "a.txt"
    path.write_text("\n".join(texts) + "\n")
    return path


@pytest.fixture
def hub(monkeypatch):
    """A dataset on the Hub, as far as this code sees one; returns its rows, to be filled."""
    rows: list[dict] = []

    def load_dataset(name, config, split, revision, streaming):
        assert (name, config, split, streaming) == ("org/tweets", None, "train", True)
        assert revision in ("commit-of-None", "commit-of-v1.0")
        return iter(rows)

    def dataset_info(name, revision):
        return SimpleNamespace(sha=f"commit-of-{revision}")

    monkeypatch.setattr(corpus_files, "load_dataset", load_dataset)
    monkeypatch.setattr(corpus_module, "HfApi", lambda: SimpleNamespace(dataset_info=dataset_info))
    return rows


def test_a_dataset_of_the_hub(hub, tokenizer, tmp_path):
    hub += [{"text": "vamos a comer"}, {"text": None}, {"text": "otro texto"}]
    tokens, report = load_tokens(Corpus(dataset_name="org/tweets"), tokenizer, 20, tmp_path)
    assert (len(tokens), report.empty) == (2, 1)
    assert Corpus(dataset_name="org/tweets").names() == ["org/tweets"]


def test_another_revision_of_a_dataset_is_another_corpus(hub):
    hub.append({"text": "vamos a comer"})
    main, pinned = (Corpus(dataset_name="org/tweets", dataset_revision=revision) for revision in (None, "v1.0"))
    assert list(main) == list(pinned)
    assert main.fingerprint != pinned.fingerprint


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tweet": "a"}, "dataset org/tweets: no column 'text'; there are: tweet"),
        ({"text": 5}, "is of type int, not a string"),
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


def test_hashes_of_many_texts_are_those_of_each(awkward_texts):
    texts = [*awkward_texts, *generate_texts("mx", 300)] * 2
    assert text_hashes(texts).tolist() == [text_hash(text) for text in texts]
    assert text_hashes(iter(texts[:3])).dtype == text_hashes([]).dtype == np.int64


def test_tokens_are_made_once_and_again_when_anything_changed(tmp_path, tokenizer):
    path, cache = write(tmp_path, "vamos a comer", "\u0301", "me gusta el café"), tmp_path / "cache"

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
    write(tmp_path, "otro texto")
    assert load()[1].texts == 1
    assert len(list(cache.iterdir())) == 3, "three caches, and nothing half-written"


def test_a_corpus_without_usable_text_is_refused(tmp_path, tokenizer):
    path = write(tmp_path, "", "   ")
    with pytest.raises(InputError, match=r"a.txt: no usable text .*2 empty"):
        load_tokens(Corpus(files=(path,)), tokenizer, 20, tmp_path / "cache")


def test_a_failed_reading_leaves_nothing_in_the_cache(tmp_path, tokenizer):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "uno"}\n{')
    with pytest.raises(InputError):
        load_tokens(Corpus(files=(path,)), tokenizer, 20, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
