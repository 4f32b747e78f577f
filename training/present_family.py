"""Renew `model_cards/`: the card of every model, and the family's page.

    python training/present_family.py --org ORG
    python training/present_family.py --org ORG --classifiers runs/bilma-mx-emoji --tag v1.0

The figures are those in `model_cards/results`, which evaluate_family.py and regional_tests.py write. Each model gets
the card that `publish.py` would push with the same --org and --tag; a classifier its metrics and training arguments as
well. What people write there, facts.yaml and the page outside its two marks, stays as it is, and so do cards of models
that are not given, which are named. Everything is made and checked before anything is replaced.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from training.common.arguments import option, parse_arguments
from training.common.errors import as_input_error, run
from training.common.files import replace_file, write_text
from training.common.locks import only_run_in
from training.evaluation.results import read_results
from training.family.page import render_page, split_page
from training.publishing.eval_results import RESULTS
from training.publishing.facts import MODEL_CARDS
from training.publishing.preparation import prepare
from training.publishing.publication import Publication, open_publications
from training.publishing.tree import CARD, RECORDS, ROOT


@dataclass(kw_only=True)
class PresentArguments:
    org: str = field(metadata={"help": "organization or user of the Hub, for the cards"})
    model: str = option(str(ROOT / "models" / "bilma"), "folder of the body with regional parts")
    classifiers: list[str] = field(default_factory=list, metadata={"help": "folders of finetune.py"})
    tag: str | None = option(None, "tag of the commits, such as v1.0; the cards pin it")
    output_dir: str = option(
        str(MODEL_CARDS), "folder to renew, with results/ and a README.md that holds the two marks"
    )


def main() -> None:
    args = parse_arguments(PresentArguments, __doc__.splitlines()[0])
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir):
        present(args, output_dir)


def present(args: PresentArguments, output_dir: Path) -> None:
    """Make and check all cards and the page, then put them in place, and say what became of each card."""
    page = output_dir / CARD
    before, after = split_page(page)
    results = read_results(output_dir / RESULTS)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        publications = [
            publication
            for trained in (args.model, *args.classifiers)
            for publication in open_publications(Path(trained), args.org, args.tag, home / "merged")
        ]
        trees = prepare(publications, output_dir / RESULTS, results, home / "trees")
        text = render_page(publications, results, output_dir)
        for publication, tree in zip(publications, trees, strict=True):
            print(f"{output_dir / publication.name / CARD}: {put_in_place(publication, tree, output_dir)}")
    write_text(page, f"{before}{text}{after}")
    print(page)
    given = {publication.name for publication in publications}
    for card in sorted(output_dir.glob(f"*/{CARD}")):
        if card.parent.name not in given:
            print(f"{card}: left as it was, of a model that was not given; remove it if there is no such model now")


def put_in_place(publication: Publication, tree: Path, output_dir: Path) -> str:
    """Replace a card, and beside it the records that exist nowhere else, those of classifiers; say what changed."""
    folder = output_dir / publication.name
    kept = (CARD,) if publication.fills_masks else (CARD, *RECORDS)
    with as_input_error(OSError):
        before = (folder / CARD).read_bytes() if (folder / CARD).exists() else None
        folder.mkdir(parents=True, exist_ok=True)
        for name in kept:
            with replace_file(folder / name) as beside:
                shutil.copyfile(tree / name, beside)
        for name in {*RECORDS} - {*kept}:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / ".eval_results", ignore_errors=True)
    if before is None:
        return "new"
    return "as it was" if before == (tree / CARD).read_bytes() else "renewed"


if __name__ == "__main__":
    run(main)
