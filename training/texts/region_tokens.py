"""One model for several regions: a token of its region stands in front of every text, after `[START]`.

Users write it themselves: `[MX] vamos a comer [MASK]`.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from modeling_bilma.tokenization_bilma import region_token
from training.common.errors import InputError
from training.evaluation.questions import region_of_file


def region_token_id(tokenizer: PreTrainedTokenizerBase, region: str) -> int:
    """Raises `InputError` if the tokenizer has no token of the region, or it is no special one and would be masked."""
    token = region_token(region)
    token_id = tokenizer.get_vocab().get(token)
    if token_id is None or token_id not in tokenizer.all_special_ids:
        raise InputError(
            f"the tokenizer has no special token {token}: make one with training/train_tokenizer.py --regions {region}"
        )
    return token_id


def tokens_of_files(files: Sequence[Path], tokenizer: PreTrainedTokenizerBase) -> dict[Path, int]:
    """Of each file the token of the region that its name holds.

    Raises:
        InputError: for a name that holds none, or a region that the tokenizer has no token of.
    """
    return {file: region_token_id(tokenizer, region_of_file(file)) for file in files}


def has_region_tokens(config: PreTrainedConfig) -> bool:
    """Whether a model, of any kind, was trained on texts with such tokens."""
    return getattr(config, "region_tokens", False)
