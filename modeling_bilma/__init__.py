"""BILMA for transformers: importing this package registers the family with the Auto classes.

This file is not shipped to the Hub: nothing that a model needs lives here.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from .configuration_bilma import BilmaConfig
from .modeling_bilma import (
    BilmaForMaskedLM,
    BilmaForSequenceClassification,
    BilmaForTokenClassification,
    BilmaModel,
    BilmaPreTrainedModel,
)

__version__ = "0.1.0"

AutoConfig.register("bilma", BilmaConfig)
BilmaConfig.register_for_auto_class()  # so that saving copies the code beside the weights
for auto_class, model_class in (
    (AutoModel, BilmaModel),
    (AutoModelForMaskedLM, BilmaForMaskedLM),
    (AutoModelForSequenceClassification, BilmaForSequenceClassification),
    (AutoModelForTokenClassification, BilmaForTokenClassification),
):
    auto_class.register(BilmaConfig, model_class)
    model_class.register_for_auto_class(auto_class.__name__)

__all__ = [
    "BilmaConfig",
    "BilmaForMaskedLM",
    "BilmaForSequenceClassification",
    "BilmaForTokenClassification",
    "BilmaModel",
    "BilmaPreTrainedModel",
]
