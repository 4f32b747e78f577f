"""A small family: two regions of the synthetic corpus, and models trained on them with one vocabulary."""

import json
import sys
from itertools import chain
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.conftest import TINY_OVERRIDES
from training import pretrain
from training.synthetic_corpus import generate_texts

REGIONS = ("ar", "mx")
TEST_FRACTION = 0.2


def write_texts(path: Path, texts: list[str], **columns: list[str]) -> Path:
    rows = [
        {"text": text} | {name: values[number] for name, values in columns.items()}
        for number, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def family(tmp_path_factory) -> Path:
    """A folder with `corpora/{ar,mx}.jsonl`, `tokenizer`, and `bilma-ar` and `bilma-mx` as pretrain.py writes them."""
    home = tmp_path_factory.mktemp("family")
    (home / "corpora").mkdir()
    texts = {region: generate_texts(region, 400) for region in REGIONS}
    for region in REGIONS:
        write_texts(home / "corpora" / f"{region}.jsonl", texts[region])
    build_tokenizer(train_vocabulary(chain(*texts.values()), 500)).save_pretrained(home / "tokenizer")
    for region in REGIONS:
        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        settings = {
            "region": region,
            "train_file": home / "corpora" / f"{region}.jsonl",
            "output_dir": home / f"bilma-{region}",
            "tokenizer": home / "tokenizer",
            "cache_dir": home / "cache",
            "config_overrides": TINY_OVERRIDES,
            "test_fraction": TEST_FRACTION,
            "max_steps": 40,
            "eval_steps": 40,
            "save_steps": 40,
            "max_length": 32,
            "texts_per_step": 64,
            "learning_rate": 0.02,
            "mixed_precision": "no",
            "num_threads": 1,
        }
        with pytest.MonkeyPatch.context() as patch:
            flags = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
            patch.setattr(sys, "argv", ["pretrain.py", *flags])
            pretrain.main()
    return home


@pytest.fixture(scope="session")
def awkward_texts() -> list[str]:
    """What could tell a text that stands among others from the same text alone."""
    return [
        *("", "  ", "\n-", "1", "ja", "jaja\n", "@ana", "#viernes", "https://", "\u0301acento", "a\u0323"),
        *("[START]", "vamos[END]comer", "[MASK] a [PAD]", "[END", "START]", "[", "]"),
        *("\uffff", "a \uffff b", "\x1e", "vamos\x1ea\x1e"),
        *("x" * 5000, "vamos " * 3000),
    ]
