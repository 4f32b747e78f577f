"""Pictures of results, drawn from their JSON alone, as PNG and SVG.

The colours are those of cividis, which colour-blind readers see as others do, and every cell says its number.
"""

import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.image import AxesImage
from matplotlib.text import Annotation

from training.evaluation.results import models_in_order, regions_in_order, target_sets

COLOURS = "cividis"
DARK, LIGHT = "#111111", "#ffffff"
TARGET_SETS = {"all": "all targets", "without_trivial": "without trivial targets"}
NAME_WIDTH, NAME_HEIGHT, NAME_OFFSET = 70, 13, 18  # of a name beside a point, in points of the page
plt.rcParams["svg.hashsalt"] = "bilma"  # the same picture is the same file
plt.rcParams["svg.fonttype"] = "none"  # text stays text


def draw_all(results: dict[str, dict[str, Any]], folder: Path) -> list[Path]:
    """Every picture of the results given, in `folder`; returns the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for kind, result in results.items():
        for name, figure in FIGURES.get(kind, no_figures)(result):
            drawn.append(save(figure, folder / name))
    return drawn


def save(figure: Figure, path: Path) -> Path:
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        figure.savefig(path.with_suffix(suffix), dpi=150, metadata=metadata)
        figure.set_layout_engine("none")  # where everything stands is found by now
    plt.close(figure)
    return path.with_suffix(".png")


@cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))


def printable(text: str) -> str:
    """A text that the font can write: a sign it lacks, such as some emoji, by its name."""
    return "".join(
        character if _font().get_char_index(ord(character)) else f"<{unicodedata.name(character, 'unknown').lower()}>"
        for character in text
    )


def text_colour(background: Sequence[float]) -> str:
    """Dark on bright cells and light on dark ones, by the luminance of sRGB (WCAG 2)."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in background[:3]]
    return DARK if np.dot(linear, (0.2126, 0.7152, 0.0722)) > 0.18 else LIGHT


def shaded(
    axis: Axes, values: np.ndarray, labels: Sequence[Sequence[str]], low: float, high: float, size: float
) -> AxesImage:
    """Cells shaded by value with a text in each; one without a value stays white."""
    colours = plt.get_cmap(COLOURS)
    image = axis.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        shade = colours((value - low) / (high - low)) if np.isfinite(value) else (1, 1, 1)
        axis.text(column, row, labels[row][column], ha="center", va="center", fontsize=size, color=text_colour(shade))
    axis.tick_params(length=0)
    axis.set_xticks(np.arange(-0.5, values.shape[1]), minor=True)
    axis.set_yticks(np.arange(-0.5, values.shape[0]), minor=True)
    axis.grid(which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="minor", length=0)
    axis.spines[:].set_visible(False)
    return image


def heatmap(
    values: np.ndarray,
    labels: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    row_title: str,
    column_title: str,
    compared: int | None = None,
    cell: tuple[float, float] = (1.15, 0.75),
) -> Figure:
    """A matrix as a picture: rows and columns with their names, a number in each cell, and a scale.

    The scale spans the first `compared` columns (default: all), so that others do not wash out what is compared. A
    cell is so many inches wide and high.
    """
    figure, axis = plt.subplots(
        figsize=(2.6 + cell[0] * len(columns), 1.9 + cell[1] * len(rows)), layout="constrained"
    )
    spanned = values[:, :compared]
    low = float(np.nanmin(spanned))
    high = max(float(np.nanmax(spanned)), low + 0.001)  # a scale, even where all is the same
    image = shaded(axis, values, labels, low, high, size=10)
    axis.set_xticks(range(len(columns)), columns, rotation=40, ha="left", rotation_mode="anchor")
    axis.set_yticks(range(len(rows)), rows)
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.set(xlabel=column_title, ylabel=row_title)
    if compared is not None and compared < len(columns):
        axis.axvline(compared - 0.5, color="white", linewidth=8)
    beyond = "both" if spanned.size < values.size else "neither"
    figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02, extend=beyond)
    figure.suptitle(title, fontsize=11)
    return figure


def score_text(estimate: dict[str, float]) -> str:
    """A value over half the width of its interval, or alone where it has none."""
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f}\n±{(estimate['high'] - estimate['low']) / 2:.3f}"


def matrix_heatmap(result: dict[str, Any], cells: Sequence[dict[str, Any]], score: str, title: str) -> Figure:
    """Test regions by models, then baselines: the score of each cell over half the width of its 95 % interval."""
    rows, columns = regions_in_order(result), models_in_order(result)
    values = np.full((len(rows), len(columns)), np.nan)
    labels = [["–"] * len(columns) for _ in rows]
    for cell in cells:
        if (estimate := cell[score]) is not None:
            row, column = rows.index(cell["region"]), columns.index(cell["model"])
            values[row, column] = estimate["value"]
            labels[row][column] = score_text(estimate)
    return heatmap(values, labels, rows, columns, title, "texts of", "model", len(result["models"]))


def matrix_figures(result: dict[str, Any]) -> list[tuple[str, Figure]]:
    what = "Whole words" if result["kind"] == "per_word_matrix" else "Masked tokens"
    figures = []
    for targets in target_sets(result):
        cells = [cell for cell in result["cells"] if cell["targets"] == targets]
        for score, title in (("masked_accuracy", "masked accuracy"), ("loss", "loss (nats)")):
            name = f"{result['kind']}_{score}_{targets}"
            heading = f"{what}: {title}, {TARGET_SETS[targets]}, with 95 % intervals"
            figures.append((name, matrix_heatmap(result, cells, score, heading)))
    return figures


def emoji_figures(result: dict[str, Any]) -> list[tuple[str, Figure]]:
    figures = [
        (f"emoji15_{score}", matrix_heatmap(result, result["cells"], score, f"Emoji-15: {title}, 95 % intervals"))
        for score, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    ]
    names = [emoji_name(label) for label in result["labels"]]
    for model in (entry["name"] for entry in result["models"]):
        counts = sum(np.array(cell["confusion"]) for cell in result["cells"] if cell["model"] == model)
        with np.errstate(invalid="ignore"):
            shares = counts / counts.sum(1, keepdims=True)
        labels = [[str(count) if count else "" for count in row] for row in counts]
        title = f"{model}: number of texts, shaded by the share of their emoji's texts"
        figure = heatmap(shares, labels, names, names, title, "emoji of the text", "guess", cell=(0.5, 0.4))
        figures.append((f"emoji15_confusion_{model}", figure))
    return figures


def emoji_name(label: str) -> str:
    """An emoji with its name, since fonts lack many of them: `smiling face with smiling eyes`."""
    if len(label) != 1:
        return label
    name = unicodedata.name(label, label).lower()
    return name.removesuffix(" sign").replace(" face with ", " with ")


def completion_figures(result: dict[str, Any]) -> list[tuple[str, Figure]]:
    """A block for each phrase, a column for each model, a row for each rank; the shade is the probability."""
    phrases, models = result["phrases"], [model["name"] for model in result["models"]]
    ranks = result["settings"]["top_k"]
    figure, axes = plt.subplots(
        len(phrases),
        1,
        figsize=(1.5 + 1.9 * len(models), len(phrases) * (0.7 + 0.26 * ranks)),
        squeeze=False,
        layout="constrained",
    )
    for axis, phrase in zip(axes[:, 0], phrases, strict=True):
        answers = {entry["model"]: entry["answers"] for entry in phrase["by_model"]}
        values = np.array([[answers[model][rank]["probability"] for model in models] for rank in range(ranks)])
        labels = [
            [
                f"{printable(answers[model][rank]['word'])}  {values[rank, number]:.2f}"
                for number, model in enumerate(models)
            ]
            for rank in range(ranks)
        ]
        image = shaded(axis, values, labels, 0.0, max(values.max(), 0.01), size=8.5)
        axis.set_title(phrase["phrase"], loc="left", fontsize=10, fontweight="bold")
        axis.set_xticks(range(len(models)), models)
        axis.set_yticks(range(ranks), range(1, ranks + 1))
        figure.colorbar(image, ax=axis, pad=0.02, label="probability")
    return [("completions", figure)]


def similarity_figures(result: dict[str, Any]) -> list[tuple[str, Figure]]:
    models = [model["name"] for model in result["models"]]
    values = np.eye(len(models))
    labels = [["1"] * len(models) for _ in models]
    for pair in result["correlations"]:
        estimate = pair["correlation"]
        row, column = map(models.index, pair["models"])
        for place in ((row, column), (column, row)):
            values[place] = estimate["value"]
            labels[place[0]][place[1]] = score_text(estimate)
    np.fill_diagonal(values, np.nan)  # a model and itself would take all the shades
    title = "Similarity: correlation of log-probabilities of the hidden tokens"
    return [
        ("similarity", heatmap(values, labels, models, models, title, "model", "model")),
        ("similarity_map", similarity_map(result)),
    ]


def similarity_map(result: dict[str, Any]) -> Figure:
    figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
    x, y = (np.array([point[name] for point in result["map"]]) for name in ("x", "y"))
    axis.scatter(x, y, s=60, color=plt.get_cmap(COLOURS)(0.2))
    axis.set_aspect("equal", adjustable="datalim")
    axis.margins(0.3)
    axis.grid(alpha=0.3)
    axis.set_title(
        f"Models by similarity: near is alike\n{result['share_shown']:.0%} of the squared distances shown", fontsize=11
    )
    axis.set(xlabel="first dimension", ylabel="second dimension")
    name_points(axis, {point["model"]: (point["x"], point["y"]) for point in result["map"]})
    return figure


def name_points(axis: Axes, points: dict[str, tuple[float, float]]) -> list[Annotation]:
    """A name beside each point; those of neighbours stand one above the other, each tied to its point by a line."""
    axis.figure.canvas.draw()  # where the points are on the page is known only then
    to_points = 72 / axis.figure.dpi
    places = {name: axis.transData.transform(place) * to_points for name, place in points.items()}
    names: list[Annotation] = []
    taken: list[tuple[float, float]] = []
    for name, (x, y) in sorted(places.items(), key=lambda item: item[1][1]):
        height = y
        for other_x, other_height in taken:
            if abs(other_x - x) < NAME_WIDTH and height < other_height + NAME_HEIGHT:
                height = other_height + NAME_HEIGHT
        taken.append((x, height))
        line = {"arrowstyle": "-", "linewidth": 0.6, "color": "gray", "shrinkA": 0, "relpos": (0, 0.5)}
        offset = (NAME_OFFSET, height - y)
        style = {"textcoords": "offset points", "va": "center", "arrowprops": line}
        names.append(axis.annotate(name, points[name], xytext=offset, **style))
    return names


def no_figures(result: dict[str, Any]) -> list[tuple[str, Figure]]:
    return []


FIGURES = {
    "mlm_matrix": matrix_figures,
    "per_word_matrix": matrix_figures,
    "completions": completion_figures,
    "similarity": similarity_figures,
    "emoji15_matrix": emoji_figures,
}
