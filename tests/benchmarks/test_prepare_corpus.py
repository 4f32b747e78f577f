"""The benchmark's dumps and what it makes of a corpus."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.prepare_corpus import CHANGES, changed, judge, write_dumps

TEXTS = [f"un texto número {'abcdefgh'[number]} que habla de otra cosa" for number in range(8)]


def test_dumps_hold_the_texts_and_their_copies(tmp_path):
    pairs = write_dumps(tmp_path / "dumps", TEXTS, size=400, dump_texts=150)
    dumps = sorted((tmp_path / "dumps").iterdir())
    lines = [gzip.decompress(file.read_bytes()).splitlines() for file in dumps]
    assert [len(one) for one in lines] == [150, 150, 100]
    written = [json.loads(line)["full_text"] for one in lines for line in one]
    assert set(pairs) == {"exact", *CHANGES}
    assert len(pairs["exact"]) == sum(len(pairs[change]) for change in CHANGES) == 20
    assert all({text, copy} <= set(written) for of_kind in pairs.values() for text, copy in of_kind)


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_changes_a_text(change):
    assert changed(random.Random(1), TEXTS[0], change) != TEXTS[0]


def test_a_pair_is_found_if_one_of_it_is_left(tmp_path):
    pairs = {"exact": [("a", "a"), ("b", "b")], "shouted": [("c", "C"), ("d", "D"), ("e", "E")]}
    pq.write_table(pa.table({"text": ["a", "b", "b", "c", "D", "e", "E"]}), tmp_path / "x.parquet")
    steps = [{"step": "near-duplicates", "left_out": {"near-duplicates": 4}}]
    result = judge(pairs, tmp_path, {"steps": steps})
    assert result["recall"]["exact"] == {"pairs": 2, "recall": 0.5}
    assert result["recall"]["shouted"]["recall"] == pytest.approx(2 / 3, abs=1e-4)
    assert (result["planted near-duplicates"], result["near-duplicates left out"]) == (2, 4)
