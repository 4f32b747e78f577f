"""Draw the picture of `benchmarks/pretraining.py` or `benchmarks/fill_mask.py` from its JSON.

python -m benchmarks.draw benchmarks/results/pretraining.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

# Okabe-Ito colours, which colour-blind readers can tell apart.
OURS, OTHERS, MEMORY = "#0072B2", "#999999", "#D55E00"
LABELS = {
    "bilma": "BILMA, this project",
    "bilma_one_core": "BILMA, this project, one core",
    "bert-bf16": "BERT, usual loop, bf16",
    "bert-fp32": "BERT, usual loop, fp32",
    "authors": "BILMA, the authors' code",
}
FILL_MASK_LABELS = {
    "pipeline": "pipeline, as it opens",
    "pipeline_fp32": "pipeline, dtype=float32",
    "onnx_fp32": "ONNX Runtime, fp32",
    "onnx_int8": "ONNX Runtime, int8",
    "wasm_int8": "Chromium, int8",
    "bert_onnx_fp32": "BERT, ONNX Runtime, fp32",
    "bert_onnx_int8": "BERT, ONNX Runtime, int8",
    "bert_wasm_int8": "BERT, Chromium, int8",
    "authors": LABELS["authors"],
}


def draw_pretraining(result: dict[str, Any], path: Path) -> None:
    """Draw training and tokenising by contender, and training by the size of the corpus."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 3.5), layout="constrained")
    training, tokenising = result["training"], result["tokenising"]
    bars(axes[0], training["texts_per_second"], "training, texts per second")
    bars(axes[1], tokenising["texts_per_second"], "tokenising, texts per second")
    growth(axes[2], result["growth"])
    save(figure, result, path)


def draw_fill_mask(result: dict[str, Any], path: Path) -> None:
    """Draw the time of an answer by runtime, for one text and for 64."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 4), layout="constrained")
    for axis, count in zip(axes, (1, 64), strict=True):
        title = f"fill-mask of {count} text{'s' if count > 1 else ''}, milliseconds (lower is better)"
        milliseconds = result[f"texts_{count}"]["milliseconds"]
        bars(axis, {name: milliseconds[name] for name in FILL_MASK_LABELS}, title, FILL_MASK_LABELS)
    save(figure, result, path)


def save(figure: Figure, result: dict[str, Any], path: Path) -> None:
    where = f"{result['machine']['device']}, {result['machine'].get('threads', '')} threads".replace(",  threads", "")
    figure.suptitle(f"Medians and quartiles of {result['rounds']} rounds, {where}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def bars(axis: Axes, figures: dict[str, dict[str, float]], title: str, labels: dict[str, str] = LABELS) -> None:
    """Draw medians with quartiles, on a logarithmic axis; ours in colour."""
    names = list(figures)[::-1]
    values = [figures[name] for name in names]
    medians = [value["median"] for value in values]
    spread = [
        [value["median"] - value["quartile_1"] for value in values],
        [value["quartile_3"] - value["median"] for value in values],
    ]
    colours = [OTHERS if name.startswith(("bert", "authors")) else OURS for name in names]
    axis.barh([labels[name] for name in names], medians, xerr=spread, color=colours, ecolor="black", capsize=3)
    for row, value in enumerate(values):
        axis.annotate(
            f"{rounded(value['median'])}", (value["quartile_3"], row), (6, 0), textcoords="offset points", va="center"
        )
    axis.set_xscale("log")
    axis.set_xlim(min(medians) / 3, max(medians) * 8)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_title(title)


def rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def growth(axis: Axes, sizes: list[dict[str, Any]]) -> None:
    texts = [size["texts"] for size in sizes]
    speeds = [size["tokens_per_second"] for size in sizes]
    axis.errorbar(
        texts,
        [speed["median"] for speed in speeds],
        [[s["median"] - s["quartile_1"] for s in speeds], [s["quartile_3"] - s["median"] for s in speeds]],
        color=OURS,
        marker="o",
        capsize=3,
    )
    axis.set(xscale="log", xlabel="texts in the corpus", title="training and memory as the corpus grows")
    axis.set_ylabel("tokens per second", color=OURS)
    axis.set_ylim(0, 1.3 * max(speed["quartile_3"] for speed in speeds))
    memory = axis.twinx()
    memory.plot(texts, [size["peak_bytes"] / 1e9 for size in sizes], color=MEMORY, marker="s", linestyle="--")
    memory.set_ylabel("peak memory, GB (dashed)", color=MEMORY)
    memory.set_ylim(0, 1.5e-9 * max(size["peak_bytes"] for size in sizes))
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    result = json.loads(source.read_text(encoding="utf-8"))
    (draw_pretraining if "training" in result else draw_fill_mask)(result, source.with_suffix(".png"))
