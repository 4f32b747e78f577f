"""One model for several regions: the token of its region is in front of a text, after `[START]`.

Users write it themselves: `[MX] vamos a comer [MASK]`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from modeling_bilma.tokenization_bilma import region_token
from training.errors import InputError
from training.regions import region_of_name
from training.token_rows import TokenRows

TEXTS_AT_ONCE = 10_000


def region_token_id(tokenizer: PreTrainedTokenizerBase, region: str) -> int:
    """Raises `InputError` if the tokenizer has no token of the region, or it is no special one and would be masked."""
    token = region_token(region)
    token_id = tokenizer.get_vocab().get(token)
    if token_id is None or token_id not in tokenizer.all_special_ids:
        raise InputError(
            f"the tokenizer has no special token {token}: give the model this region with training/pretrain.py "
            f"--add_regions {region}"
        )
    return token_id


def tokens_of_files(files: Sequence[Path], tokenizer: PreTrainedTokenizerBase) -> dict[Path, int | None]:
    """Of each file the token of the region that its name holds; None without a region that has one.

    Raises:
        InputError: if no file has one.
    """
    special, tokens = set(tokenizer.all_special_tokens), {}
    for file in files:
        region = region_of_name(file.name.split(".")[0])
        has_token = region is not None and region_token(region) in special
        tokens[file] = region_token_id(tokenizer, region) if has_token else None
    if not any(tokens.values()):
        raise InputError(
            f"--region_tokens: no name of the {len(files)} files holds a region that the tokenizer has a token of: "
            "call them, for example, tweets-mx.jsonl.gz, or give the model their regions with --add_regions"
        )
    return tokens


def has_region_tokens(config: PreTrainedConfig) -> bool:
    """Whether a model, of any kind, has regional parts."""
    return getattr(config, "regions", None) is not None


def count_by_region(tokens: TokenRows, texts: np.ndarray, first_token: int, regions: int, size: int) -> np.ndarray:
    """How often each token occurs in the texts behind the token of each region, (regions, size)."""
    counts = np.zeros((regions, size), np.int64)
    for some in np.array_split(texts, max(1, len(texts) // TEXTS_AT_ONCE)):
        by_region: dict[int, list[np.ndarray]] = {}
        for ids in tokens[some]:
            if 0 <= (region := int(ids[1]) - first_token) < regions:
                by_region.setdefault(region, []).append(ids[2:])
        for region, rows in by_region.items():
            counts[region] += np.bincount(np.concatenate(rows), minlength=size)
    return counts
