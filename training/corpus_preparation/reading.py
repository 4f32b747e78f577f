"""Reading: the records of a dump as documents, and the shards between two stages."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import ParquetReader
from datatrove.utils.typeshelper import StatHints

from training.common.errors import InputError
from training.corpus_preparation.records import TWEET_TEXTS, Record, first_value, is_notice, read_records
from training.texts.corpus import is_blank
from training.texts.decoding import DecodingCheck, unicode_error
from training.texts.lines import LINE_LIMIT, UTF8, FileFormat
from training.texts.report import IN_WORDS, Reason

UNREADABLE = "not a JSON object"


class ReadDumps(PipelineStep):
    """Reads one dump for each shard; a document carries its record for the steps that look at other fields.

    Args:
        files: the dumps; shard n is the n-th one.
        text_column: column or field of the texts; `text` finds the whole text of a tweet of either API.
        file_format: how tables are written.
    """

    type = "reader"
    name = "read"

    def __init__(self, files: Sequence[Path], text_column: str, file_format: FileFormat = UTF8):
        super().__init__()
        self.files = list(files)
        self.text_column, self.file_format = text_column, file_format
        self.text_paths = TWEET_TEXTS if text_column == "text" else (text_column,)

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the usable texts of a dump, stripped; count the other records by their reason.

        Raises:
            InputError: if the dump cannot be read, has no such column, or is not decodable in more than a small share.
        """
        documents = self._documents(self.files[rank])
        while True:
            with self.track_time():
                document = next(documents, None)
            if document is None:
                return
            yield document

    def _documents(self, path: Path) -> Iterator[Document]:
        checked, decoding = False, DecodingCheck(str(path))
        records = read_records(path, self.text_column, self.file_format, self._leave_out_line)
        for number, record in enumerate(records, start=1):
            self.stat_update(StatHints.total)
            if record is None:
                self._leave_out(UNREADABLE)
            elif is_notice(record):
                self._leave_out(IN_WORDS[Reason.NOTICE])
            else:
                checked = checked or self._has_text(record, f"{path}, record {number}")
                text = first_value(record, self.text_paths)
                reason = _unusable(text, f"{path}, record {number}")
                decoding.count(text or "", unicode_error(text) if reason is Reason.INVALID else None)
                if reason:
                    self._leave_out(IN_WORDS[reason])
                else:
                    self.stat_update(StatHints.forwarded)
                    metadata = {"record": record, "path": str(path)}
                    yield Document(text.strip(), id=f"{path.name}:{number}", metadata=metadata)
        decoding.check()

    def _has_text(self, record: Record, where: str) -> bool:
        """Check the first record of a dump for the column of the texts."""
        if not any(path.split(".")[0] in record or path in record for path in self.text_paths):
            names = ", ".join(record)
            raise InputError(f"{where}: no column {self.text_paths[-1]!r}; there are: {names}; give --text_column")
        return True

    def _leave_out_line(self, reason: Reason, where: str) -> None:
        self.stat_update(StatHints.total)
        self._leave_out(IN_WORDS[reason])

    def _leave_out(self, reason: str) -> None:
        self.stat_update(StatHints.dropped, f"{StatHints.dropped}_{reason}")


def _unusable(text: object, where: str) -> Reason | None:
    """Return why a text cannot be used.

    Raises:
        InputError: if it is no string.
    """
    if not isinstance(text, str | None):
        raise InputError(f"{where}: the text is of type {type(text).__name__}, not a string")
    if text is None or is_blank(text.strip()):
        return Reason.EMPTY
    if unicode_error(text):
        return Reason.INVALID
    return Reason.TOO_LONG if len(text) > LINE_LIMIT else None


class ReadShard(ParquetReader):
    """Reads what an earlier stage wrote of a shard; a shard without texts has no file."""

    type = "reader"
    name = "read again"

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Yield the documents of a shard in the order in which they were written."""
        name = f"{rank:05d}.parquet"
        if self.data_folder.isfile(name):
            yield from self.read_file(name)
