"""The short form of the fuzz run: a few hundred damaged files."""

from benchmarks.fuzz_readers import fuzz


def test_damaged_files_give_their_texts_or_one_line(tmp_path):
    became, faults = fuzz(300, seed=0, keep=tmp_path)
    assert not faults
    assert {".txt", ".jsonl", ".csv", ".tsv", ".parquet"} <= set(became)
    assert sum(counts["read_files"] for counts in became.values()) > 50
