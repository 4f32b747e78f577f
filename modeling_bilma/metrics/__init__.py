"""Metrics of masked language models, in the layout that `evaluate.load` opens by path, without the network."""

from .masked_accuracy import MaskedAccuracy
from .masked_perplexity import MaskedPerplexity
from .regional_knowledge import RegionalKnowledge, is_chosen

__all__ = ["MaskedAccuracy", "MaskedPerplexity", "RegionalKnowledge", "is_chosen"]
