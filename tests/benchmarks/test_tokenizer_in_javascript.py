"""The comparison of token ids in JavaScript with those in Python finds a difference, and its shortest part."""

import json
import shutil

import pytest

from benchmarks.tokenizer_in_javascript import LIBRARY, compare, in_javascript, in_python
from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS, build_tokenizer

TEXTS = ["¿Qué frío, @ana? jajajaja 12.5", "la ΟΔΟΣ de 😂"]

pytestmark = pytest.mark.skipif(
    not LIBRARY.is_file() or shutil.which("node") is None, reason="needs node and the packages of the page (make page)"
)


@pytest.fixture
def folder(tmp_path):
    build_tokenizer([*SPECIAL_TOKENS, *"adlnqfrio0,.¿?😂οδσς", "que", "jaja", "_usr", "##rio"]).save_pretrained(
        tmp_path
    )
    return tmp_path


def test_ids_are_the_same(folder):
    found = compare(TEXTS, (in_python(folder), in_javascript(folder)))
    assert found == {"texts": 2, "different": 0, "examples": []}


def test_a_rule_that_is_missing_is_found(folder):
    path = folder / "tokenizer.json"
    rules = json.loads(path.read_text())
    normalizers = rules["normalizer"]["normalizers"]
    normalizers[:] = [one for one in normalizers if one.get("content") != "σ"]
    path.write_text(json.dumps(rules))
    found = compare(TEXTS, (in_python(folder), in_javascript(folder)))
    assert (found["texts"], found["different"]) == (2, 1)
    (example,) = found["examples"]
    assert example["text"] == "ΟΣ"
    assert example["python"] != example["javascript"]
