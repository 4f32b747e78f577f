from argparse import Namespace
from pathlib import Path

import pytest
from transformers import pipeline

from benchmarks.fill_mask import agreement, mask_one
from benchmarks.fill_mask_contenders import TOP, Graph
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.conftest import run_main
from tests.training.exporting.conftest import save_regional
from training import export_onnx

TEXTS = ["vamos a comer tacos con los amigos", "no", "me gusta tomar cafe en la mañana", "hola, ¿cómo estás?"]


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory) -> tuple[Path, Path]:
    """A model with regional parts, and its export."""
    model = save_regional(tokenizer, tmp_path_factory.mktemp("fill_mask") / "model")
    return model, run_main(export_onnx, model=model, output_dir=model.parent / "onnx")


def test_one_token_of_each_text_long_enough_is_masked(tokenizer):
    masked = mask_one(TEXTS, tokenizer, number=3, seed=0)
    assert len(masked) == 3
    for (ids, position, target), text in zip(masked, TEXTS[:1] + TEXTS[2:], strict=True):
        assert ids[position] == tokenizer.mask_token_id
        assert [*ids[:position], target, *ids[position + 1 :]] == tokenizer(text)["input_ids"]
    with pytest.raises(SystemExit, match="only 3 texts"):
        mask_one(TEXTS, tokenizer, number=4, seed=0)


@pytest.mark.slow
def test_a_graph_finds_the_tokens_that_the_pipeline_finds(folders):
    model, onnx = folders
    texts = ["vamos a [MASK]", "[MASK] gusta tomar café en la mañana"]
    fill = pipeline("fill-mask", model=str(model), trust_remote_code=True, dtype="float32", top_k=TOP)
    expected = [{fill.tokenizer.convert_ids_to_tokens(answer["token"]) for answer in fill(text)} for text in texts]
    for graph in ("masked", "model"):
        assert Graph(str(onnx / "onnx" / f"{graph}.onnx"), str(model)).best(texts) == expected


@pytest.mark.slow
def test_agreement_compares_the_same_position_under_the_same_region(folders):
    model, onnx = folders
    masked = mask_one(TEXTS, load_tokenizer(model), number=3, seed=0)
    found = agreement(Namespace(model=model, region="mx"), onnx, masked)
    assert found["same_top_answer"]["onnx_fp32"] == 1
    assert 0 < found["onnx_fp32_largest_difference"] < 1e-3
    assert found["masked_accuracy"]["onnx_fp32"] == found["masked_accuracy"]["torch_fp32"]
