"""From trained folders to checked trees with cards, for publish.py and present_family.py."""

from collections.abc import Sequence
from pathlib import Path

from training.common.files import write_text
from training.publishing.card import render_card
from training.publishing.checks import check_tree
from training.publishing.eval_results import Results
from training.publishing.opening import check_opening
from training.publishing.publication import Publication
from training.publishing.tree import CARD, build_tree, picture_in


def prepare(publications: Sequence[Publication], results_dir: Path, results: Results, home: Path) -> list[Path]:
    """Build the tree of every publication in `home`, open it in a clean process, write its card, and check it.

    Raises:
        InputError: for the first thing that is wrong.
    """
    trees = [home / publication.name for publication in publications]
    for publication, tree in zip(publications, trees, strict=True):
        build_tree(publication, results_dir, results, tree)
    examples = check_opening(list(zip(trees, publications, strict=True)), results)
    for publication, tree, printed in zip(publications, trees, examples, strict=True):
        write_text(tree / CARD, render_card(publication, results, printed, picture_in(tree)))
        check_tree(tree, publication)
    return trees
