"""The tokens of chosen rows of a dataset, read so that a large corpus takes no more memory than a small one."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset


@dataclass(frozen=True)
class _Chunk:
    """Rows that stand together: row i is `ids[bounds[i]:bounds[i + 1]]`; `place` is where `ids` begins in its file."""

    bounds: np.ndarray
    ids: np.ndarray
    place: int

    @classmethod
    def of(cls, rows: pa.ListArray) -> "_Chunk":
        ids = rows.values
        whole = ids.buffers()[1]
        while whole.parent is not None:  # of a memory-mapped file, to the map of all of it
            whole = whole.parent
        values = ids.to_numpy()  # a view
        return cls(rows.offsets.to_numpy(), values, values.ctypes.data - whole.address)


ROWS_AT_ONCE = 4096


class TokenRows:
    """`rows[numbers]` are the `input_ids` of these rows of a dataset, an array each.

    A row of a memory-mapped dataset is read from its file. Read through the map, it would leave 64 KB around it in
    the memory that the system counts as this process's, until nearly the whole corpus is there.

    Raises:
        ValueError: if rows of the dataset were selected.
    """

    def __init__(self, tokens: Dataset):
        column = tokens.data.column("input_ids")
        if len(tokens) != len(column):
            raise ValueError(f"{len(tokens)} of {len(column)} rows are selected: give all of them, and which to use")
        self.chunks = list(map(_Chunk.of, column.chunks))
        self.firsts = np.cumsum([0, *map(len, column.chunks)])
        self.file = pa.OSFile(tokens.cache_files[0]["filename"]) if tokens.cache_files else None

    def __getitem__(self, numbers: np.ndarray) -> list[np.ndarray]:
        chunks = np.searchsorted(self.firsts, numbers, side="right") - 1
        places = zip(chunks.tolist(), (numbers - self.firsts[chunks]).tolist(), strict=True)
        return [self._row(self.chunks[chunk], number) for chunk, number in places]

    def _row(self, chunk: _Chunk, number: int) -> np.ndarray:
        begin, end = chunk.bounds[number : number + 2].tolist()
        ids = chunk.ids[begin:end]
        if self.file is None:
            return ids
        return np.frombuffer(self.file.read_at(ids.nbytes, chunk.place + begin * ids.itemsize), ids.dtype)


def count_tokens(tokens: Dataset, texts: np.ndarray, vocab_size: int) -> np.ndarray:
    """How often each token occurs in the chosen rows of a dataset, (vocab_size,) int64."""
    rows, counts = TokenRows(tokens), np.zeros(vocab_size, np.int64)
    for first in range(0, len(texts), ROWS_AT_ONCE):
        ids = np.concatenate(rows[texts[first : first + ROWS_AT_ONCE]])
        counts += np.bincount(ids, minlength=vocab_size)
    return counts
