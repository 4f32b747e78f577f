"""The report: Markdown made from the JSON of the results alone, beside the published results."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.common.files import write_text
from training.common.markdown import markdown_table
from training.evaluation import published
from training.evaluation.classifier_report import classifiers_section
from training.evaluation.completions import as_text
from training.evaluation.figures import TARGET_SETS, draw_all, emoji_name
from training.evaluation.region_words import FEWEST
from training.evaluation.results import (
    ALL,
    CompletionsResult,
    CorpusFacts,
    EmojiResult,
    ItemCell,
    LabelledFacts,
    MatrixResult,
    RegionalTestsResult,
    RegionWordsResult,
    Result,
    models_in_order,
    number,
    read_results,
    regions_in_order,
    target_sets,
)
from training.evaluation.summary_report import summary_section
from training.evaluation.wins_report import comparison_section, seeds_section, wins_section
from training.evaluation.words import PLACEHOLDERS

MADE_BY = "<!-- Made by training/evaluate_family.py from the JSON files beside it. -->"
PUBLISHED_NOTE = (
    "Each cell shows our accuracy minus the published one. The published results are from Tellez et al., arXiv "
    "2110.06128, and the README of their package `bilma`: models trained on up to 234 million geotagged tweets and "
    "tested on tweets of the same collection. Our texts differ, so compare patterns (which model is best where, and "
    "by how much), not levels."
)
MASKS_NOTE = (
    "How the authors masked is not published. If a tenth of their masked tokens stayed as they were, as in BERT's "
    "training, copying is part of their accuracies; here every masked token is hidden."
)

NO_WORDS_NOTE = (
    f"Words are all tokens but placeholders ({', '.join(f'`{piece}`' for piece in sorted(PLACEHOLDERS))}: pieces of "
    "`_usr`, `_url`, `_htag`), punctuation, numbers, and marks that belong to the character before. Emoji count as "
    "words. Special tokens are never masked."
)


def write_report(output_dir: Path) -> Path:
    """Draw the figures of a folder's results and write its report; return the report's path.

    Raises:
        InputError: as `check_replaceable` and `read_results` do.
    """
    report = output_dir / "report.md"
    check_replaceable(report)
    results = read_results(output_dir)
    if "completions" in results:
        write_text(output_dir / "completions.txt", as_text(results["completions"]) + "\n")
    write_text(report, render(results, draw_all(results, output_dir / "figures")))
    return report


def check_replaceable(path: Path) -> None:
    """Check that a report that is there already is not the user's own.

    Raises:
        InputError: if this program did not write it.
    """
    if path.exists() and not path.read_bytes().startswith(MADE_BY.encode()):
        raise InputError(f"{path}: not a report of this program: move it away, or give another --output_dir")


def render(results: dict[str, Any], figures: Iterable[Path]) -> str:
    """Render the whole report; each of `figures` is shown under the result whose name it begins with."""
    figures = list(figures)
    parts = [MADE_BY, "# Comparing the regions", *summary_section(results)]
    for kind, result in results.items():
        heading, section = SECTIONS[kind]
        own = [path for path in figures if figure_kind(path, results) == kind]
        pictures = [f"![{path.stem.replace('_', ' ')}]({path.parent.name}/{path.name})" for path in own]
        parts += [f"## {heading}", *section(result), *pictures, provenance(result)]
    return "\n\n".join(parts) + "\n"


def figure_kind(path: Path, results: dict[str, Any]) -> str | None:
    kinds = {"emoji15": "emoji15_matrix"} | {kind: kind for kind in results}
    return next((kind for start, kind in kinds.items() if path.stem.startswith(start)), None)


def matrix_table(cells: Sequence[Any], score: str, result: MatrixResult | EmojiResult, digits: int = 3) -> str:
    """A table of test regions by models."""
    by_place = {(cell["region"], cell["model"]): cell for cell in cells}
    models = models_in_order(result)
    rows = [
        [region, *(number(by_place.get((region, model), {}).get(score), digits) for model in models)]
        for region in regions_in_order(result)
    ]
    return markdown_table(["texts of", *models], rows)


def draws(number: int) -> str:
    return "once" if number == 1 else f"{number} times over"


def method(result: MatrixResult) -> list[str]:
    settings = result["settings"]
    units = "words" if result["kind"] == "per_word_matrix" else "tokens"
    return [
        f"{settings['mlm_probability']:.0%} of the {units} of each text are masked, at least one, "
        f"{draws(settings['mask_draws'])}; all of them become [MASK], the same ones for every model. In brackets 95 % "
        f"intervals, from {settings['resamples']:,} bootstrap samples of whole authors, or of whole texts where no "
        "author is named.",
        NO_WORDS_NOTE,
        markdown_table(
            ["region", "files", "test texts", f"masked {units}", "intervals draw"],
            [
                [
                    corpus["region"],
                    ", ".join(corpus["names"]),
                    f"{corpus['test_texts']:,}",
                    f"{corpus['targets']:,}",
                    resampled(corpus),
                ]
                for corpus in result["corpora"]
            ],
        ),
        *result["notes"],
    ]


def resampled(corpus: CorpusFacts | LabelledFacts) -> str:
    return "texts" if corpus.get("resampled", "texts") == "texts" else f"{corpus['authors']:,} authors"


def mlm_section(result: MatrixResult) -> list[str]:
    parts = [*wins_section(result["wins"], result), *method(result)]
    for score, title, digits in (
        ("masked_accuracy", "Masked accuracy", 3),
        ("top_5_accuracy", "Right answer among the first five", 3),
        ("loss", "Loss (nats)", 3),
        ("perplexity", "Perplexity", 1),
    ):
        for targets in target_sets(result):
            cells = [cell for cell in result["cells"] if cell["targets"] == targets]
            parts += [f"### {title}, {TARGET_SETS[targets]}", matrix_table(cells, score, result, digits)]
    titles = {"masked_accuracy_difference": "accuracy", "loss_reduction": "less loss (nats)"}
    parts += seeds_section(result) + comparison_section(result["comparisons"], titles)
    if result["kind"] == "mlm_matrix":
        cells = [cell for cell in result["cells"] if cell["targets"] == ALL]
        parts += published_section(result, cells, "masked_accuracy", "mlm_accuracy", MASKS_NOTE)
    return parts


def published_section(
    result: MatrixResult | EmojiResult, cells: Sequence[Any], score: str, name: str, *notes: str
) -> list[str]:
    """Our accuracy, the published one and the difference, where one is published for the regions of text and model."""
    figures = published.matrix(name)
    regions = {model["name"]: model["region"] for model in result["models"]}
    shown = {}
    for cell in cells:
        theirs = figures.get((cell["region"], regions.get(cell["model"]) or ""))
        if theirs is not None:
            ours = cell[score]["value"]
            shown[cell["region"], cell["model"]] = f"{ours:.3f} − {theirs:.3f} = {ours - theirs:+.3f}"
    if not shown:
        return []
    rows, columns = (list(dict.fromkeys(names)) for names in zip(*shown, strict=True))
    table = [[region, *(shown.get((region, model), "–") for model in columns)] for region in rows]
    heading = "### Beside the published results"
    return [heading, PUBLISHED_NOTE, *notes, markdown_table(["texts of", *columns], table)]


def completion_section(result: CompletionsResult) -> list[str]:
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
            words = theirs.get(entry["phrase"], {}).get(region or "")
            if words:
                head.append(f"published {region}")
                columns.append((words + [""] * len(columns[0]))[: len(columns[0])])
        rows = zip(*columns, strict=True)
        parts += [f"`{entry['phrase']}`", markdown_table(head, [list(row) for row in rows])]
    return parts


def words_section(result: RegionWordsResult) -> list[str]:
    rows = [
        [entry["model"], ", ".join(f"{word['word']} {word['difference']:+.2f}" for word in entry["words"])]
        for entry in result["by_model"]
    ]
    return [
        "For each model the words whose mean log-probability at the masked positions of all test sets exceeds the "
        f"mean of the other models most (difference in nats), among those that occur {FEWEST} times or more in the "
        "test texts. They show what a corpus is about as well as how its region speaks.",
        markdown_table(["model", "words"], rows),
    ]


def emoji_section(result: EmojiResult) -> list[str]:
    rows = [
        [corpus["region"], ", ".join(corpus["names"]), f"{corpus['texts']:,}", resampled(corpus)]
        for corpus in result["corpora"]
    ]
    legend = ", ".join(f"{label} {emoji_name(label)}" for label in result["labels"])
    return [
        *wins_section(result["wins"], result),
        f"Each text has one of {len(result['labels'])} labels: {legend}.",
        markdown_table(["region", "files", "test texts", "intervals draw"], rows),
        *result["notes"],
        "### Accuracy",
        matrix_table(result["cells"], "accuracy", result),
        "### Macro-F1",
        matrix_table(result["cells"], "macro_f1", result),
        *comparison_section(result["comparisons"], {"accuracy_difference": "accuracy"}),
        *published_section(result, result["cells"], "accuracy", "emoji15_accuracy"),
    ]


def regional_section(result: RegionalTestsResult) -> list[str]:
    parts = [
        f"{result['items']:,} items. A form's score is the sum of its tokens' log-probabilities in the sentence, from "
        "left to right: the token and those after it in its word are masked. *Chosen*: share of items where the best "
        "form of the region beats every form that only other regions use. *Gain*: that less the share of a model of "
        "no region, which finds common forms without knowing any region. *Steered*: share of pairs (own region, other "
        "region) where the own region's model finds the forms that the other lacks likelier than the other's does. In "
        "brackets 95 % intervals from bootstrap samples of whole concepts."
    ]
    for kind in dict.fromkeys(cell["kind"] for cell in result["cells"]):
        rows = [
            [
                cell["region"],
                cell["model"],
                f"{cell['count']:,}",
                f"{cell['left_out']:,}",
                number(cell["chosen"]),
                number(cell["gain"]),
                number(cell["steered"]),
            ]
            for cell in result["cells"]
            if cell["kind"] == kind and shown_in_report(cell, result)
        ]
        head = ["forms of", "model", "items", "left out", "chosen", "gain", "steered"]
        parts += [f"### {kind.replace('_', ' ').capitalize()}", markdown_table(head, rows)]
    return parts


def shown_in_report(cell: ItemCell, result: RegionalTestsResult) -> bool:
    """Whether the model is of the region of the forms, or of none; the others are in the JSON and the figure."""
    regions = {model["name"]: model["region"] for model in result["models"]}
    return regions[cell["model"]] in (cell["region"], None)


def provenance(result: Result) -> str:
    versions = result["versions"]
    return (
        f"<sub>Code {result['commit'] or 'outside a git checkout'}; torch {versions['torch']}, transformers "
        f"{versions['transformers']}; {result['machine']['device']}; schema {result['schema_version']}; "
        f"fingerprints and settings are in {result['kind']}.json.</sub>"
    )


SECTIONS: dict[str, tuple[str, Callable[[Any], list[str]]]] = {
    "mlm_matrix": ("Which models know their region: masked tokens", mlm_section),
    "per_word_matrix": ("Whole words: models by test regions", mlm_section),
    "completions": ("Completions", completion_section),
    "region_words": ("Words of a region", words_section),
    "regional_tests": ("Tests of regional knowledge", regional_section),
    "emoji15_matrix": ("Emoji-15: models by test regions", emoji_section),
    "classifiers": ("Classifiers against simple methods", classifiers_section),
}
