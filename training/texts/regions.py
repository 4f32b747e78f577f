"""The eight regions as data, with the published facts (arXiv 2110.06128, table of the regional corpora)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from modeling_bilma.tokenization_bilma import region_token
from training.common.errors import InputError


@dataclass(frozen=True)
class Region:
    """A Spanish-speaking region; the figures are those of the authors' corpora; None if not published.

    Users are in thousands, tweets and tokens in millions; `published_epochs` counts the epochs of the authors'
    training.
    """

    code: str
    country: str | None = None
    users_thousands: int | None = None
    tweets_millions: float | None = None
    tokens_millions: float | None = None
    published_epochs: int | None = None


REGIONS = {
    region.code: region
    for region in (
        Region("ar", "Argentina", 1376, 234.22, 2887.92, 1),
        Region("cl", "Chile", 415, 45.29, 719.24, 3),
        Region("co", "Colombia", 701, 61.54, 918.51, 1),
        Region("es", "Spain", 1278, 121.42, 1908.07, 1),
        Region("mx", "Mexico", 1517, 115.53, 1635.69, 1),
        Region("us", "United States", 2652, 40.83, 501.86, 3),
        Region("uy", "Uruguay", 157, 30.83, 351.81, 3),
        Region("ve", "Venezuela", 421, 35.48, 556.12, 3),
    )
}


ALL_REGIONS = "all"  # in place of a code: texts of several regions


def get_region(code: str) -> Region:
    """Return the region of a two-letter country code or "all"; it may have no published facts.

    Raises:
        InputError: if it is not two letters.
    """
    code = code.lower()
    if code != ALL_REGIONS and not re.fullmatch("[a-z]{2}", code):
        raise InputError(
            f"--region {code}: give a two-letter country code, such as {', '.join(REGIONS)}, or {ALL_REGIONS}"
        )
    return REGIONS.get(code, Region(code))


def region_of_name(name: str) -> str | None:
    """Return the region in the name of a file or folder: `bilma-mx` is "mx", `news_tweets_es` is "es".

    The codes of the eight regions come first; another code counts only if it is the whole name.
    """
    parts = re.split("[^a-z]+", name.lower())
    known = [part for part in parts if part in REGIONS]
    if known:
        return known[0]
    return name.lower() if re.fullmatch("[a-z]{2}", name.lower()) else None


def region_token_id(tokenizer: PreTrainedTokenizerBase, region: str) -> int:
    """Return the id of the token of a region.

    Raises:
        InputError: if the tokenizer lacks it, or it is not a special token and would be masked.
    """
    token = region_token(region)
    token_id = tokenizer.get_vocab().get(token)
    if token_id is None or token_id not in tokenizer.all_special_ids:
        raise InputError(
            f"the tokenizer has no special token {token}: give the model this region with training/pretrain.py "
            f"--add_regions {region}"
        )
    return token_id


def tokens_of_files(files: Sequence[Path], tokenizer: PreTrainedTokenizerBase) -> dict[Path, int | None]:
    """Return for each file the id of its region's token; None if its name holds no region that has one.

    Raises:
        InputError: if there is no such file.
    """
    special, tokens = set(tokenizer.all_special_tokens), {}
    for file in files:
        region = region_of_name(file.name.split(".")[0])
        known = region and region_token(region) in special
        tokens[file] = region_token_id(tokenizer, region) if region and known else None
    if not any(tokens.values()):
        raise InputError(
            f"--region_tokens: no name of the {len(files)} files holds a region that the tokenizer has a token of: "
            "call them, for example, tweets-mx.jsonl.gz, or give the model their regions with --add_regions"
        )
    return tokens


def region_of_file(path: Path) -> str:
    """Return the region in the name of a file.

    Raises:
        InputError: if there is none.
    """
    region = region_of_name(path.name.split(".")[0])
    if region is None:
        raise InputError(f"{path}: the name holds no region's two letters: call it, for example, tweets-mx.jsonl.gz")
    return region
