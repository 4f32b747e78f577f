"""Share of tests in which a model finds a form of the region likelier than every rival form."""

from .regional_knowledge import RegionalKnowledge, is_chosen

__all__ = ["RegionalKnowledge", "is_chosen"]
