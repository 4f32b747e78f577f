"""Write invented, tweet-like Spanish texts, for trying out training without any real data.

    python training/synthetic_corpus.py --output_dir corpora/synthetic --regions mx ar --num_texts 5000

Each region gets a file. The words and sentences are in texts/synthetic_lexicon.yaml. The same region, number and seed
give the same bytes on every machine.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from training.common.arguments import check_each, option, parse_arguments
from training.common.errors import InputError, run
from training.common.files import write_text
from training.common.locks import only_run_in
from training.texts.synthetic import SYNTHETIC, available_regions, generate_texts, readme, write_corpus


@dataclass(kw_only=True)
class SyntheticArguments:
    output_dir: str = field(metadata={"help": "folder for the files"})
    regions: list[str] = field(default_factory=list, metadata={"help": "for example mx ar (default: all)"})
    num_texts: int = option(5000, "texts per region")
    seed: int = option(0, "another seed gives other texts")


def main() -> None:
    args = parse_arguments(SyntheticArguments, __doc__.splitlines()[0])
    check_each(args, "1 or more", "num_texts")
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir):
        regions = list(dict.fromkeys(args.regions or available_regions()))
        check_replaceable(output_dir, regions)
        # Everything is made before anything is written, so an error leaves no half set of files.
        corpora = {region: generate_texts(region, args.num_texts, args.seed) for region in regions}
        for region, texts in corpora.items():
            print(f"{write_corpus(output_dir, region, texts)}: {len(texts)} texts")
        write_text(output_dir / "README.md", readme(regions, args.num_texts, args.seed))
        print(f"{output_dir / 'README.md'}: how they were made")


def check_replaceable(folder: Path, regions: Sequence[str]) -> None:
    """Check that nothing but synthetic texts would be replaced.

    Raises:
        InputError: if one of the files exists in a folder whose README does not call its texts synthetic.
    """
    about = folder / "README.md"
    if about.is_file() and about.read_text(encoding="utf-8", errors="replace").startswith(SYNTHETIC):
        return
    for name in ("README.md", *(f"{region}.jsonl" for region in regions)):
        if (folder / name).exists():
            raise InputError(f"{folder / name} exists and is not of this script: give another --output_dir")


if __name__ == "__main__":
    run(main)
