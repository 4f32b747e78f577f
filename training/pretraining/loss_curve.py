"""Draw the loss curve of a training run from its metrics."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

# Okabe-Ito colours, which colour-blind readers can tell apart.
TRAINING, VALIDATION = "#56B4E9", "#D55E00"


def draw_loss_curve(metrics: dict[str, Any], path: str | Path) -> None:
    """Draw loss and masked accuracy by step, on training and validation texts, as a PNG."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, name, label in zip(
        axes, ("loss", "masked_accuracy"), ("loss (nats per masked token)", "masked accuracy"), strict=True
    ):
        for key, colour, legend, marker in (
            (name, TRAINING, "training", None),
            (f"eval_{name}", VALIDATION, "validation", "o"),
        ):
            points = [(point["step"], point[key]) for point in metrics["history"] if key in point]
            axis.plot(*zip(*points, strict=True), color=colour, label=legend, marker=marker, markersize=4)
        axis.set(xlabel="step", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend()
    best = metrics["validation"]
    figure.suptitle(
        f"BILMA {metrics['region']}: masked accuracy {best['masked_accuracy']:.3f} on the validation texts, at step "
        f"{best['step']:,}\n(one chosen token in five stays, or becomes another word)"
    )
    figure.savefig(path, dpi=120)
