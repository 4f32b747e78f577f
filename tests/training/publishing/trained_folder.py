"""A small family as the scripts leave it: a body with regional parts, a classifier, and results of both."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import TokenizersBackend

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.regional import add_regions, merge_region
from tests.conftest import tiny_config
from training.common.provenance import weights_fingerprint
from training.evaluation.results import SCHEMA_VERSION
from training.publishing.publication import Publication

REGIONS = ("ar", "mx")
PHRASE = "vamos a comer [MASK]"
MACHINE = {"device": "x86_64 CPU", "threads": 2, "cores": 4, "processes": 1, "mixed_precision": "bf16"}
CORPUS = {"names": ["ar.jsonl.gz", "mx.jsonl.gz"], "fingerprint": "c0" * 32}
ARGS = {"dataset_name": None, "learning_rate": 0.0005, "seed": 0, "max_steps": None, "region": "all"}
ACCURACIES = {"bilma": (0.21, 0.22), "bilma-ar": (0.24, 0.2), "bilma-mx": (0.2, 0.2467), "nearest n-gram": (0.19, 0.2)}
CLASSIFIERS = {"bilma-mx-emoji": (0.25, 0.31), "word_tfidf": (0.24, 0.28)}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def change_json(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def write_body(folder: Path, tokenizer: TokenizersBackend) -> BilmaForMaskedLM:
    """Random weights, large enough for distinct answers, that never predict a special token."""
    config = tiny_config(vocab_size=len(tokenizer), tie_word_embeddings=True, initializer_range=0.5)
    model = BilmaForMaskedLM(config).eval()
    model.decoder.bias.data[tokenizer.all_special_ids] = -50
    body, regional_tokenizer = add_regions(model, tokenizer, REGIONS)
    torch.nn.init.normal_(body.get_parameter("region_bias"), std=2)
    body.to(torch.bfloat16).save_pretrained(folder)
    regional_tokenizer.save_pretrained(folder)
    training = {"steps": 2000, "texts": 41200, "texts_kept_for_testing": 2300, "texts_seen": 128000}
    metrics = {
        "training": training | {"tokens_seen": 2176000, "seconds": 7200.0},
        "corpus": CORPUS,
        "machine": MACHINE,
        "commit": "a" * 40,
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "training_args.json", ARGS | {"init_from": None, "recipe": "family_body"})
    return body


def write_classifier(folder: Path, body: Path, tokenizer: TokenizersBackend) -> None:
    labels = {"id2label": {0: "❤", 1: "😭", 2: "😍"}, "label2id": {"❤": 0, "😭": 1, "😍": 2}}
    config = tiny_config(vocab_size=len(tokenizer), region="mx", initializer_range=0.5, **labels)
    BilmaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    parts = {part: {"texts": count} for part, count in (("train", 2200), ("validation", 260), ("test", 130))}
    metrics = {
        "seeds": [{"seed": 0}, {"seed": 1}],
        "kept_seed": 1,
        "base_fingerprint": weights_fingerprint(body),
        "validation": {"accuracy": 0.3125},
        "texts": CORPUS | parts,
        "machine": MACHINE,
        "commit": None,
        "seconds": 42.0,
    }
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "training_args.json", ARGS | {"task": "emoji15", "model": "bilma", "region": "mx"})


def estimate(value: float, spread: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def corpus(region: str) -> dict[str, Any]:
    facts = {"region": region, "names": [f"{region}.jsonl.gz"], "fingerprint": region * 32, "texts": 130}
    return facts | {"test_texts": 900, "resampled": "authors", "authors": 60, "targets": 4000}


def win(region: str, **more: Any) -> dict[str, Any]:
    entry = {"region": region, "targets": "words", "own": f"bilma-{region}", "closest": "bilma", "wins": True}
    return entry | {"smallest_difference": estimate(0.03), "p_value": 0.001, "p_holm": 0.002} | more


def make_results(body: Path, classifier: Path) -> dict[str, dict[str, Any]]:
    """By kind, as `read_results` gives them: the body and both its regions, and the classifier, on two regions."""
    head = {"schema_version": SCHEMA_VERSION, "settings": {}}
    weights = weights_fingerprint(body)
    models = [{"name": "bilma", "region": None, "fingerprint": weights}]
    models += [{"name": f"bilma-{region}", "region": region, "fingerprint": weights} for region in REGIONS]
    cells = [
        {"model": model, "region": region, "targets": targets, "count": 3000 if targets == "words" else 4000}
        | {"masked_accuracy": estimate(value + (targets == "all") / 10), "perplexity": estimate(60.0, 5)}
        for model, values in ACCURACIES.items()
        for region, value in zip(REGIONS, values, strict=True)
        for targets in ("words", "all")
    ]
    items = [
        {"model": f"bilma-{region}", "region": region, "kind": kind, "count": 48, "left_out": 1}
        | {
            "chosen": estimate(0.625, 0.1),
            "reference": "bilma",
            "gain": estimate(0.2, 0.1),
            "steered": estimate(0.9, 0.05),
        }
        for region in REGIONS
        for kind in ("lexical_cloze", "all")
    ]
    classifiers = [{"name": "bilma-mx-emoji", "region": "mx", "fingerprint": weights_fingerprint(classifier)}]
    emoji_cells = [
        {"model": model, "region": region, "count": 130, "accuracy": estimate(value), "macro_f1": estimate(value / 2)}
        for model, values in CLASSIFIERS.items()
        for region, value in zip(REGIONS, values, strict=True)
    ]
    corpora = [corpus(region) for region in REGIONS]
    contents = {
        "mlm_matrix": {"models": models, "corpora": corpora, "cells": cells, "wins": [win("ar"), win("mx")]},
        "completions": {"models": models, "phrases": [{"phrase": PHRASE, "by_model": measured(body)}]},
        "regional_tests": {"models": models, "cells": items},
        "emoji15_matrix": {
            "models": classifiers,
            "corpora": corpora,
            "cells": emoji_cells,
            "labels": ["❤", "😭", "😍"],
        },
    }
    return {kind: head | {"kind": kind} | content for kind, content in contents.items()}


def measured(body: Path) -> list[dict[str, Any]]:
    """What the body answers to the phrase behind each region's token, in fp32."""
    from modeling_bilma.tokenization_bilma import load_tokenizer

    tokenizer = load_tokenizer(body)
    model = BilmaForMaskedLM.from_pretrained(body, dtype=torch.float32).eval()
    answers = []
    for name, start in {"bilma": "", **{f"bilma-{region}": f"[{region.upper()}] " for region in REGIONS}}.items():
        inputs = tokenizer(start + PHRASE, return_tensors="pt")
        place = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
        with torch.no_grad():
            best = model(**inputs).logits[0, place].softmax(-1).max(-1)
        word = tokenizer.decode([best.indices]).strip()
        answers.append({"model": name, "answers": [{"word": word, "probability": best.values.item()}]})
    return answers


def write_family(home: Path, tokenizer: TokenizersBackend) -> dict[str, dict[str, Any]]:
    """`bilma`, `bilma-mx-emoji` and `results` below `home`; returns the results."""
    torch.manual_seed(0)
    write_body(home / "bilma", tokenizer)
    write_classifier(home / "bilma-mx-emoji", home / "bilma", tokenizer)
    results = make_results(home / "bilma", home / "bilma-mx-emoji")
    for kind, result in results.items():
        write_json(home / "results" / f"{kind}.json", result)
    return results


def merged(publication: Publication) -> BilmaForMaskedLM:
    """The model that a regional repository is to hold."""
    from modeling_bilma.tokenization_bilma import load_tokenizer

    body = BilmaForMaskedLM.from_pretrained(publication.trained, dtype="auto")
    return merge_region(body, load_tokenizer(publication.trained), publication.region)[0]
