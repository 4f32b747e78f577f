"""Count the forms of the items in texts of each region, and write their frequencies into the items.

    python regional_tests/count_forms.py --corpora FOLDER

FOLDER holds XX.jsonl.gz for each region code XX, and may hold more/XX_*.jsonl.gz; each line is an object with "text".
Frequencies are per million words. The same texts give the same files, so `git diff` shows whether a count is
reproduced. At the end it says how often the counts bear the items out. Only the standard library is needed.
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parent / "data"
REGIONS = ("ar", "cl", "co", "es", "mx", "us", "uy", "ve")
# People often leave accents out; ñ they keep.
WITHOUT_ACCENTS = str.maketrans("áéíóúüàèìòù", "aeiouuaeiou")
PLACEHOLDER = re.compile(r"@usuario|https://url")
Words = tuple[str, ...]


def words(text: str) -> Words:
    """Return the words of a text, lower-cased and without accents; placeholders and punctuation are no words."""
    text = PLACEHOLDER.sub(" ", text.lower()).translate(WITHOUT_ACCENTS)
    return tuple(re.findall(r"[^\W_]+", text))


def forms_of(item: dict) -> list[str]:
    """Return what an item is counted by: both sides of a pair, or all forms, and the word that a sense hangs on."""
    if item["kind"] == "grammar_pair":
        return [item["marked_a"], item["marked_b"]]
    forms = [item["word"]] if item["kind"] == "false_friend" else []
    return list(dict.fromkeys(forms + [form for region in item["forms"].values() for form in region]))


def region_files(corpora: Path, region: str) -> list[Path]:
    """Return the files of one region.

    Raises:
        FileNotFoundError: if the folder has no file for the region.
    """
    main = corpora / f"{region}.jsonl.gz"
    if not main.is_file():
        raise FileNotFoundError(f"{main} is missing: --corpora takes a folder with one XX.jsonl.gz for each region")
    return [main, *sorted((corpora / "more").glob(f"{region}_*.jsonl.gz"))]


def texts(files: list[Path]) -> Iterator[str]:
    for path in files:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def count(files: list[Path], wanted: set[Words]) -> tuple[Counter[Words], int]:
    """Return how often each word sequence occurs in the files, and how many words they have."""
    by_first: dict[str, list[Words]] = {}
    for sequence in wanted:
        by_first.setdefault(sequence[0], []).append(sequence)
    counts: Counter[Words] = Counter()
    total = 0
    for text in texts(files):
        found = words(text)
        total += len(found)
        for start, word in enumerate(found):
            for sequence in by_first.get(word, ()):
                if found[start : start + len(sequence)] == sequence:
                    counts[sequence] += 1
    return counts, total


def per_million(counts: Counter[Words], total: int, form: Words) -> float:
    return round(counts[form] * 1e6 / max(total, 1), 1)


def answers(item: dict) -> dict[str, list[str]]:
    """Return the forms that each region says."""
    if item["kind"] != "grammar_pair":
        return item["forms"]
    first = {region: [item["marked_a"]] for region in item["prefer_a"]}
    return first | {region: [item["marked_b"]] for region in item["prefer_b"]}


def comparisons(item: dict) -> Iterator[tuple[Words, str, str]]:
    """Yield each form with a region that says it and one that does not; nothing of an item that masks a context word.

    How often *llorar* is said in Chile is no evidence that *guagua* is a baby there.
    """
    regions = answers(item)
    if item["kind"] == "false_friend" and all(item["word"] not in forms for forms in regions.values()):
        return
    for region, forms in regions.items():
        for other, others in regions.items():
            for form in set(forms) - set(others):
                yield words(form), region, other


def borne_out(items: list[dict], counted: dict[str, tuple[Counter[Words], int]], least: int = 10) -> str:
    """Say in how many comparisons the form is the more frequent where the item says so.

    Comparisons that several items share count once; fewer than `least` occurrences in both regions do not decide.
    """
    right: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    for form, region, other in sorted({comparison for item in items for comparison in comparisons(item)}):
        (here, words_here), (there, words_there) = counted[region], counted[other]
        if here[form] + there[form] >= least:
            decided[region] += 1
            right[region] += here[form] * words_there > there[form] * words_here
    shares = ", ".join(f"{region} {right[region] / decided[region]:.2f}" for region in REGIONS if decided[region])
    return f"{right.total()} of {decided.total()} comparisons of regions borne out ({shares})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder of the texts")
    corpora = parser.parse_args().corpora
    items = {
        path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(DATA.glob("*.jsonl"))
    }
    wanted = {words(form) for file in items.values() for item in file for form in forms_of(item)}
    try:
        counted = {region: count(region_files(corpora, region), wanted) for region in REGIONS}
    except (OSError, ValueError, KeyError) as error:
        parser.error(" ".join(str(error).split()))
    for path, file in items.items():
        for item in file:
            item["frequencies"] = [
                {"form": form, **{region: per_million(*counted[region], words(form)) for region in REGIONS}}
                for form in forms_of(item)
            ]
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in file), encoding="utf-8")
        unfinished.replace(path)
        print(f"{path.stem}: {len(file)} items; {borne_out(file, counted)}")


if __name__ == "__main__":
    main()
