"""The family at a glance: the generated part of `model_cards/README.md`, from results and each metrics.json."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from training.common.errors import InputError
from training.common.files import read_json
from training.common.markdown import markdown_table
from training.evaluation import published
from training.evaluation.figures import heatmap
from training.evaluation.ngrams import NEAREST
from training.evaluation.region_words import FEWEST
from training.evaluation.results import number
from training.publishing.card import count_parameters, duration, started_from
from training.publishing.card_evaluation import PUBLISHED, TOP_COMPLETIONS, TOP_WORDS, Results
from training.publishing.eval_results import EVALUATIONS, RESULTS
from training.publishing.publication import Publication
from training.publishing.tree import WEIGHTS

FIGURES = "figures"
PUBLISHED_NAMES = {"mlm_matrix": "published_mlm_accuracy", "emoji15_matrix": "published_emoji15_accuracy"}
OUR_FIGURES = {"mlm_matrix": "mlm_matrix_masked_accuracy_all", "emoji15_matrix": "emoji15_accuracy"}
CLASSIFIERS_FILE = f"{RESULTS}/classifiers.json"
STAGES_FILE = f"{RESULTS}/stages.json"
OURS = "ours"  # among the methods of a task
TITLES = {"mlm_matrix": "Masked tokens", "emoji15_matrix": "Emoji-15"}


@dataclass(frozen=True)
class FamilyModel:
    """A model of a region, its name in the results, and its metrics.json."""

    publication: Publication
    name: str
    metrics: dict[str, Any]
    parameters: int

    @property
    def region(self) -> str:
        return self.publication.region.code

    @property
    def fills_masks(self) -> bool:
        return self.publication.pipeline_tag == "fill-mask"


@dataclass(frozen=True)
class WaysComparison:
    """The comparison of ways that one run of train_family.py made.

    Args:
        result: the matrix in which they are compared.
        file: where that stands, seen from the page.
        passes: over the texts, of everything that a model of the first way has been through: fewest and most.
        adapted: whether those went on from a base.
        shown_above: whether they are the models of the page.
    """

    result: dict[str, Any]
    file: str
    passes: tuple[float, float]
    adapted: bool
    shown_above: bool


def open_model(publication: Publication, name: str) -> FamilyModel:
    """Raises `InputError` if the folder is not finished."""
    metrics = read_json(publication.folder / "metrics.json")
    return FamilyModel(publication, name, metrics, count_parameters(publication.folder / WEIGHTS))


def render_page(
    models: Sequence[FamilyModel],
    results: Results,
    ways: Sequence[WaysComparison],
    classifiers: Sequence[dict[str, Any]],
    stages: dict[str, float],
) -> str:
    """The page, in Markdown.

    Args:
        ways: comparisons of several ways to make the models.
        classifiers: of each its task, its model, and the test scores of it and of simple methods.
        stages: of each stage of train_family.py, its seconds.
    """
    parts = [
        "## The family at a glance",
        models_table(models, results),
        f"`{NEAREST}` answers with the token that stood most often between the same neighbours in the training texts. "
        "Masked accuracy, perplexity and Emoji-15 accuracy are those on the test texts of the model's own region, in "
        "brackets 95 % intervals. How they were measured, and all else that was, is in "
        f"[the report]({RESULTS}/report.md).",
    ]
    if have_base(models):
        parts.append(
            "Each was adapted from one base, trained on the texts of all regions; what it read comes after what the "
            "base read, which the cards say."
        )
    for kind in PUBLISHED_NAMES:
        if kind in results:
            parts += [f"### {TITLES[kind]}: ours and the published", pictures_of(kind)]
    parts.append("The texts differ, and what the authors masked with is not published: compare patterns, not levels.")
    if classifiers:
        parts += ["### Classifiers beside simple methods", *classifiers_section(classifiers)]
    if ways:
        parts += ["### Ways to make a model of a region", *ways_section(ways)]
    parts += ["### Completions", completions_table(models, results["completions"])]
    if "region_words" in results:
        parts += ["### Words of a region", *words_section(models, results["region_words"])]
    if "similarity" in results:
        pictures = ("similarity", "correlations of the models"), ("similarity_map", "map of the models")
        parts += [
            "### Which models are alike",
            *(f"![{name}]({RESULTS}/{FIGURES}/{file}.png)" for file, name in pictures),
        ]
    parts += ["### Time and machine", *cost_section(models, results, stages)]
    return "\n\n".join(parts)


def models_table(models: Sequence[FamilyModel], results: Results) -> str:
    classifiers = {model.region: model for model in models if not model.fills_masks}
    rows = []
    for model in models:
        if not model.fills_masks:
            continue
        training, home = model.metrics["training"], cell_at_home(model, results)
        classifier = classifiers.get(model.region)
        neighbours = find_cell(NEAREST, model.region, results["mlm_matrix"])
        rows.append(
            [
                model.region,
                link(model),
                f"{model.parameters:,}",
                f"{training['texts']:,}",
                f"{training['texts_seen']:,}",
                number(home["masked_accuracy"]),
                number(home["perplexity"], 1),
                number(neighbours["masked_accuracy"]) if neighbours else "–",
                number(cell_at_home(classifier, results)["accuracy"]) if classifier else "–",
                link(classifier) if classifier else "–",
            ]
        )
    head = ["region", "model", "parameters", "texts", "read", "masked accuracy", "perplexity", NEAREST, "Emoji-15", ""]
    return markdown_table(head, rows)


def have_base(models: Sequence[FamilyModel]) -> bool:
    """Whether the models were adapted from one of all regions."""
    arguments = (read_json(model.publication.folder / "training_args.json") for model in models if model.fills_masks)
    return all(started_from(told) is not None for told in arguments)


def link(model: FamilyModel) -> str:
    return f"[{model.publication.name}]({model.publication.name}/README.md)"


def cell_at_home(model: FamilyModel, results: Results) -> dict[str, Any]:
    """The scores of a model on all targets of its own region's texts."""
    result = results[EVALUATIONS[model.publication.pipeline_tag].kind]
    cell = find_cell(model.name, model.region, result)
    if cell is None:
        raise InputError(f"{model.name} was not asked about the texts of {model.region}: compare them again")
    return cell


def find_cell(model: str, region: str, result: dict[str, Any]) -> dict[str, Any] | None:
    """The scores of a model or baseline on all targets of a region."""
    for cell in result["cells"]:
        if (cell["model"], cell["region"], cell.get("targets", "all")) == (model, region, "all"):
            return cell
    return None


def pictures_of(kind: str) -> str:
    ours, theirs = (f"{RESULTS}/{FIGURES}/{name}.png" for name in (OUR_FIGURES[kind], PUBLISHED_NAMES[kind]))
    return f"![{TITLES[kind]}: ours]({ours})\n\n![{TITLES[kind]}: published]({theirs})"


def published_figures(results: Results) -> Iterator[tuple[str, Figure]]:
    """The published matrices that stand beside ours, drawn as ours are, with their names."""
    for kind, name in PUBLISHED_NAMES.items():
        if kind in results:
            yield name, published_heatmap(kind)


def published_heatmap(kind: str) -> Figure:
    scores = published.matrix(PUBLISHED[kind])
    tested, trained = (sorted(set(codes)) for codes in zip(*scores, strict=True))  # in the order of ours
    values = [[scores[region, model] for model in trained] for region in tested]
    labels = [[f"{value:.3f}" for value in row] for row in values]
    title = f"{TITLES[kind]}: accuracy as the authors published it"
    return heatmap(np.array(values), labels, tested, trained, title, "texts of", "model of")


def ways_section(ways: Sequence[WaysComparison]) -> list[str]:
    """Each region's own model of every way, on its texts; a model of all regions is every region's."""
    parts = [
        "Masked accuracy on the texts of the region. All ways of a table have read equally many texts, over all "
        "regions together and the base included. `scratch`: trained on the region's texts alone. `one-model`: trained "
        "on those of all, each behind a token of its region. `one-adapted`: the base, trained on like that."
    ]
    for one in ways:
        whose = "the models above" if one.shown_above else "models of a run of its own"
        made = "adapted from a base" if one.adapted else "trained from scratch"
        passes = " to ".join(f"{number:.3g}" for number in dict.fromkeys(one.passes))
        parts += [
            f"**{passes} passes in all**; `bilma` are {whose}, {made}. [All figures]({one.file}).",
            ways_table(one.result),
            *pairs(one.result),
        ]
    return parts


def classifiers_section(classifiers: Sequence[dict[str, Any]]) -> list[str]:
    """Accuracy and macro-F1 of each task and model, the best accuracy bold."""
    rows = []
    for row in classifiers:
        best = max(scores["accuracy"] for scores in row["test"].values())
        shown = []
        for scores in row["test"].values():
            both = f"{scores['accuracy']:.3f} / {scores['macro_f1']:.3f}"
            shown.append(f"**{both}**" if scores["accuracy"] == best else both)
        learnt, tested = (row["texts"][part]["texts"] for part in ("train", "test"))
        half_width = 1.96 * 0.5 / tested**0.5
        rows.append([row["task"], row["model"], f"{learnt:,}", f"{tested:,}", f"±{half_width:.3f}", *shown])
    ahead = sum(max(row["test"], key=lambda name: row["test"][name]["accuracy"]) == OURS for row in classifiers)
    return [
        f"Ours has the best accuracy in {ahead} of {len(classifiers)} rows.",
        "Accuracy / macro-F1 on test texts of the region, after fine-tuning on its own training texts. Beside ours: "
        "the commonest label, and a linear classifier of TF-IDF of characters, of TF-IDF of words, and of fastText "
        "vectors learnt from the region's texts. ± is half of the 95 % interval of an accuracy of a half, the widest "
        "there is. Scores are those of finetune.py, in its precision; the matrix above is made in fp32. "
        f"[All figures]({CLASSIFIERS_FILE}).",
        markdown_table(["task", "model", "texts to learn", "to test", "±", *classifiers[0]["test"]], rows),
    ]


def completions_table(models: Sequence[FamilyModel], result: dict[str, Any]) -> str:
    """Of each region and phrase the likeliest words, and those that the authors report for their model."""
    theirs = published.completions()
    ours = {
        (column["model"], entry["phrase"]): [answer["word"] for answer in column["answers"]]
        for entry in result["phrases"]
        for column in entry["by_model"]
    }
    phrases = [entry["phrase"] for entry in result["phrases"]]
    rows = []
    for model in models:
        if model.fills_masks:
            rows.append([model.region, "ours", *(first_words(ours[model.name, phrase]) for phrase in phrases)])
            told = [theirs.get(phrase, {}).get(model.region, []) for phrase in phrases]
            rows.append([model.region, "published", *map(first_words, told)])
    return markdown_table(["region", "", *(f"`{phrase}`" for phrase in phrases)], rows)


def first_words(words: Sequence[str]) -> str:
    return " · ".join(words[:TOP_COMPLETIONS]) or "–"


def words_section(models: Sequence[FamilyModel], result: dict[str, Any]) -> list[str]:
    words = {entry["model"]: [word["word"] for word in entry["words"][:TOP_WORDS]] for entry in result["by_model"]}
    rows = [[model.region, ", ".join(words[model.name])] for model in models if model.fills_masks]
    return [
        "Those that a model prefers where the others do not, of words that the test texts hold "
        f"{FEWEST} times or more. What its texts are about shows here as much as how the region speaks.",
        markdown_table(["region", "words"], rows),
    ]


def cost_section(models: Sequence[FamilyModel], results: Results, stages: dict[str, float]) -> list[str]:
    """How long every stage took, and on what; the machines are those that the models and results name."""
    made_on = [model.metrics["machine"] for model in models] + [result["machine"] for result in results.values()]
    machines = dict.fromkeys(machine_in_words(machine) for machine in made_on)
    rows = [[name, duration(seconds)] for name, seconds in stages.items()]
    rows.append(["**together**", f"**{duration(sum(stages.values()))}**"])
    return [
        f"On {' and '.join(machines)}. A stage counts in full if another ran beside it; trials before do not count.",
        markdown_table(["stage", "time"], rows),
    ]


def machine_in_words(machine: dict[str, Any]) -> str:
    if "gpus" in machine:
        return machine["device"]
    return f"{machine['device']}, {machine['threads']} of {machine['cores']} cores"
