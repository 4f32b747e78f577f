"""Token ids of many texts at once, on all cores."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from tokenizers import Tokenizer
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import END, START

CHARACTERS_PER_GROUP = 4096
_SEPARATOR = "\uffff"  # no character, by the Unicode standard


def encode(texts: Sequence[str], tokenizer: TokenizersBackend, max_length: int) -> list[list[int]]:
    """Return the token ids of each text, with the special tokens around it, at most `max_length` of them.

    Uses the `tokenizers` pipeline itself: calling the tokenizer with truncation would leave that setting in the
    `tokenizer.json` that is saved later.
    """
    pipeline = tokenizer.backend_tokenizer
    pipeline.no_truncation()  # an earlier call of the tokenizer may have left it cutting or padding
    pipeline.no_padding()
    if (tokenizer.cls_token, tokenizer.sep_token) == (START, END):
        start, *last = pipeline.encode("").ids
        most = max_length - 1 - len(last)
        return [[start, *ids[:most], *last] for ids in _ids_in_groups(texts, tokenizer)]
    end = tokenizer.sep_token_id
    encodings = pipeline.encode_batch_fast(list(texts))  # the rules of other tokenizers may look beyond white space
    return [
        ids if len(ids) <= max_length else [*ids[: max_length - 1], end]
        for ids in (encoding.ids for encoding in encodings)
    ]


def groups_of(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield groups of neighbours, of at most `CHARACTERS_PER_GROUP` together; a longer text is alone."""
    group: list[str] = []
    characters = 0
    for text in texts:
        if group and characters + len(text) > CHARACTERS_PER_GROUP:
            yield group
            group, characters = [], 0
        group.append(text)
        characters += len(text)
    if group:
        yield group


def _ids_in_groups(texts: Iterable[str], tokenizer: TokenizersBackend) -> Iterator[list[int]]:
    """Yield the token ids of each text, without `[START]` and `[END]`.

    What `tokenizers` does once per string takes half as long as tokenising a tweet. So the texts of a group go in as
    one string, which is cut where the separator's id comes out. Between spaces the separator changes nothing: no rule
    looks beyond white space.
    """
    groups = list(groups_of(texts))
    pipeline, separator = _with_separator(tokenizer, len(tokenizer))
    encodings = pipeline.encode_batch_fast([f" {_SEPARATOR} ".join(group) for group in groups])
    for group, encoding in zip(groups, encodings, strict=True):
        parts = list(_cut_at(separator, encoding.ids))
        if len(parts) != len(group):  # a text contains the separator
            alone = tokenizer.backend_tokenizer.encode_batch_fast(group, add_special_tokens=False)
            parts = [encoding.ids for encoding in alone]
        yield from parts


@lru_cache(maxsize=4)
def _with_separator(tokenizer: TokenizersBackend, size: int) -> tuple[Tokenizer, int]:
    """Return the pipeline of a BILMA tokenizer with the separator as one more token, and its id, which is `size`."""
    pipeline = json.loads(tokenizer.backend_tokenizer.to_str())
    pipeline["model"]["vocab"][_SEPARATOR] = size
    return Tokenizer.from_str(json.dumps(pipeline | {"post_processor": None})), size


def _cut_at(separator: int, ids: list[int]) -> Iterator[list[int]]:
    first = 0
    for _ in range(ids.count(separator)):
        last = ids.index(separator, first)
        yield ids[first:last]
        first = last + 1
    yield ids[first:]
