"""Xet storage, after the protocol's public specification (huggingface.co/docs/xet), as far as `hf_xet` 1 asks for it.

    POST /v1/xorbs/default/HASH       a xorb: chunks, each compressed by itself
    POST /v1/shards                   which chunks of which xorbs are a file, and the file's sha256
    GET  /v1/reconstructions/HASH     of a file (Range: a part of it) -> terms and where to fetch them
    GET  /xorbs/HASH                  with a Range; needs no token, as a signed URL does not

A client first asks for newer routes (`/v2/...`, `/v1/chunks/...`, `/v1/xorb-grants/...`); their 404 sends it here.
Integers are little-endian; a hash is written as its four 64-bit integers in hexadecimal.
"""

import re
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import pyarrow

from tests.loopback_hub.routing import Answer, Call, route
from tests.loopback_hub.store import HubError

STORED, LZ4, GROUPED_LZ4 = range(3)  # how a chunk is compressed
WITH_VERIFICATION, WITH_SHA256 = 1 << 31, 1 << 30
RECORD = 48  # bytes, of everything in a shard
SHARD_HEADER = 48
END_OF_FILES = b"\xff" * 32
TOKEN_EXPIRES = 4_000_000_000  # seconds since 1970: not in these tests


@dataclass(frozen=True)
class Term:
    """The chunks `first` to `last` (exclusive) of a xorb, `size` bytes when they are unpacked."""

    xorb: str
    size: int
    first: int
    last: int


class XetStorage:
    """Xorbs, and the files made of them; `url` is where the routes below are reached, `token` what opens them."""

    def __init__(self, url: str):
        self.url = url
        self.token = f"xet_{secrets.token_hex(16)}"
        self.xorbs: dict[str, bytes] = {}
        self.files: dict[str, list[Term]] = {}
        self.hashes: dict[str, str] = {}  # by sha256

    def add_shard(self, shard: bytes) -> None:
        at = SHARD_HEADER
        while shard[at : at + 32] != END_OF_FILES:
            file, flags, count = struct.unpack_from("<32sII", shard, at)
            rows = (struct.unpack_from("<32s4xIII", shard, at + RECORD * (row + 1)) for row in range(count))
            terms = [Term(written(xorb), size, first, last) for xorb, size, first, last in rows]
            if missing := {term.xorb for term in terms} - set(self.xorbs):
                raise HubError(400, f"The shard names xorbs that were not uploaded: {missing}")
            at += RECORD * (1 + count + (count if flags & WITH_VERIFICATION else 0))
            if not flags & WITH_SHA256:
                raise HubError(400, "The shard does not tell the sha256 of a file.")
            self.hashes[written(shard[at : at + 32])] = written(file)
            self.files[written(file)] = terms
            at += RECORD

    def find(self, sha256: str) -> bytes | None:
        """The content of the file that was uploaded under this sha256."""
        if sha256 not in self.hashes:
            return None
        terms = self.files[self.hashes[sha256]]
        return b"".join(
            unpacked(self.xorbs[term.xorb], start)
            for term in terms
            for start in chunk_offsets(self.xorbs[term.xorb])[term.first : term.last]
        )


def written(digest: bytes) -> str:
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", digest))


def chunk_offsets(xorb: bytes) -> list[int]:
    """Where the chunks begin, and where the last one ends; a footer may follow it."""
    offsets = [0]
    while offsets[-1] < len(xorb) and not xorb.startswith(b"XETBLOB", offsets[-1]):
        offsets.append(offsets[-1] + 8 + int.from_bytes(xorb[offsets[-1] + 1 : offsets[-1] + 4], "little"))
    return offsets


def unpacked(xorb: bytes, start: int) -> bytes:
    """The bytes of the chunk that begins at `start` with its version, packed size, compression and size."""
    size, compression = int.from_bytes(xorb[start + 1 : start + 4], "little"), xorb[start + 4]
    full_size, packed = int.from_bytes(xorb[start + 5 : start + 8], "little"), xorb[start + 8 : start + 8 + size]
    if compression == STORED:
        return packed
    data = pyarrow.decompress(packed, full_size, codec="lz4", asbytes=True)
    return data if compression == LZ4 else ungrouped(data)


def ungrouped(data: bytes) -> bytes:
    """Undo the grouping of the first, second, third and fourth byte of every four."""
    whole = bytearray(len(data))
    ends = list(accumulate(len(whole[place::4]) for place in range(4)))
    for place, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        whole[place::4] = data[start:end]
    return bytes(whole)


@route("GET", "/api/{K}/{ID}/xet-(?P<rest>read|write)-token/{REV}", "xet_token")
def xet_token(call: Call) -> Answer:
    call.repository(write=call.rest == "write")
    xet = call.hub.xet
    headers = {"X-Xet-Cas-Url": xet.url, "X-Xet-Access-Token": xet.token, "X-Xet-Token-Expiration": str(TOKEN_EXPIRES)}
    body = {"casUrl": xet.url, "accessToken": xet.token, "exp": TOKEN_EXPIRES}
    return Answer.of(body, **headers)


def opened(call: Call) -> XetStorage:
    if call.token != call.hub.xet.token:
        raise HubError(401, "This is no token of the Xet storage.")
    return call.hub.xet


@route("POST", "/v1/xorbs/default/(?P<rest>[0-9a-f]{64})", "xet_xorb")
def add_xorb(call: Call) -> Answer:
    known = opened(call).xorbs
    inserted = call.rest not in known
    known[call.rest] = call.body
    return Answer.of({"was_inserted": inserted})


@route("POST", "/v1/shards", "xet_shard")
def add_shard(call: Call) -> Answer:
    opened(call).add_shard(call.body)
    return Answer.of({"result": 1})


@route("GET", "/v1/reconstructions/(?P<rest>[0-9a-f]{64})", "xet_reconstruction")
def reconstruction(call: Call) -> Answer:
    xet = opened(call)
    if call.rest not in xet.files:
        raise HubError(404, "No such file")
    begin, end = (int(number) for number in re.fullmatch(r"bytes=(\d+)-(\d+)", call.range or "bytes=0-1").groups())
    terms = list(overlapping(xet.files[call.rest], begin, end if call.range else None))
    if not terms:
        raise HubError(416, "The range begins behind the end of the file.")
    fetch: dict[str, list[dict]] = {}
    for _, term in terms:
        offsets = chunk_offsets(xet.xorbs[term.xorb])
        where = {"start": offsets[term.first], "end": offsets[term.last] - 1}
        told = {"url": f"{xet.url}/xorbs/{term.xorb}", "url_range": where, "range": chunks(term)}
        fetch.setdefault(term.xorb, []).append(told)
    shown = [{"hash": term.xorb, "unpacked_length": term.size, "range": chunks(term)} for _, term in terms]
    return Answer.of({"offset_into_first_range": begin - terms[0][0], "terms": shown, "fetch_info": fetch})


def overlapping(terms: list[Term], begin: int, end: int | None) -> Iterator[tuple[int, Term]]:
    """The terms that hold bytes `begin` to `end` (inclusive; None: the last) of a file, each with where it begins."""
    at = 0
    for term in terms:
        if at + term.size > begin and (end is None or at <= end):
            yield at, term
        at += term.size


def chunks(term: Term) -> dict[str, int]:
    return {"start": term.first, "end": term.last}


@route("GET", "/xorbs/(?P<rest>[0-9a-f]{64})", "xet_get")
def xorb(call: Call) -> Answer:
    return Answer.of_file(call.hub.xet.xorbs[call.rest])
