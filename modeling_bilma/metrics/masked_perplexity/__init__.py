"""Perplexity of a model at the masked tokens."""

from .masked_perplexity import MaskedPerplexity

__all__ = ["MaskedPerplexity"]
