"""Files of texts of every kind, good ones and damaged ones, for benchmarks/fuzz_readers.py."""

import csv
import gzip
import io
import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS
from training.texts.synthetic import generate_texts

WORDS = generate_texts("mx", 300)
ENCODINGS = ("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-16-le")
ODD_RECORDS: list[dict[str, Any]] = [
    {"delete": {}},
    {"text": math.nan},
    {"text": "la mitad de un emoji \ud83d"},
    {"text": "yo no sé", "user": {"id": "\ud83d"}, "data": 1},
    {"text": "yo no sé", "user": [], "source": 3, "referenced_tweets": [1]},
    {"data": {"text": "yo no sé", "geo": 1}, "includes": {"users": {}, "places": [1]}},
    {"text": "RT @a: yo no sé"},
]
ODD_BYTES = [b"\0", b"\xff", b"\xed\xa0\x80", b'"', b'""', b"\\", b"\n", b"\r", b"\t", b",", b";", b"{", b"[" * 3000]
ODD_BYTES += [b"\xff\xfe", b"\xef\xbb\xbf", "\u200b".encode(), b"9" * 5000, b"\x1f\x8b\x08"]
ODD_BYTES += [json.dumps(record).encode() + b"\n" for record in ODD_RECORDS]


def lines(texts: list[str], draw: random.Random) -> str:
    return "\n".join(texts) + "\n" * draw.randint(0, 2)


def records(texts: list[str], draw: random.Random) -> str:
    ascii_only = draw.random() < 0.3
    labels = ["a", 1, 1.0, True, None]
    rows = ({"text": text, "label": draw.choice(labels), "id": 7} for text in texts)
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)


def tweets(texts: list[str], draw: random.Random) -> str:
    """Return lines of a dump, in the forms of both versions of the Twitter API, with notices between them."""
    user = {"id_str": "7", "location": "Lima"}
    forms: list[Callable[[str], dict[str, Any]]] = [
        lambda text: {"text": text, "user": user, "source": "<a href='x'>Web</a>", "retweeted_status": None},
        lambda text: {"full_text": text, "user": user, "referenced_tweets": [{"type": "quoted"}]},
        lambda text: {"text": text[:9], "extended_tweet": {"full_text": text}, "user": {"id": 7}},
        lambda text: {"data": {"text": text, "author_id": "1"}, "includes": {"users": [{"id": "1"}]}},
    ]
    rows = [draw.choice(forms)(text) for text in texts]
    for _ in range(draw.choice([0, 0, 1, 2])):
        rows.insert(draw.randint(0, len(rows)), {"delete": {"status": {"id": 1}}})
    ascii_only = draw.random() < 0.3
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)


def table(texts: list[str], draw: random.Random, delimiter: str = ",") -> str:
    content = io.StringIO()
    quoting = draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
    writer = csv.writer(content, delimiter=delimiter, quoting=quoting, lineterminator=draw.choice(["\n", "\r\n"]))
    writer.writerows([("text", "label"), *((text, draw.choice("ab1")) for text in texts)])
    return content.getvalue()


def tabs(texts: list[str], draw: random.Random) -> str:
    if draw.random() < 0.5:
        return table(texts, draw, "\t")
    return "".join(f"{text}\t{label}\n" for text, label in [("text", "label"), *((text, "a") for text in texts)])


def parquet(texts: list[str], draw: random.Random) -> bytes:
    content = io.BytesIO()
    kind = draw.choice([pa.int8(), pa.float32(), pa.bool_(), pa.string()])
    labels = pa.array([draw.choice([0, 1, None]) for _ in texts], pa.int8()).cast(kind)
    columns = pa.table({"text": pa.array(texts, pa.string()), "label": labels})
    compression = draw.choice(["none", "snappy", "zstd", "gzip"])
    pq.write_table(columns, content, row_group_size=draw.randint(1, 40), compression=compression)
    return content.getvalue()


def flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def remove(content: bytearray, draw: random.Random) -> None:
    first = draw.randrange(len(content))
    del content[first : first + draw.randint(1, 50)]


def repeat(content: bytearray, draw: random.Random) -> None:
    first, place = draw.randrange(len(content)), draw.randrange(len(content))
    content[place:place] = content[first : first + draw.randint(1, 200)]


def insert(content: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(content))
    place = draw.choice([0, place, content.find(b"\n", place) + 1])  # the last at the beginning of a line
    content[place:place] = draw.choice(ODD_BYTES) * draw.randint(1, 3)


def lengthen(content: bytearray, draw: random.Random) -> None:
    if draw.random() < 0.02:  # takes its time
        place = draw.randrange(len(content))
        content[place:place] = draw.choice([b"x", b'"', b"\xc3\xb1", b"\0", b"["]) * draw.choice([2**20, 2**22])


MUTATIONS = (flip, cut, remove, repeat, insert, lengthen)


def tagged(texts: list[str], draw: random.Random) -> list[tuple[list[str], list[str]]]:
    """Return the words of each text and a BIO tag for each word."""
    return [(words, ["O", "B-X", "I-X", *["O"] * len(words)][: len(words)]) for words in map(str.split, texts)]


def conll(texts: list[str], draw: random.Random) -> str:
    separator = draw.choice(["\t", " ", "\tNN\t"])
    sentences = (zip(*sentence, strict=True) for sentence in tagged(texts, draw))
    return "\n".join("".join(f"{word}{separator}{tag}\n" for word, tag in sentence) for sentence in sentences)


def tagged_records(texts: list[str], draw: random.Random) -> str:
    rows = ({"tokens": words, "tags": tags} for words, tags in tagged(texts, draw))
    return "".join(json.dumps(row, ensure_ascii=draw.random() < 0.3) + "\n" for row in rows)


def tagged_parquet(texts: list[str], draw: random.Random) -> bytes:
    content = io.BytesIO()
    words, tags = zip(*tagged(texts, draw), strict=True) if texts else ((), ())
    kind = pa.list_(pa.string())
    columns = pa.table({"tokens": pa.array(words, kind), "tags": pa.array(tags, kind)})
    pq.write_table(columns, content, row_group_size=draw.randint(1, 40))
    return content.getvalue()


def vocabulary(texts: list[str], draw: random.Random) -> str:
    return "\n".join([*SPECIAL_TOKENS, *sorted({word for text in texts for word in text.split()})]) + "\n"


@dataclass(frozen=True)
class Kind:
    """A kind of files: how they are written, and what reads them.

    Attributes:
        readers: names of readers of `fuzz_readers.py`, each as often as it is to be drawn.
        packing: suffixes of `PACK`, one of which a packed file has.
    """

    suffix: str
    write: Callable[[list[str], random.Random], str | bytes]
    readers: tuple[str, ...]
    packing: tuple[str, ...] = (".gz",)


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, 1),
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}
TEXTS = ("corpus", "corpus", "corpus", "table")
TABLES = (*TEXTS, "dump")
KINDS = [
    Kind(".txt", lines, TEXTS),
    Kind(".jsonl", records, TABLES),
    Kind(".csv", table, TABLES),
    Kind(".tsv", tabs, TABLES),
    Kind(".parquet", parquet, ("corpus", "corpus", "stream", "table", "dump"), packing=()),
    Kind(".conll", conll, ("tagged",)),
    Kind(".jsonl", tagged_records, ("tagged",)),
    Kind(".parquet", tagged_parquet, ("tagged",), packing=()),
    Kind(".vocab", vocabulary, ("vocabulary",), packing=()),
    Kind(".json", tweets, ("dump",), packing=(".gz", ".zst")),
    Kind(".ndjson", tweets, ("dump",), packing=(".gz", ".zst")),
]


@dataclass(frozen=True)
class DrawnFile:
    """A file, the reader that is to read it, and the texts in it if the reader has to give just these."""

    path: Path
    reader: str
    texts: list[str] | None


def make_file(folder: Path, draw: random.Random) -> DrawnFile:
    """Write a file of some kind, with up to four mutations."""
    texts = draw.sample(WORDS, draw.randint(0, 40))
    # The first five kinds are what most people have.
    kind = draw.choice([*KINDS[:5], *KINDS])
    reader = draw.choice(kind.readers)
    content, encoding = kind.write(texts, draw), "utf-8"
    if isinstance(content, str):
        encoding = draw.choice(ENCODINGS)
        content = content.encode(encoding, "replace")
    damaged = bytearray(content)
    packing = draw.choice(kind.packing) if kind.packing and draw.random() < 0.25 else ""
    packed_first = bool(packing) and draw.random() < 0.5
    if packed_first:
        damaged = bytearray(PACK[packing](bytes(damaged)))
    number = draw.choice([0, 1, 1, 2, 3, 4])
    for _ in range(number):
        if damaged:
            draw.choice(MUTATIONS)(damaged, draw)
    if packing and not packed_first:
        damaged = bytearray(PACK[packing](bytes(damaged)))
    path = folder / f"texts{kind.suffix}{packing}"
    path.write_bytes(damaged)
    is_good = number == 0 and encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")
    return DrawnFile(path, reader, texts if is_good and reader in ("corpus", "stream", "dump") else None)
