"""A small random BILMA with regional parts that are far from zero, saved, and exported once for all tests."""

from pathlib import Path

import pytest
import torch
from transformers import TokenizersBackend

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import PARTS, add_regions
from tests.conftest import tiny_config
from tests.training.conftest import run_main
from training import export_onnx

REGIONS = ["ar", "cl", "co", "es", "mx", "us", "uy", "ve"]


def save_regional(tokenizer: TokenizersBackend, folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    body = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer), **{"tie_word_embeddings": True, **changes}))
    model, with_tokens = add_regions(body, tokenizer, REGIONS)
    for name in PARTS:
        torch.nn.init.normal_(model.get_parameter(name))
    model.to(torch.bfloat16).save_pretrained(folder)
    with_tokens.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def regional(tokenizer, tmp_path_factory) -> Path:
    return save_regional(tokenizer, tmp_path_factory.mktemp("regional") / "model")


@pytest.fixture(scope="session")
def exported(regional, tmp_path_factory) -> Path:
    return run_main(export_onnx, model=regional, output_dir=tmp_path_factory.mktemp("exported") / "onnx")
