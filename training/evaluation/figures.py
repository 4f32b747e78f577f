"""Figures of results, drawn from their JSON alone, as PNG and SVG.

The colours are those of cividis, which colour-blind readers see as others do, and every cell shows its number.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.image import AxesImage
from PIL import Image

from training.common.files import replace_file
from training.evaluation.results import (
    ALL,
    WORDS,
    CompletionsResult,
    EmojiResult,
    Estimate,
    MatrixResult,
    RegionalTestsResult,
    models_in_order,
    regions_in_order,
    target_sets,
)

COLOURS = "cividis"
DARK, LIGHT = "#111111", "#ffffff"
TARGET_SETS = {WORDS: "words", ALL: "all tokens"}
SVG: Any = {"svg.hashsalt": "bilma", "svg.fonttype": "none"}  # the same figure gives the same file; text stays text


def draw_all(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every figure of the results in `folder`, and return the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: list[Path] = []
    for kind, result in results.items():
        if kind in FIGURES:
            drawn += [save(figure, folder / name) for name, figure in FIGURES[kind](result)]
    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Save a figure as PNG and SVG, and return the PNG file."""
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        with rc_context(SVG), replace_file(path.with_suffix(suffix)) as beside:
            figure.savefig(beside, format=suffix.removeprefix("."), dpi=150, metadata=metadata)
            if suffix == ".png":
                reduce_colours(beside)
        figure.set_layout_engine("none")  # the first drawing has placed everything
    return path.with_suffix(".png")


def reduce_colours(path: Path) -> None:
    """Write a PNG file with a palette of 256 colours, at a third of its size."""
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    reduced.save(path, format="png", optimize=True)


@cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont("DejaVu Sans"))


def printable(text: str) -> str:
    """Replace each character that the font lacks, such as some emoji, by its name."""
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
    """Shade cells by value, with a text in each; one without a value stays white."""
    colours = colormaps[COLOURS]
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
    """Draw a matrix: rows and columns with their names, a number in each cell, and a scale.

    The scale spans the first `compared` columns (default: all), so that others do not wash out what is compared.
    `cell` is the width and height of a cell in inches.
    """
    figure = Figure(figsize=(2.6 + cell[0] * len(columns), 1.9 + cell[1] * len(rows)), layout="constrained")
    axis = figure.subplots()
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


def score_text(estimate: Estimate) -> str:
    """A value over half the width of its interval, or alone where it has none."""
    low, high = estimate["low"], estimate["high"]
    half = "" if low is None or high is None else f"\n±{(high - low) / 2:.3f}"
    return f"{estimate['value']:.3f}{half}"


def matrix_heatmap(result: MatrixResult | EmojiResult, cells: Sequence[Any], score: str, title: str) -> Figure:
    """Draw test regions by models, then baselines: each score over half the width of its 95 % interval."""
    rows, columns = regions_in_order(result), models_in_order(result)
    values = np.full((len(rows), len(columns)), np.nan)
    labels = [["–"] * len(columns) for _ in rows]
    for cell in cells:
        if (estimate := cell[score]) is not None:
            row, column = rows.index(cell["region"]), columns.index(cell["model"])
            values[row, column] = estimate["value"]
            labels[row][column] = score_text(estimate)
    return heatmap(values, labels, rows, columns, title, "texts of", "model", len(result["models"]))


def matrix_figures(result: MatrixResult) -> list[tuple[str, Figure]]:
    what = "Whole words" if result["kind"] == "per_word_matrix" else "Masked tokens"
    figures = []
    for targets in target_sets(result):
        cells = [cell for cell in result["cells"] if cell["targets"] == targets]
        for score, title in (("masked_accuracy", "masked accuracy"), ("loss", "loss (nats)")):
            name = f"{result['kind']}_{score}_{targets}"
            heading = f"{what}: {title}, {TARGET_SETS[targets]}, with 95 % intervals"
            figures.append((name, matrix_heatmap(result, cells, score, heading)))
    return figures


def emoji_figures(result: EmojiResult) -> list[tuple[str, Figure]]:
    figures = [
        (f"emoji15_{score}", matrix_heatmap(result, result["cells"], score, f"Emoji-15: {title}, 95 % intervals"))
        for score, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    ]
    names = [emoji_name(label) for label in result["labels"]]
    for model in (entry["name"] for entry in result["models"]):
        counts = np.sum([cell["confusion"] for cell in result["cells"] if cell["model"] == model], axis=0)
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


def completion_figures(result: CompletionsResult) -> list[tuple[str, Figure]]:
    """Draw a block for each phrase, with a column for each model and a row for each rank, shaded by probability."""
    phrases, models = result["phrases"], [model["name"] for model in result["models"]]
    ranks = result["settings"]["top_k"]
    figure = Figure(figsize=(1.5 + 1.9 * len(models), len(phrases) * (0.7 + 0.26 * ranks)), layout="constrained")
    axes = figure.subplots(len(phrases), 1, squeeze=False)
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


def regional_figures(result: RegionalTestsResult) -> list[tuple[str, Figure]]:
    """Draw the share of items whose regional form a model prefers, by the region of the form."""
    rows, columns = regions_in_order(result), [model["name"] for model in result["models"]]
    values = np.full((len(rows), len(columns)), np.nan)
    labels = [["–"] * len(columns) for _ in rows]
    for cell in result["cells"]:
        if cell["kind"] == "all":
            row, column = rows.index(cell["region"]), columns.index(cell["model"])
            values[row, column], labels[row][column] = cell["chosen"]["value"], score_text(cell["chosen"])
    title = "Share of items where the region's form beats every rival form, with 95 % intervals"
    return [("regional_tests", heatmap(values, labels, rows, columns, title, "forms of", "model"))]


FIGURES: dict[str, Callable[[Any], list[tuple[str, Figure]]]] = {
    "mlm_matrix": matrix_figures,
    "per_word_matrix": matrix_figures,
    "completions": completion_figures,
    "regional_tests": regional_figures,
    "emoji15_matrix": emoji_figures,
}
