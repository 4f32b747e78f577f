"""A converted model gives the numbers of the authors' own code, at full size: `make parity`.

The authors' package and TensorFlow run in an environment of their own (`BILMA_PARITY_PYTHON`, by default
`.venv-parity/bin/python`), the corpora are named by `BILMA_CORPORA`. The outcome is written to RESULTS.json.
"""

import datetime
import importlib.util
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.convert_keras import convert
from modeling_bilma.published import EMOJI_15
from modeling_bilma.tokenization_bilma import load_tokenizer

pytestmark = pytest.mark.parity

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AUTHORS_PYTHON = Path(os.environ.get("BILMA_PARITY_PYTHON", ROOT / ".venv-parity" / "bin" / "python"))
CORPORA = Path(os.environ.get("BILMA_CORPORA", ROOT.parent / "shared" / "corpora"))
TOLERANCE = 1e-4
TEXTS_PER_REGION = 26
REAL_TOKEN_TEXTS_PER_REGION = 7000
FUZZED_TOKEN_TEXTS = 60_000

# `--import-mode=importlib` puts no test folder on the path.
_spec = importlib.util.spec_from_file_location("parity_texts", HERE / "texts.py")
parity_texts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parity_texts)


def run_authors(verb: str, folder: Path) -> None:
    assert AUTHORS_PYTHON.exists(), f"{AUTHORS_PYTHON} is missing: `make parity` builds the authors' environment"
    subprocess.run([AUTHORS_PYTHON, HERE / "authors.py", verb, folder], check=True)


@pytest.fixture(scope="module")
def results():
    """What the tests measured; written only when every one of them has passed."""
    measured: dict[str, dict] = {}
    yield measured
    if len(measured) == 7:
        versions = {name: version(name) for name in ("modeling-bilma", "torch", "transformers", "tokenizers", "numpy")}
        record = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "ours": {"python": platform.python_version(), **versions},
            "authors": measured.pop("authors"),
            "tolerance": TOLERANCE,
            **measured,
        }
        (HERE / "RESULTS.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def texts():
    assert CORPORA.is_dir(), f"{CORPORA} is missing: name the corpora with BILMA_CORPORA"
    edges = ["", "Vamos a comer unos tacos 🌮👍🏽 jajajaja " * 30]  # nothing, and more than the model takes
    return parity_texts.README_SENTENCES + edges + parity_texts.real_texts(CORPORA, TEXTS_PER_REGION)


@pytest.fixture(scope="module")
def authors(tmp_path_factory, texts, results):
    """The folder with the authors' three weights files and their numbers for the texts."""
    folder = tmp_path_factory.mktemp("authors")
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    run_authors("models", folder)
    results["authors"] = json.loads((folder / "versions.json").read_text())
    return folder


@pytest.fixture(scope="module")
def converted(authors):
    vocab = authors / "vocab.txt"
    convert(str(authors / "mlm.h5"), "mx", authors / "mlm", vocab)
    convert(str(authors / "tf_model.h5"), "mx", authors / "hub", vocab)
    convert(str(authors / "classification.h5"), "mx", authors / "emoji", vocab, authors / "emoji-mlm")
    return authors


def batches(tokenizer, texts, size):
    """Batches padded to their longest text only."""
    for start in range(0, len(texts), size):
        rows = texts[start : start + size]
        yield tokenizer(rows, padding=True, truncation=True, max_length=280, return_tensors="pt")


def compare(ours, theirs):
    """Figures over positions, or over texts."""
    same = ours.argmax(-1) == theirs.argmax(-1)
    return {
        "positions": same.size,
        "largest_difference": float(np.abs(ours - theirs).max()),
        "same_arg_max": int(same.sum()),
    }


def compare_logits(model, tokenizer, texts, expected, size):
    """The figures for a model against the authors' logits of all real positions, one text after the other."""
    parts, done = [], 0
    with torch.inference_mode():
        for batch in batches(tokenizer, texts, size):
            logits = model(**batch).logits[batch["attention_mask"].bool()].numpy()
            parts.append(compare(logits, expected[done : done + len(logits)]))
            done += len(logits)
    assert done == len(expected)
    figures = {name: sum(part[name] for part in parts) for name in parts[0]}
    return figures | {"largest_difference": max(part["largest_difference"] for part in parts)}


def check(figures):
    assert figures["largest_difference"] <= TOLERANCE
    assert figures["same_arg_max"] == figures["positions"]


@pytest.mark.parametrize(("folder", "expected"), [("mlm", "mlm_logits"), ("emoji-mlm", "classification_mlm_logits")])
def test_mlm_logits_alone_and_in_mixed_batches(converted, texts, results, folder, expected):
    model = BilmaForMaskedLM.from_pretrained(converted / folder).eval()
    tokenizer = load_tokenizer(converted / folder)
    logits = np.load(converted / f"{expected}.npy", mmap_mode="r")
    figures = {
        "alone": compare_logits(model, tokenizer, texts, logits, 1),
        "batches_of_8": compare_logits(model, tokenizer, texts, logits, 8),
    }
    for each in figures.values():
        check(each)
    results[expected] = {"texts": len(texts), **figures}


def test_logits_of_padding_too_when_the_caller_pads(converted, results):
    model = BilmaForMaskedLM.from_pretrained(converted / "mlm").eval()
    ids = torch.from_numpy(np.load(converted / "ids.npy")[:4]).long()
    with torch.inference_mode():
        ours = model(ids, attention_mask=(ids != 0).long()).logits.numpy()
    theirs = np.load(converted / "mlm_logits_all_positions.npy")
    figures = compare(ours, theirs)
    check(figures)
    results["mlm_logits_all_positions"] = {"texts": len(ids), **figures}


def test_hub_layout_gives_the_same_model(converted, results):
    ours = BilmaForMaskedLM.from_pretrained(converted / "mlm").state_dict()
    hub = BilmaForMaskedLM.from_pretrained(converted / "hub").state_dict()
    assert ours.keys() == hub.keys()
    assert all(torch.equal(ours[name], hub[name]) for name in ours)
    results["hub_layout"] = {"tensors_bit_equal": len(ours), "parameters": sum(t.numel() for t in ours.values())}


def test_emoji_probabilities_alone_and_in_mixed_batches(converted, texts, results):
    model = BilmaForSequenceClassification.from_pretrained(converted / "emoji").eval()
    assert tuple(model.config.id2label.values()) == EMOJI_15
    tokenizer = load_tokenizer(converted / "emoji")
    theirs = np.load(converted / "classification_probabilities.npy")
    figures = {}
    for name, size in (("alone", 1), ("batches_of_8", 8)):
        with torch.inference_mode():
            rows = [model(**batch).logits.softmax(-1) for batch in batches(tokenizer, texts, size)]
        figures[name] = compare(torch.cat(rows).numpy(), theirs)
    for each in figures.values():
        check(each)
    results["emoji_probabilities"] = {"texts": len(texts), **figures}


def test_token_ids(tmp_path, authors, results):
    real = parity_texts.real_texts(CORPORA, REAL_TOKEN_TEXTS_PER_REGION, seed=1)
    fuzzed = parity_texts.fuzzed_texts(FUZZED_TOKEN_TEXTS)
    texts = real + fuzzed
    (tmp_path / "token_texts.json").write_text(json.dumps(texts), encoding="utf-8")
    run_authors("tokens", tmp_path)
    theirs = np.load(tmp_path / "token_ids.npy")

    tokenizer = load_tokenizer(authors / "vocab.txt")
    ours = np.zeros_like(theirs)
    for row, ids in zip(ours, tokenizer(texts, truncation=True, max_length=280)["input_ids"], strict=True):
        row[: len(ids)] = ids
    different = np.flatnonzero((ours != theirs).any(1))
    invented = [ascii(texts[i][:60]) for i in different if i >= len(real)]  # real texts are not for the log
    assert len(different) == 0, f"{len(different)} texts differ, such as {invented[:5]}"
    results["token_ids"] = {
        "real_texts": len(real),
        "fuzzed_texts": len(fuzzed),
        "different": len(different),
    }
