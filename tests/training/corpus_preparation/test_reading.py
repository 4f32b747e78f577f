"""Texts of dumps: which are read, and which are left out, with their reason."""

import json

import pytest

from training.common.errors import InputError
from training.corpus_preparation.reading import ReadDumps

HALF = "\ud83d"  # of an emoji


def reader(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return ReadDumps([path], "text")


def test_a_text_that_is_not_unicode_is_counted_and_a_dump_of_many_is_refused(tmp_path):
    step = reader(tmp_path / "x.jsonl", [*["hola"] * 99, HALF])
    assert len(list(step.run())) == 99
    assert step.stats["dropped_not decodable"].total == 1
    with pytest.raises(InputError, match="1 of 10 texts are not Unicode"):
        list(reader(tmp_path / "x.jsonl", [*["hola"] * 9, HALF]).run())
