"""Counts that have to add up."""

import pytest

from training.corpus_preparation.report import count_texts, describe, seconds_by_step


def steps(read=10, spoken=4):
    return [
        {"name": "reader: read", "stats": {"total": read, "forwarded": 8, "dropped": 2, "dropped_empty": 2}},
        {"name": "filter: language", "stats": {"total": 8, "forwarded": spoken, "dropped": 4, "dropped_other": 4}},
        {"name": "writer: written", "stats": {"total": 4, "mx/train/XXXXX.parquet": {"total": 3}, "mx/test/X": 1}},
    ]


def test_counts_by_step_region_and_split():
    counts = count_texts(steps())
    assert (counts["read"], counts["written"]) == (10, 4)
    assert counts["corpus"] == {"mx": {"test": 1, "train": 3}}
    assert counts["steps"][1] == {"step": "language", "in": 8, "left_out": {"other": 4}, "out": 4}
    assert "| mx | 3 | 0 | 1 |" in describe(counts)


@pytest.mark.parametrize("wrong", [{"read": 11}, {"spoken": 5}])
def test_a_text_that_is_lost_is_an_error(wrong):
    with pytest.raises(RuntimeError, match="expected"):
        count_texts(steps(**wrong))


def test_a_step_that_took_no_time_has_a_plain_zero():
    steps = [
        {"name": "filter: near duplicates", "time_stats": 0},
        {"name": "writer: written", "time_stats": {"total": 1.25}},
    ]
    assert seconds_by_step({"write": steps}) == {"write": {"near duplicates": 0, "written": 1.25}}


def test_texts_without_an_author_are_told():
    split = {"name": "filter: split", "stats": {"total": 4, "forwarded": 4, "without_author": 3}}
    all_steps = [*steps()[:2], split, steps()[2]]
    counts = count_texts(all_steps)
    assert counts["without_author"] == 3 and "3 texts named no author" in describe(counts)
