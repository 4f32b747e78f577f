"""Facts about the published models (arXiv 2110.06128 and the authors' code): regions, emoji, sizes, configuration."""

from collections.abc import Mapping
from typing import Any

REGIONS = ("ar", "cl", "co", "es", "mx", "us", "uy", "ve")
EMOJI_15 = tuple("❤👌👏💔😄😊😌😍😒😘😡😢😭🤔🥺")
PUBLISHED_VOCAB_SIZE = 29025
PUBLISHED_MAX_LENGTH = 280

# Keys of the published config.json and their names in ours; the values are the same.
PUBLISHED_KEYS = {
    "vocab_size": "vocab_size",
    "embedding_dim": "hidden_size",
    "num_attention_heads": "num_attention_heads",
    "num_hidden_layers": "num_hidden_layers",
    "seq_max_length": "max_position_embeddings",
    "drop_rate": "hidden_dropout_prob",
    "pooling": "pooling",
}


def config_from_published(published: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for `BilmaConfig` from the `config.json` of a published Hub repository.

    `include_top` and `add_head` determine the class, and `weights` is the region; keys without a meaning here, such as
    the version of transformers, are left out.

    Raises:
        ValueError: for a value that the published code does not know.
    """
    arguments: dict[str, Any] = {"attend_to_padding": True}
    for theirs, ours in PUBLISHED_KEYS.items():
        if published.get(theirs) is not None:
            arguments[ours] = published[theirs]
    if published.get("weights") is not None:
        arguments["region"] = check_region(str(published["weights"]))
    head = published.get("add_head")
    if head is not None:
        if not isinstance(head, list) or not head or not all(isinstance(width, int) for width in head):
            raise ValueError(f"add_head={head!r} in the published config: expected the widths of dense layers")
        arguments["architectures"] = ["BilmaForSequenceClassification"]
        arguments["num_labels"] = head[-1]
    elif published.get("include_top", True):
        arguments["architectures"] = ["BilmaForMaskedLM"]
    else:
        arguments["architectures"] = ["BilmaModel"]
    return arguments


def check_region(region: str) -> str:
    """Return the region's code in lower case; raise `ValueError` if BILMA was not published for it."""
    if region.lower() not in REGIONS:
        raise ValueError(f"region {region!r}: BILMA was published for {', '.join(REGIONS)}")
    return region.lower()
