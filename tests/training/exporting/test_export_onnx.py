import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, BilmaForTokenClassification
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.conftest import TEXTS, tiny_config
from tests.training.conftest import run_main
from tests.training.exporting.conftest import REGIONS
from training import export_onnx

MASKED = [text.replace(word, "[MASK]") for text, word in zip(TEXTS, ("tacos", "güey", "ciudad"), strict=False)]


def run_graph(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})[0]


def encode(folder, texts):
    inputs = load_tokenizer(folder)(texts, padding=True, return_tensors="np")
    return inputs["input_ids"], inputs["attention_mask"]


@torch.no_grad()
def torch_logits(folder, texts):
    """Logits at the one mask of each text, (B, V)."""
    model = BilmaForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids, mask = map(torch.from_numpy, encode(folder, texts))
    return model(input_ids=ids, attention_mask=mask).logits[ids == 4].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("region", [*REGIONS, None])
def test_masked_graph_answers_as_the_model_behind_the_token_of_a_region(regional, exported, region):
    token = f"[{region.upper()}] " if region else ""
    expected = torch_logits(regional, [token + text for text in MASKED])
    ids, mask = encode(regional, MASKED)
    number = [REGIONS.index(region) if region else -1] * len(ids)
    positions = (ids == 4).argmax(1)[:, None]
    path = exported / "onnx" / "masked.onnx"
    logits = run_graph(path, input_ids=ids, attention_mask=mask, mask_positions=positions, region=number)
    np.testing.assert_allclose(logits[:, 0], expected[:, : -len(REGIONS)], atol=1e-4)


def test_dense_graph_reads_region_tokens(regional, exported):
    texts = ["[MX] " + MASKED[0], MASKED[1], "[VE] " + MASKED[2]]
    ids, mask = encode(regional, texts)
    logits = run_graph(exported / "onnx" / "model.onnx", input_ids=ids, attention_mask=mask)
    assert logits.shape == (*ids.shape, ids.max() + 1)
    np.testing.assert_allclose(logits[ids == 4], torch_logits(regional, texts), atol=1e-4)


def test_int8_keeps_answers_and_has_one_table_of_words(exported):
    graph = onnx.load(exported / "onnx" / "masked_quantized.onnx").graph
    vocabulary = json.loads((exported / "config.json").read_text())["first_region_token_id"]
    tables = [tensor for tensor in graph.initializer if list(tensor.dims) == [32, vocabulary]]
    assert [tensor.data_type for tensor in tables] == [onnx.TensorProto.INT8]
    rng = np.random.default_rng(0)
    ids = rng.integers(5, vocabulary, (200, 9))
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "mask_positions": np.full((200, 1), 4),
        "region": rng.integers(-1, len(REGIONS), 200),
    }
    fp32, int8 = (run_graph(exported / "onnx" / f"masked{suffix}.onnx", **inputs) for suffix in ("", "_quantized"))
    assert (fp32.argmax(-1) == int8.argmax(-1)).mean() >= 0.97


@pytest.mark.slow
def test_an_untied_model_of_no_region(tokenizer, tmp_path):
    model = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer)))
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    folder = run_main(export_onnx, model=tmp_path / "model", output_dir=tmp_path / "onnx")
    ids, mask = encode(folder, MASKED)
    inputs = {"input_ids": ids, "attention_mask": mask, "mask_positions": (ids == 4).argmax(1)[:, None]}
    expected = torch_logits(tmp_path / "model", MASKED)
    np.testing.assert_allclose(run_graph(folder / "onnx" / "masked.onnx", **inputs)[:, 0], expected, atol=1e-4)
    int8 = run_graph(folder / "onnx" / "masked_quantized.onnx", **inputs)[:, 0]
    assert np.corrcoef(int8.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("pooling", ["cls", "mean", "mask"])
def test_classifier(tokenizer, tmp_path, pooling):
    model = BilmaForSequenceClassification(
        tiny_config(vocab_size=len(tokenizer), num_labels=3, pooling=pooling)
    ).eval()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    folder = run_main(export_onnx, model=tmp_path / "model", output_dir=tmp_path / "onnx")
    ids, mask = encode(folder, TEXTS)
    with torch.no_grad():
        expected = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    logits = run_graph(folder / "onnx" / "model.onnx", input_ids=ids, attention_mask=mask)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertForSequenceClassification"]


def test_the_folder_is_what_transformers_js_opens(regional, exported):
    config = json.loads((exported / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("bert", ["BertForMaskedLM"])
    assert config["regions"] == REGIONS
    names = ["masked.onnx", "masked_quantized.onnx", "model.onnx", "model_quantized.onnx"]
    assert sorted(path.name for path in (exported / "onnx").iterdir()) == names
    for name, facts in json.loads((exported / "files.json").read_text()).items():
        content = (exported / name).read_bytes()
        assert facts == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer(TEXTS)["input_ids"] == load_tokenizer(regional)(TEXTS)["input_ids"]


def test_a_model_that_is_no_bilma_is_one_line(tmp_path, refusal):
    BertForMaskedLM(
        BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    line = refusal(export_onnx, lambda: run_main(export_onnx, model=tmp_path / "bert", output_dir=tmp_path / "onnx"))
    assert line == f"{tmp_path / 'bert'} is no BILMA (model_type bert): give one"


@pytest.mark.parametrize(
    ("model_class", "changes", "words"),
    [
        (BilmaForMaskedLM, {"attend_to_padding": True}, "attends to its padding"),
        (BilmaForTokenClassification, {"num_labels": 3}, "is a BilmaForTokenClassification"),
    ],
)
def test_a_model_that_is_not_exported_is_one_line(tmp_path, refusal, model_class, changes, words):
    model_class(tiny_config(**changes)).save_pretrained(tmp_path / "model")
    line = refusal(export_onnx, lambda: run_main(export_onnx, model=tmp_path / "model", output_dir=tmp_path / "onnx"))
    assert words in line
    assert not (tmp_path / "onnx").exists()


def test_nothing_is_overwritten(regional, exported, refusal):
    line = refusal(export_onnx, lambda: run_main(export_onnx, model=regional, output_dir=exported))
    assert "exists already" in line
    assert (exported / "config.json").is_file()
