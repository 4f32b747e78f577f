"""Small trained folders and results of them, with fixed numbers, for the tests of cards.

    PYTHONPATH=. python tests/training/publishing/trained_folder.py

writes expected_card.md anew, after a change of the template that is meant.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from training.common.provenance import weights_fingerprint
from training.publishing.card import render_card
from training.publishing.publication import Publication, open_publication

EXPECTED_CARD = Path(__file__).parent / "expected_card.md"
FIGURES = ["loss_curve.png", "figures/mlm_matrix_masked_accuracy_all.png"]
CONFIG = {
    "hidden_size": 512,
    "head_dim": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "max_position_embeddings": 280,
    "vocab_size": 29025,
}
MACHINE = {"device": "x86_64 CPU", "threads": 2, "cores": 4, "processes": 1, "mixed_precision": "bf16"}
BASE = "ba" * 32
CORPUS = {"names": ["mx.jsonl.gz"], "fingerprint": "c0" * 32}
ARGS = {"dataset_name": None, "mlm_probability": 0.15, "learning_rate": 0.0005, "seed": 0, "max_steps": None}
SETTINGS = {"test_fraction": 0.05, "mlm_probability": 0.15, "mask_draws": 4}


def publication(folder: Path, *, emoji: bool = False, region: str = "mx", tag: str | None = "v1.0") -> Publication:
    """What `open_publication` makes of a folder like those of pretrain.py, or of finetune.py, written here."""
    folder.mkdir(parents=True, exist_ok=True)
    architecture = "BilmaForSequenceClassification" if emoji else "BilmaForMaskedLM"
    metrics, args = (emoji_metrics(), emoji_args(region)) if emoji else (mlm_metrics(), ARGS | {"init_from": None})
    labels = {"id2label": {"0": "❤", "1": "😭"}} if emoji else {}
    write_json(folder / "config.json", CONFIG | {"architectures": [architecture], "region": region} | labels)
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "training_args.json", args)
    save_file({"weight": torch.zeros(3, 400), "bias": torch.zeros(3)}, folder / "model.safetensors")
    return open_publication(folder, "org", tag)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def change_json(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def mlm_metrics() -> dict[str, Any]:
    training = {"steps": 2000, "texts": 41200, "texts_kept_for_testing": 2300, "texts_seen": 128000}
    return {
        "validation": {"step": 1800, "texts": 2256},
        "training": training | {"tokens_seen": 2176000, "seconds": 930.5},
        "corpus": CORPUS,
        "machine": MACHINE,
        "commit": "a" * 40,
    }


def emoji_args(region: str) -> dict[str, Any]:
    return ARGS | {"task": "emoji15", "model": f"bilma-{region}", "label_column": None, "seeds": [0, 1]}


def emoji_metrics() -> dict[str, Any]:
    return {
        "seeds": [{"seed": 0}, {"seed": 1}],
        "kept_seed": 1,
        "base_fingerprint": BASE,
        "validation": {"accuracy": 0.3125},
        "texts": CORPUS | {"train": {"texts": 2200}, "validation": {"texts": 260}, "test": {"texts": 130}},
        "machine": MACHINE,
        "commit": None,
        "seconds": 42.0,
    }


def estimate(value: float, spread: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def other_region(own: Publication) -> str:
    return "cl" if own.region.code == "ar" else "ar"


def models(own: Publication, other: str) -> list[dict[str, str]]:
    """As a result names them: folders, known by their weights; ours has another name there than on the Hub."""
    return [
        {"name": other, "region": other_region(own), "fingerprint": "0" * 64},
        {"name": "run-7", "region": own.region.code, "fingerprint": weights_fingerprint(own.folder)},
    ]


def mlm_cell(model: str, region: str, targets: str, accuracy: float, perplexity: float | None) -> dict[str, Any]:
    return {
        "model": model,
        "region": region,
        "targets": targets,
        "count": 4000 if targets == "all" else 3000,
        "masked_accuracy": estimate(accuracy),
        "perplexity": perplexity and estimate(perplexity, 5),
    }


def mlm_results(own: Publication) -> dict[str, dict[str, Any]]:
    """Of the model and another one, on the texts of both their regions, with a baseline."""
    regions = (other_region(own), own.region.code)
    accuracies = {"other": (0.36, 0.30), "run-7": (0.31, 0.345678), "unigram": (0.07, 0.08)}
    cells = [
        mlm_cell(model, region, targets, value - less, None if model == "unigram" else 100 - 100 * value)
        for model, values in accuracies.items()
        for region, value in zip(regions, values, strict=True)
        for targets, less in (("all", 0.0), ("without_trivial", 0.06))
    ]
    corpora = [corpus(region) | {"test_texts": 900, "targets": 4000} for region in regions]
    difference = {"own": "run-7", "best_other": "other", "masked_accuracy_difference": estimate(0.046)}
    comparisons = [{"region": own.region.code, "targets": "all", **difference}]
    answers = [{"word": "tacos", "probability": 0.2}, {"word": "|", "probability": 0.01}]
    others = [{"word": "asado", "probability": 0.3}]
    by_model = [{"model": "other", "answers": others}, {"model": "run-7", "answers": answers}]
    phrases = [{"phrase": phrase, "by_model": by_model} for phrase in ("vamos a comer [MASK]", "ya llegó el [MASK]")]
    contents = {
        "mlm_matrix": {"corpora": corpora, "cells": cells, "comparisons": comparisons},
        "completions": {"phrases": phrases},
        "region_words": {"by_model": [{"model": "run-7", "words": [{"word": "chido"}, {"word": "neta"}]}]},
        "similarity": {"correlations": [{"models": ["other", "run-7"], "correlation": estimate(0.71)}]},
    }
    head = {"settings": SETTINGS, "models": models(own, "other")}
    return {kind: {"kind": kind} | head | content for kind, content in contents.items()}


def emoji_results(own: Publication) -> dict[str, dict[str, Any]]:
    """Of the classifier and another one, on the texts of both their regions."""
    regions = (other_region(own), own.region.code)
    cells = [
        {"model": model, "region": region, "count": 130}
        | {"accuracy": estimate(value, 0.08), "macro_f1": estimate(value / 2, 0.05)}
        for model, values in {"other": (0.3, 0.25), "run-7": (0.2, 0.28)}.items()
        for region, value in zip(regions, values, strict=True)
    ]
    difference = {"own": "run-7", "best_other": "other", "accuracy_difference": estimate(0.03, 0.1)}
    result = {
        "kind": "emoji15_matrix",
        "settings": SETTINGS,
        "models": models(own, "other"),
        "labels": ["❤", "😭"],
        "corpora": [corpus(region) | {"texts": 130} for region in regions],
        "cells": cells,
        "comparisons": [{"region": own.region.code, **difference}],
    }
    base = {"name": "bilma", "region": own.region.code, "fingerprint": BASE}
    return {"emoji15_matrix": result, "mlm_matrix": {"models": [base]}}


def corpus(region: str) -> dict[str, Any]:
    return {"region": region, "names": [f"{region}.jsonl.gz"], "fingerprint": region * 32}


def main() -> None:
    with TemporaryDirectory() as folder:
        own = publication(Path(folder) / "run-7")
        EXPECTED_CARD.write_text(render_card(own, mlm_results(own), FIGURES), encoding="utf-8")


if __name__ == "__main__":
    main()
