"""Renew `model_cards/` from a trained family: cards, facts, results, pictures, and the family at a glance.

    python training/present_family.py --family runs/family --org ORG

Each model's folder there gets what `publish.py` would push with the same --org and --tag, but for weights, tokenizer,
code and licence; what people write there, facts.yaml, is left alone. The results of all are in `model_cards/results`.
Of README.md the part between the two marks is replaced. Everything is made and checked before anything is replaced.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from training.common.arguments import option, parse_arguments
from training.common.errors import as_input_error, run
from training.common.files import write_text
from training.evaluation.results import read_results
from training.family.page import (
    CLASSIFIERS_FILE,
    render_page,
)
from training.family.plan import RESULTS as FAMILY_RESULTS
from training.family.presentation import (
    BEGIN,
    END,
    PAGE,
    SHOWN,
    classifier_scores,
    copy_results,
    copy_ways,
    open_models,
    read_page,
)
from training.publishing.checks import check_tree
from training.publishing.eval_results import RESULTS
from training.publishing.facts import MODEL_CARDS
from training.publishing.tree import build_tree


@dataclass(kw_only=True)
class PresentArguments:
    family: str = field(metadata={"help": "output folder of train_family.py"})
    org: str = field(metadata={"help": "organization or user of the Hub, for the cards"})
    tag: str | None = option(None, "tag of the commits, such as v1.0; the cards pin it")
    ways: list[str] = field(
        default_factory=list,
        metadata={"help": "output folders of other runs of train_family.py whose comparisons of ways are shown too"},
    )
    output_dir: str = option(str(MODEL_CARDS), "folder to renew, with a README.md that holds the two marks")


def main() -> None:
    args = parse_arguments(PresentArguments, __doc__.splitlines()[0])
    family, output_dir = Path(args.family), Path(args.output_dir)
    page = read_page(output_dir / PAGE)
    results = read_results(family / FAMILY_RESULTS)
    models = open_models(family, results, args.org, args.tag)
    classifiers = classifier_scores(family)
    with TemporaryDirectory() as folder:
        new = Path(folder)
        for model in models:
            tree = new / model.publication.name
            build_tree(model.publication, family / FAMILY_RESULTS, results, tree)
            check_tree(tree, model.publication)
        stages = copy_results(family, results, new)
        ways = copy_ways(family.resolve(), [Path(folder).resolve() for folder in args.ways], new)
        write_text(new / CLASSIFIERS_FILE, json.dumps(classifiers, indent=1, ensure_ascii=False) + "\n")
        text = render_page(models, results, ways, classifiers, stages)
        put_in_place(new, [model.publication.name for model in models], output_dir)
    write_text(output_dir / PAGE, page.replace("\0", f"{BEGIN}\n{text}\n{END}"))
    print(output_dir / PAGE)


def put_in_place(new: Path, names: Sequence[str], output_dir: Path) -> None:
    """Replace what is generated, and nothing else."""
    with as_input_error(OSError):
        shutil.rmtree(output_dir / RESULTS, ignore_errors=True)
        shutil.copytree(new / RESULTS, output_dir / RESULTS)
        for name in names:
            for shown in SHOWN:
                place(new / name / shown, output_dir / name / shown)


def place(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)


if __name__ == "__main__":
    run(main)
