"""Configuration of BILMA, a small BERT for regional Spanish (arXiv 2110.06128)."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

# All classes that a saved folder opens with; without this map it opens only with the class that was saved.
AUTO_MAP = {
    "AutoConfig": "configuration_bilma.BilmaConfig",
    "AutoModel": "modeling_bilma.BilmaModel",
    "AutoModelForMaskedLM": "modeling_bilma.BilmaForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_bilma.BilmaForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_bilma.BilmaForTokenClassification",
}


@strict
class BilmaConfig(PreTrainedConfig):
    r"""Sizes and behaviour of a BILMA model; the defaults are the published model (39,207,265 parameters).

    Args:
        head_dim: size of one attention head. As published it equals `hidden_size`: four heads of 512.
        attend_to_padding: how the published checkpoints were trained. Every input is padded to
            `max_position_embeddings` inside `forward` and nothing is masked, so the results for a text do not
            depend on its batch. New models leave it off and mask their padding.
        sparse_prediction: with labels, `BilmaForMaskedLM` computes logits at the labelled positions only, and
            returns them as (labelled positions, vocabulary). For training loops; the loss is the same.
        pooling: how the sequence classifier makes one vector from a text: the `[START]` state, that of a
            `[MASK]` before `[END]` (which the tokenizer then adds), or the mean or maximum over the states.
        region: lower-case country code of the Spanish that the model was trained on, if known.
        regions: codes of the regions for which the model has parts. A text names its region by a token of the
            tokenizer, as in `[MX] ...`; these tokens have the ids from `first_region_token_id` on, in the order of
            `regions`, and are counted in `vocab_size`.
        first_region_token_id: None for a model without regions.

    Raises:
        ValueError: for sizes that do not make a model; the message gives the value, the rule and the fix.
    """

    model_type = "bilma"

    vocab_size: int = 29025
    hidden_size: int = 512
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    head_dim: int = 512
    intermediate_size: int = 512
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 280
    layer_norm_eps: float = 1e-6
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    tie_word_embeddings: bool = False
    attend_to_padding: bool = False
    sparse_prediction: bool = False
    pooling: Literal["cls", "mean", "max", "mask"] = "cls"
    region: str | None = None
    regions: list[str] | None = None
    first_region_token_id: int | None = None

    def __post_init__(self, **kwargs):
        # A folder from the Hub brings its own map, with the repository's name in it.
        kwargs.setdefault("auto_map", dict(AUTO_MAP))
        super().__post_init__(**kwargs)

    @property
    def custom_pipelines(self) -> dict[str, dict]:
        """The pipeline that `pipeline("fill-mask", model=..., trust_remote_code=True)` builds."""
        if self.architectures != ["BilmaForMaskedLM"]:
            return {}
        return {"fill-mask": {"impl": "modeling_bilma.BilmaFillMaskPipeline", "pt": ["AutoModelForMaskedLM"]}}

    @property
    def region_token_ids(self) -> range:
        """Ids of the region tokens, in the order of `regions`; empty for a model without regions."""
        if self.regions is None or self.first_region_token_id is None:
            return range(0)
        return range(self.first_region_token_id, self.first_region_token_id + len(self.regions))

    def validate_sizes(self):
        sizes = (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "head_dim",
            "intermediate_size",
            "max_position_embeddings",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    def validate_sinusoids(self):
        if self.hidden_size % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} is odd: sinusoids come in sine/cosine pairs, use an even size"
            )

    def validate_activation(self):
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"hidden_act={self.hidden_act!r} is unknown to transformers: use 'gelu', as published")

    def validate_padding(self):
        if self.attend_to_padding and self.pad_token_id is None:
            raise ValueError("attend_to_padding=True needs a pad_token_id: that token is attended to")

    def validate_regions(self):
        if self.regions is None:
            return
        if not self.regions or len(set(self.regions)) < len(self.regions):
            raise ValueError(f"regions={self.regions} is empty or has a region twice: give each once, or None")
        first = self.first_region_token_id
        if first is None or not 0 <= first <= self.vocab_size - len(self.regions):
            raise ValueError(
                f"first_region_token_id={first} leaves no ids below vocab_size={self.vocab_size} for the tokens of "
                f"{len(self.regions)} regions: append them to the vocabulary and give the id of the first"
            )
        if self.attend_to_padding:
            raise ValueError("attend_to_padding=True masks nothing, and region tokens must be masked: set it to False")


__all__ = ["BilmaConfig"]
