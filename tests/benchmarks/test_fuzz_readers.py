"""The short form of the fuzz run: a few hundred damaged files."""

from benchmarks.fuzz_readers import READERS, fuzz


def test_damaged_files_give_their_texts_or_one_line(tmp_path):
    outcome = fuzz(range(300), seed=0, keep=tmp_path)
    assert not outcome.faults
    assert {kind.split()[0] for kind in outcome.became} == set(READERS)
    assert sum(counts["read_files"] for counts in outcome.became.values()) > 50
