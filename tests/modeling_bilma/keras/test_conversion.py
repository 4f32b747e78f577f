"""Converted models compute what the authors' do, open everywhere, and credit their source."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.convert_keras import convert, main
from modeling_bilma.published import EMOJI_15, config_from_published
from tests.modeling_bilma.keras.keras_files import (
    LABELS,
    LAYERS,
    POSITIONS,
    TEXTS,
    D,
    F,
    H,
    K,
    V,
    check_mlm,
    class_probabilities,
    full_layout,
    hub_layout,
    write_h5,
)


def test_mlm_file(tmp_path, vocab):
    tensors = full_layout()
    convert(str(write_h5(tmp_path / "m.h5", tensors)), "MX", tmp_path / "out", vocab)
    check_mlm(tmp_path / "out", tensors)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    expected = {
        "vocab_size": V,
        "hidden_size": D,
        "num_attention_heads": H,
        "head_dim": K,
        "intermediate_size": F,
        "num_hidden_layers": LAYERS,
        "max_position_embeddings": POSITIONS,
        "attend_to_padding": True,
        "region": "mx",
        "architectures": ["BilmaForMaskedLM"],
    }
    assert expected.items() <= config.items()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "modeling_bilma.py", "configuration_bilma.py"} <= names
    (tmp_path / "plain").write_text("")
    modes = {path.stat().st_mode for path in (tmp_path / "out").iterdir()}
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_hub_layout_gives_the_same_model_and_280_positions_by_default(tmp_path, vocab):
    convert(str(write_h5(tmp_path / "m.h5", full_layout())), "mx", tmp_path / "full", vocab)
    convert(str(write_h5(tmp_path / "t.h5", hub_layout(), model_config=None)), "mx", tmp_path / "hub", vocab)
    full, hub = (BilmaForMaskedLM.from_pretrained(tmp_path / name) for name in ("full", "hub"))
    assert hub.config.max_position_embeddings == 280
    assert all(torch.equal(hub.state_dict()[name], values) for name, values in full.state_dict().items())


def test_classification_file_gives_both_models(tmp_path, vocab):
    tensors = full_layout(classification=True)
    convert(str(write_h5(tmp_path / "c.h5", tensors)), "ar", tmp_path / "emoji", vocab, tmp_path / "mlm")
    check_mlm(tmp_path / "mlm", tensors)
    model = BilmaForSequenceClassification.from_pretrained(tmp_path / "emoji").eval()
    assert tuple(model.config.id2label[i] for i in range(LABELS)) == EMOJI_15 == tuple("❤👌👏💔😄😊😌😍😒😘😡😢😭🤔🥺")
    for ids in TEXTS:
        probabilities = model(torch.tensor([ids])).logits.softmax(-1)[0].detach().numpy()
        np.testing.assert_allclose(probabilities, class_probabilities(tensors, ids), atol=1e-4)
    assert "id2label" not in json.loads((tmp_path / "mlm" / "config.json").read_text())


def test_other_numbers_of_labels_have_no_emoji(tmp_path, vocab):
    tensors = full_layout(classification=True)
    del tensors["model_weights/dense_37/dense_37/kernel:0"], tensors["model_weights/dense_37/dense_37/bias:0"]
    tensors["model_weights/cp/cp/kernel:0"] = np.ones((D, 3), np.float32)
    tensors["model_weights/cp/cp/bias:0"] = np.ones(3, np.float32)
    convert(str(write_h5(tmp_path / "c.h5", tensors)), "ar", tmp_path / "out", vocab)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}


@pytest.mark.slow
def test_folder_opens_with_remote_code_in_a_clean_process(tmp_path, vocab):
    convert(str(write_h5(tmp_path / "m.h5", full_layout())), "mx", tmp_path / "out", vocab)
    code = (
        "import sys; from transformers import pipeline\n"
        "answers = pipeline('fill-mask', model=sys.argv[1], trust_remote_code=True)('vamos a [MASK] tacos')\n"
        "assert 'modeling_bilma' not in sys.modules\n"
        "print(len(answers))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
    )
    assert run.stdout == "5\n", run.stderr


def test_converted_model_trains_on(tmp_path, vocab):
    convert(str(write_h5(tmp_path / "m.h5", full_layout())), "mx", tmp_path / "out", vocab)
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(
        ["vamos", "vamos a comer"], padding=True, return_tensors="pt"
    )
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_card_credits_the_source(tmp_path, vocab):
    weights = write_h5(tmp_path / "bilma_small_MX.h5", full_layout())
    convert(str(weights), "mx", tmp_path / "out", vocab)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: es\n")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    for words in ("bilma_small_MX.h5", digest, "2110.06128", "Luis Guillermo Ruiz Velázquez", "MIT", "fill-mask"):
        assert words in card


def test_published_config_maps_onto_ours():
    published = {
        "weights": "MX",
        "include_top": True,
        "add_head": None,
        "pooling": None,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "seq_max_length": 280,
        "embedding_dim": 512,
        "vocab_size": 29025,
        "drop_rate": 0.1,
        "transformers_version": "4.30.2",
    }
    assert config_from_published(published) == {
        "attend_to_padding": True,
        "region": "mx",
        "architectures": ["BilmaForMaskedLM"],
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "max_position_embeddings": 280,
        "hidden_size": 512,
        "vocab_size": 29025,
        "hidden_dropout_prob": 0.1,
    }


def test_published_config_with_a_head_of_its_own():
    mapped = config_from_published({"include_top": False, "add_head": [512, 512, 15], "pooling": "cls"})
    assert mapped == {
        "attend_to_padding": True,
        "pooling": "cls",
        "architectures": ["BilmaForSequenceClassification"],
        "num_labels": 15,
    }
    assert config_from_published({"include_top": False})["architectures"] == ["BilmaModel"]


def test_hub_id_brings_weights_config_and_vocabulary(tmp_path, hub, vocab):
    write_h5(hub / "tf_model.h5", hub_layout(), model_config=None)
    published = {"weights": "MX", "include_top": True, "seq_max_length": POSITIONS, "embedding_dim": D}
    (hub / "config.json").write_text(json.dumps(published))
    vocab.rename(hub / "vocab_file_All.txt")
    assert main(["--weights", "guillermoruiz/bilma_MX", "--region", "mx", "--output_dir", str(tmp_path / "out")]) == 0
    check_mlm(tmp_path / "out", full_layout())
    assert "`guillermoruiz/bilma_MX`" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
