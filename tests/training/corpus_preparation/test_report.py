"""Counts that have to add up."""

import pytest

from training.corpus_preparation.report import count_texts, describe


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
