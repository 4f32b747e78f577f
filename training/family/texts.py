"""The texts that a family is trained on, region by region, looked at before anything is trained."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from modeling_bilma.convert_keras import EMOJI_15
from training.common.errors import InputError
from training.evaluation.masked_texts import FEWEST_RESAMPLED as FEWEST_TEXTS
from training.texts.corpus import Corpus, open_corpora
from training.texts.emoji15 import EMOJI_TASK, emoji15
from training.texts.files import find_files
from training.texts.labelled import labelled_corpus
from training.texts.regions import region_of_name

LABEL_COLUMN = "label"


@dataclass(frozen=True)
class RegionTexts:
    """The texts of a region: their files, their number, and how many of them Emoji-15 can be learnt from."""

    code: str
    corpus: Corpus
    texts: int
    emoji_texts: int
    task_texts: dict[Path, int] = field(default_factory=dict)  # by the file of the task, to learn it from


def read_regions(corpora: str, labelled: str | None, tasks: Sequence[str] = ()) -> list[RegionTexts]:
    """The regions of a folder, in the order of their codes; folders inside it are not looked into.

    Raises:
        InputError: if there is no text file, for one whose name holds no region or that cannot be read, and for a
            labelled file with another label than the fifteen emoji, or another region than a code of two letters.
    """
    folder = Path(corpora)
    if not folder.is_dir():
        raise InputError(f"--corpora {corpora}: not a folder")
    files = [file for file in find_files([folder]) if file.parent == folder]
    if not files:
        raise InputError(f"--corpora {corpora}: the text files are in folders inside: give the one that holds them")
    by_label = count_emoji(Path(labelled)) if labelled else None
    by_task = {Path(file): count_labelled(Path(file)) for file in tasks}
    regions = []
    for code, corpus in open_corpora(files, "text").items():
        with_emoji = [emoji15(text) is not None for text in tqdm(corpus, desc=f"counting {code}", leave=False)]
        emoji_texts = sum(with_emoji) if by_label is None else by_label[code]
        task_texts = {file: counts[code] for file, counts in by_task.items() if counts[code]}
        regions.append(RegionTexts(code, corpus, len(with_emoji), emoji_texts, task_texts))
    return regions


def count_emoji(path: Path) -> Counter[str]:
    """How many texts of each region there are to learn Emoji-15 from in a labelled file."""
    for _, label, *_ in labelled_corpus(EMOJI_TASK, [path], label_column=LABEL_COLUMN).rows():
        if label not in EMOJI_15:
            raise InputError(f"{path}: label {label!r} is none of the fifteen emoji ({' '.join(EMOJI_15)})")
    return count_labelled(path)


def count_labelled(path: Path) -> Counter[str]:
    """How many texts of each region there are to learn from in a labelled file."""
    counts: Counter[str] = Counter()
    for _, _, split, region in labelled_corpus(EMOJI_TASK, [path], label_column=LABEL_COLUMN).rows():
        if region is None or region_of_name(region) != region:
            raise InputError(f"{path}: region {region!r} is no code of two letters, such as mx")
        counts[region] += split != "test"
    return counts


def check_enough(regions: list[RegionTexts], test_fraction: float) -> None:
    """Every region has texts to be compared on, as far as their number tells.

    Raises:
        InputError: for one that has too few.
    """
    for region in regions:
        kept_out = region.texts * test_fraction
        if kept_out < FEWEST_TEXTS:
            raise InputError(
                f"{', '.join(region.corpus.names())}: of {region.texts} texts about {kept_out:.0f} "
                f"would be kept out for the comparison, and an interval needs {FEWEST_TEXTS}: give more texts, or a "
                "larger --test_fraction"
            )


def describe(regions: list[RegionTexts], expected: list[str]) -> Iterator[str]:
    """What was found, and which regions were not."""
    for region in regions:
        names = ", ".join(region.corpus.names())
        counts = f"{region.texts:,} texts, {region.emoji_texts:,} for Emoji-15 ({names})"
        yield f"{region.code}: {counts}; {region.corpus.report.summary()}"
    if missing := sorted(set(expected) - {region.code for region in regions}):
        yield f"no texts of {', '.join(missing)}: the family has no model of {'it' if len(missing) == 1 else 'them'}"
