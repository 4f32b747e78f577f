"""The stages of a preparation: each is a pipeline of steps over shards, and needs the whole of the one before it.

Shards are the dumps, so their number, and with it the output, does not depend on the number of workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.writers import ParquetWriter

from training.corpus_preparation.duplicates import MINHASH, NearSignatures, exact_config
from training.corpus_preparation.folder import WorkFolder
from training.corpus_preparation.reading import ReadShard

EXACT_TASKS = 8  # parts of the hashes among which exact duplicates are looked for
WRITTEN = "written"  # name of the step that counts what goes out
ROW_GROUP = 10_000  # texts; what --streaming reads at once
_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("region", pa.string()),
        ("author_hash", pa.int64()),
        ("split", pa.string()),
    ]
)


@dataclass(frozen=True)
class Stage:
    """A pipeline, and the number of tasks that it is run as."""

    name: str
    steps: Sequence[PipelineStep]
    tasks: int


def preparation_stages(
    clean: Sequence[PipelineStep],
    shards: int,
    folder: WorkFolder,
    duplicates: str,
    within_regions: bool,
    finish: PipelineStep,
) -> list[Stage]:
    """Return the stages that lead from dumps to a corpus.

    Args:
        clean: steps that each text goes through by itself, the first of which reads.
        duplicates: "near", "exact" or "keep": which duplicates are left out.
        finish: what is done at the end, once.
    """
    config = exact_config(within_regions)
    # A step counts what it sees, so each pipeline has its own.
    first = [*clean, WriteShard(folder.clean, "${rank}.parquet")]
    last: list[PipelineStep] = [ReadShard(str(folder.clean))]
    stages = []
    if duplicates == "keep":
        stages += [Stage("clean", first, shards)]
    else:
        signatures = ExactDedupSignature(str(folder.exact_signatures), config, finder_workers=EXACT_TASKS)
        find = ExactFindDedups(str(folder.exact_signatures), str(folder.exact), config, lines_to_buffer=1000)
        stages += [Stage("clean", [*first, signatures], shards), Stage("exact", [find], EXACT_TASKS)]
        last.append(ExactDuplicates(str(folder.exact), config))
    if duplicates == "near":
        stages += _near_stages(folder, shards, [*last], within_regions)
        last = [ReadShard(str(folder.clean)), ExactDuplicates(str(folder.exact), config)]
        last.append(NearDuplicates(str(folder.near), lines_to_buffer=1000))
    last.append(WriteShard(folder.corpus, "${region}/${split}/${rank}.parquet"))
    return [*stages, Stage("write", last, shards), Stage("finish", [finish], 1)]


def _near_stages(folder: WorkFolder, shards: int, read: list[PipelineStep], within_regions: bool) -> list[Stage]:
    pairs = {"input_folder": str(folder.signatures), "output_folder": str(folder.pairs)}
    clusters = {"input_folder": str(folder.pairs), "output_folder": str(folder.near)}
    return [
        Stage("signatures", [*read, NearSignatures(str(folder.signatures), within_regions)], shards),
        Stage("pairs", [MinhashDedupBuckets(**pairs, config=MINHASH, lines_to_buffer=1000)], MINHASH.num_buckets),
        Stage("clusters", [MinhashDedupCluster(**clusters, config=MINHASH, lines_to_buffer=1000)], 1),
    ]


class ExactDuplicates(ExactDedupFilter):
    """datatrove's filter, under a name for the report."""

    type = "duplicates"
    name = "exact duplicates"


class NearDuplicates(MinhashDedupFilter):
    """datatrove's filter, under a name for the report."""

    type = "duplicates"
    name = "near-duplicates"


class WriteShard(ParquetWriter):
    """datatrove's writer, with the columns of a corpus, under a name for the report."""

    type = "writer"
    name = WRITTEN

    def __init__(self, folder: Path, names: str):
        super().__init__(
            str(folder), names, "zstd", adapter=_row, batch_size=ROW_GROUP, max_file_size=-1, schema=_SCHEMA
        )


def _row(writer: ParquetWriter, doc: Document) -> dict[str, Any]:
    return {"text": doc.text} | {name: doc.metadata[name] for name in _SCHEMA.names[1:]}
