"""Share of the masked tokens that a model guesses right."""

from .masked_accuracy import MaskedAccuracy

__all__ = ["MaskedAccuracy"]
