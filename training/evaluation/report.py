"""The report: Markdown made from the JSON of the results alone, beside the published figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.common.markdown import markdown_table
from training.evaluation import published
from training.evaluation.figures import TARGET_SETS, emoji_name
from training.evaluation.region_words import FEWEST
from training.evaluation.results import WAYS, models_in_order, number, regions_in_order, target_sets

MADE_BY = "<!-- Made by training/evaluate_family.py from the JSON files beside it. -->"
PUBLISHED_NOTE = (
    "In each cell ours, minus the published figure, and the difference. The published ones are from Tellez et al., "
    "arXiv 2110.06128, and the README of their package `bilma`: measured on the authors' own corpora of geotagged "
    "tweets, with models trained on up to 234 million of them. The texts differ from ours, so the patterns can be "
    "compared (which model is best where, and by how much) and the levels cannot."
)
MASKS_NOTE = (
    "What the authors put into their masked places is not published. If a tenth of them kept their token, as in "
    "BERT's training, their accuracies hold that much copying; here every place asked is hidden."
)


def check_replaceable(path: Path) -> None:
    """A report that lies there already was made by this program, and not written by the user.

    Raises:
        InputError: else.
    """
    if path.exists() and not path.read_bytes().startswith(MADE_BY.encode()):
        raise InputError(f"{path}: not a report of this program: move it away, or give another --output_dir")


def render(results: dict[str, dict[str, Any]], figures: Iterable[Path]) -> str:
    """The whole report; `figures` are the pictures to show, each under the result whose name it begins with."""
    figures = list(figures)
    parts = [MADE_BY, "# Comparing the regions"]
    for kind, result in results.items():
        heading, section = SECTIONS[kind]
        own = [path for path in figures if figure_kind(path, results) == kind]
        pictures = [f"![{path.stem.replace('_', ' ')}]({path.parent.name}/{path.name})" for path in own]
        parts += [f"## {heading}", *section(result), *pictures, provenance(result)]
    return "\n\n".join(parts) + "\n"


def figure_kind(path: Path, results: dict[str, Any]) -> str | None:
    kinds = {"emoji15": "emoji15_matrix"} | {kind: kind for kind in results}
    return next((kind for start, kind in kinds.items() if path.stem.startswith(start)), None)


def matrix_table(cells: Sequence[dict[str, Any]], score: str, result: dict[str, Any], digits: int = 3) -> str:
    """Test regions by models."""
    by_place = {(cell["region"], cell["model"]): cell for cell in cells}
    models = models_in_order(result)
    rows = [
        [region, *(number(by_place.get((region, model), {}).get(score), digits) for model in models)]
        for region in regions_in_order(result)
    ]
    return markdown_table(["texts of", *models], rows)


def draws(number: int) -> str:
    return "once" if number == 1 else f"{number} times over"


def how_it_was_asked(result: dict[str, Any]) -> list[str]:
    settings = result["settings"]
    hidden = "words" if result["kind"] == "per_word_matrix" else "tokens"
    return [
        f"{settings['mlm_probability']:.0%} of the {hidden} of each text are hidden, at least one, "
        f"{draws(settings['mask_draws'])}; all chosen ones become [MASK]. Every model is asked the same. "
        f"In brackets 95 % intervals, by {settings['resamples']:,} bootstrap samples of whole texts.",
        markdown_table(
            ["region", "files", "test texts", f"{hidden} asked"],
            [
                [corpus["region"], ", ".join(corpus["names"]), f"{corpus['test_texts']:,}", f"{corpus['targets']:,}"]
                for corpus in result["corpora"]
            ],
        ),
        *result["notes"],
    ]


def mlm_section(result: dict[str, Any]) -> list[str]:
    parts = how_it_was_asked(result)
    for targets in target_sets(result):
        cells = [cell for cell in result["cells"] if cell["targets"] == targets]
        for score, title, digits in (
            ("masked_accuracy", "Masked accuracy", 3),
            ("top_5_accuracy", "Right answer among the first five", 3),
            ("loss", "Loss (nats)", 3),
            ("perplexity", "Perplexity", 1),
        ):
            heading = f"### {title}, {TARGET_SETS[targets]}" if len(target_sets(result)) > 1 else f"### {title}"
            parts += [heading, matrix_table(cells, score, result, digits)]
    parts += comparison_section(result, "masked_accuracy_difference")
    if result["kind"] == "mlm_matrix":
        cells = [cell for cell in result["cells"] if cell["targets"] == "all"]
        parts += published_section(result, cells, "masked_accuracy", "mlm_accuracy", MASKS_NOTE)
    return parts


def comparison_section(result: dict[str, Any], score: str) -> list[str]:
    if not result["comparisons"]:
        return []
    rows = [
        [
            entry["region"],
            *([TARGET_SETS[entry["targets"]]] if "targets" in entry else []),
            entry["own"],
            entry["best_other"],
            number(entry[score]),
            "yes" if entry[score]["low"] > 0 else "no",
        ]
        for entry in result["comparisons"]
    ]
    targets = ["targets"] if "targets" in result["comparisons"][0] else []
    head = ["texts of", *targets, "own model", "best other", "difference of accuracy", "own is better"]
    return [
        "### Own model against the best other one",
        "The same texts are drawn again for both. The best other model was found on these same texts, which makes the "
        'difference look rather too small than too large. "Own is better" where the whole interval is above 0.',
        markdown_table(head, rows),
    ]


def ways_section(result: dict[str, Any]) -> list[str]:
    """Ways to make a model of a region, side by side, and by how much they differ from each other."""
    return [*how_it_was_asked(result), "### Masked accuracy", ways_table(result), "### Differences", *pairs(result)]


def way_of(name: str, region: str | None) -> str:
    """What is left of the names of models that differ by their regions."""
    return name.removesuffix(f"-{region}")


def ways_table(result: dict[str, Any]) -> str:
    """Test regions by ways, the best one bold; a model of no region is every region's."""
    by_region: dict[str, dict[str, dict[str, Any]]] = {}  # region -> way -> masked accuracy
    for cell in result["cells"]:
        if cell["targets"] == "all":
            way = way_of(cell["model"], cell["region"])
            by_region.setdefault(cell["region"], {})[way] = cell["masked_accuracy"]
    models = [way_of(model["name"], model["region"]) for model in result["models"]]
    baselines = [way for scores in by_region.values() for way in scores if way not in models]
    ways = list(dict.fromkeys([*models, *baselines]))
    rows = []
    for region, scores in by_region.items():
        best = max(scores, key=lambda way: scores[way]["value"])
        shown = {way: number(score) for way, score in scores.items()}
        shown[best] = f"**{shown[best]}**"
        rows.append([region, *(shown.get(way, "–") for way in ways)])
    return markdown_table(["texts of", *ways], rows)


def pairs(result: dict[str, Any]) -> list[str]:
    """Test regions by pairs of ways: the differences of their masked accuracies."""
    by_region: dict[str, dict[str, str]] = {}
    for entry in result["comparisons"]:
        if entry["targets"] == "all":
            ways = " − ".join(way_of(entry[which], entry["region"]) for which in ("model", "other"))
            difference = entry["masked_accuracy_difference"]
            clear = difference["low"] > 0 or difference["high"] < 0
            shown = number(difference)
            by_region.setdefault(entry["region"], {})[ways] = f"**{shown}**" if clear else shown
    columns = list(dict.fromkeys(ways for shown in by_region.values() for ways in shown))
    rows = [[region, *(shown.get(ways, "–") for ways in columns)] for region, shown in by_region.items()]
    return [
        "Differences of masked accuracy, the same texts drawn again for both; bold where the interval is clear of 0.",
        markdown_table(["texts of", *columns], rows),
    ]


def published_section(
    result: dict[str, Any], cells: Sequence[dict[str, Any]], score: str, name: str, *notes: str
) -> list[str]:
    """Ours, the published figure and the difference, where there is one for the regions of text and model."""
    figures = published.matrix(name)
    regions = {model["name"]: model["region"] for model in result["models"]}
    shown = {}
    for cell in cells:
        theirs = figures.get((cell["region"], regions.get(cell["model"])))
        if theirs is not None:
            ours = cell[score]["value"]
            shown[cell["region"], cell["model"]] = f"{ours:.3f} − {theirs:.3f} = {ours - theirs:+.3f}"
    if not shown:
        return []
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*shown, strict=True))
    table = [[region, *(shown.get((region, model), "–") for model in columns)] for region in rows]
    heading = "### Beside the published figures"
    return [heading, PUBLISHED_NOTE, *notes, markdown_table(["texts of", *columns], table)]


def completion_section(result: dict[str, Any]) -> list[str]:
    theirs = published.completions()
    regions = {model["name"]: model["region"] for model in result["models"]}
    parts = []
    for entry in result["phrases"]:
        columns = [
            [f"{answer['word']} {answer['probability']:.2f}" for answer in column["answers"]]
            for column in entry["by_model"]
        ]
        head = [column["model"] for column in entry["by_model"]]
        for region in dict.fromkeys(regions[name] for name in list(head)):
            words = theirs.get(entry["phrase"], {}).get(region)
            if words:
                head.append(f"published {region}")
                columns.append((words + [""] * len(columns[0]))[: len(columns[0])])
        rows = zip(*columns, strict=True)
        parts += [f"`{entry['phrase']}`", markdown_table(head, [list(row) for row in rows])]
    return parts


def words_section(result: dict[str, Any]) -> list[str]:
    rows = [
        [entry["model"], ", ".join(f"{word['word']} {word['difference']:+.2f}" for word in entry["words"])]
        for entry in result["by_model"]
    ]
    return [
        "For each model the words whose log-probability, over the hidden positions of all test sets, is most above "
        f"the mean of the other models (difference in nats), of those that the test texts hold {FEWEST} times or "
        "more. What a corpus is about shows here as well as how its region speaks.",
        markdown_table(["model", "words"], rows),
    ]


def similarity_section(result: dict[str, Any]) -> list[str]:
    rows = [[*pair["models"], number(pair["correlation"])] for pair in result["correlations"]]
    return [
        "Correlation of the models' log-probabilities for the right answers at the same hidden positions of all test "
        f"sets ({result['targets']:,}). The map shows {result['share_shown']:.0%} of the squared distances "
        "sqrt(2 - 2 r).",
        markdown_table(["model", "model", "correlation"], rows),
    ]


def emoji_section(result: dict[str, Any]) -> list[str]:
    rows = [[corpus["region"], ", ".join(corpus["names"]), f"{corpus['texts']:,}"] for corpus in result["corpora"]]
    legend = ", ".join(f"{label} {emoji_name(label)}" for label in result["labels"])
    return [
        f"One label a text, of {len(result['labels'])}: {legend}.",
        markdown_table(["region", "files", "test texts"], rows),
        *result.get("notes", []),  # earlier results have none
        "### Accuracy",
        matrix_table(result["cells"], "accuracy", result),
        "### Macro-F1",
        matrix_table(result["cells"], "macro_f1", result),
        *comparison_section(result, "accuracy_difference"),
        *published_section(result, result["cells"], "accuracy", "emoji15_accuracy"),
    ]


def provenance(result: dict[str, Any]) -> str:
    versions = result["versions"]
    return (
        f"<sub>Code {result['commit'] or 'of no commit'}; torch {versions['torch']}, transformers "
        f"{versions['transformers']}; {result['machine']['device']}; schema {result['schema_version']}; "
        f"fingerprints and settings are in {result['kind']}.json.</sub>"
    )


SECTIONS = {
    "mlm_matrix": ("Masked tokens: models by test regions", mlm_section),
    "per_word_matrix": ("Whole words: models by test regions", mlm_section),
    WAYS: ("Ways to make a model of a region", ways_section),
    "completions": ("Completions", completion_section),
    "region_words": ("Words of a region", words_section),
    "similarity": ("Similarity of the models", similarity_section),
    "emoji15_matrix": ("Emoji-15: models by test regions", emoji_section),
}
