import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from training.texts.token_cache import TokenRows

ROWS = [[2, *range(5, 5 + number % 7), 3] for number in range(50)]


@pytest.fixture(params=["in memory", "in a file", "in a file, in parts"])
def tokens(request, tmp_path):
    if request.param == "in memory":
        return Dataset.from_dict({"input_ids": ROWS})
    table = pa.table({"input_ids": pa.array(ROWS, pa.list_(pa.int32())), "text_hash": range(len(ROWS))})
    with pa.OSFile(str(tmp_path / "tokens.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=7 if "parts" in request.param else None)
    return Dataset.from_file(str(tmp_path / "tokens.arrow"))


@pytest.mark.parametrize("numbers", [[0], [49, 0, 7, 6, 7], range(50), []])
def test_rows_are_those_of_the_dataset_in_the_order_asked_for(tokens, numbers):
    rows = TokenRows(tokens)[np.array(numbers, np.uint32)]
    assert [row.tolist() for row in rows] == [ROWS[number] for number in numbers]


def test_rows_can_be_read_when_the_name_of_the_file_is_gone(tokens):
    rows = TokenRows(tokens)
    for cache in tokens.cache_files:
        Path(cache["filename"]).unlink()
    assert rows[np.array([9])][0].tolist() == ROWS[9]


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="needs Linux, which says what a map holds")
def test_rows_of_a_file_are_not_read_through_the_map(tmp_path):
    path = tmp_path / "tokens.arrow"
    ids = pa.ListArray.from_arrays(np.arange(0, 2**22 + 1, 64, np.int32), np.arange(2**22, dtype=np.int32))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, pa.schema({"input_ids": ids.type})) as writer:
        writer.write_batch(pa.record_batch([ids], ["input_ids"]))
    tokens = Dataset.from_file(str(path))

    before = resident_kilobytes(path)
    last = TokenRows(tokens)[np.arange(0, len(tokens), 5)][-1]
    assert last[0] == 64 * (len(tokens) - 1)
    assert resident_kilobytes(path) - before < 1024, "less than a sixteenth of the file"


def resident_kilobytes(path: Path) -> int:
    """How much of a mapped file counts as memory of this process."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    maps = (line for line in lines if line.endswith(str(path)))
    return sum(int(next(line for line in lines if line.startswith("Rss:")).split()[1]) for _ in maps)


def test_a_selection_is_refused(tokens):
    with pytest.raises(ValueError, match="3 of 50 rows are selected"):
        TokenRows(tokens.select([1, 2, 5]))
