import ast
import base64
import hashlib
import json
import os
import pickle
import subprocess
import sys
from math import erf
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from transformers import AutoModelForMaskedLM, AutoTokenizer

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification, convert_keras, keras_weights
from modeling_bilma.convert_keras import convert, main
from modeling_bilma.keras_weights import read_keras_file
from modeling_bilma.published import EMOJI_15, config_from_published
from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS

V, D, H, K, F, LAYERS, POSITIONS, LABELS = 61, 8, 2, 6, 12, 2, 20, 15
WORDS = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz0123456789", *"¿?!.,", "vamos", "a##", "comer", "tacos"]
VOCABULARY = WORDS + [f"w{i}" for i in range(V - 1 - len(WORDS))]  # one token less than rows, as published
ROOT = Path(__file__).resolve().parents[2]


# ---- files as Keras writes them ------------------------------------------------------------------------------------


def encoder_tensors(rng, block=9, dense=10):
    """Name in the encoder -> array; the counters start at arbitrary numbers and pass from one digit to two."""
    tensors = {}
    for i in range(LAYERS):
        prefix = f"encoder_5/encoder_block_{block + i}"
        attention = f"{prefix}/multi_head_attention_{i or ''}".rstrip("_")
        for part in ("query", "key", "value"):
            tensors[f"{attention}/{part}/kernel:0"] = rng.normal(0, 0.5, (D, H, K))
            tensors[f"{attention}/{part}/bias:0"] = rng.normal(0, 0.5, (H, K))
        tensors[f"{attention}/attention_output/kernel:0"] = rng.normal(0, 0.5, (H, K, D))
        tensors[f"{attention}/attention_output/bias:0"] = rng.normal(0, 0.5, D)
        for norm in range(2):
            tensors[f"{prefix}/layer_normalization_{9 + 2 * i + norm}/gamma:0"] = rng.normal(1, 0.3, D)
            tensors[f"{prefix}/layer_normalization_{9 + 2 * i + norm}/beta:0"] = rng.normal(0, 0.3, D)
        for number, shape in ((dense + 2 * i - 1, (D, F)), (dense + 2 * i, (F, D))):  # dense_9, dense_10, ...
            tensors[f"dense_{number}/kernel:0"] = rng.normal(0, 0.5, shape)
            tensors[f"dense_{number}/bias:0"] = rng.normal(0, 0.5, shape[1])
    return tensors


def full_layout(seed=0, classification=False):
    """Path -> array of a full model file."""
    rng = np.random.default_rng(seed)
    tensors = {f"model_weights/encoder_5/{name}": values for name, values in encoder_tensors(rng).items()}
    tensors["model_weights/embedding/embedding/embeddings:0"] = rng.normal(0, 0.5, (V, D))
    widths = {"dense_37": (D, V)}
    if classification:
        widths |= {"ex_1": (D, D), "ex_2": (D, D), "cp": (D, LABELS)}
    for name, shape in widths.items():
        tensors[f"model_weights/{name}/{name}/kernel:0"] = rng.normal(0, 0.5, shape)
        tensors[f"model_weights/{name}/{name}/bias:0"] = rng.normal(0, 0.5, shape[1])
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def hub_layout(seed=0):
    """The same tensors as in `tf_model.h5`; the head's counter there may come before those of the encoder."""
    tensors = {}
    for path, values in full_layout(seed).items():
        name = path.split("/", 2)[2].replace("dense_37", "dense_3")
        tensors[f"model/{name}"] = values
    return tensors


def write_h5(path, tensors, model_config=True):
    with h5py.File(path, "w") as file:
        for name, values in tensors.items():
            file[name] = values
        if any(name.startswith("model_weights/") for name in tensors):
            file["optimizer_weights/Adam/m/dense_37/kernel:0"] = np.zeros((3, 3), np.float32)
            file["optimizer_weights/iteration:0"] = np.int64(7)
        if model_config is True:
            layers = [{"class_name": "InputLayer", "config": {"batch_input_shape": [None, POSITIONS]}}]
            model_config = json.dumps({"class_name": "Functional", "config": {"layers": layers}})
        if model_config:
            file.attrs["model_config"] = model_config
    return path


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


# ---- the authors' forward pass, in numpy ---------------------------------------------------------------------------


def dense(x, tensors, name):
    return x @ tensors[f"{name}/kernel:0"] + tensors[f"{name}/bias:0"]


def layer_norm(x, tensors, name):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return x * tensors[f"{name}/gamma:0"] + tensors[f"{name}/beta:0"]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def attention(x, tensors, name):
    q, k, v = (
        np.einsum("pd,dhk->hpk", x, tensors[f"{name}/{part}/kernel:0"]) + tensors[f"{name}/{part}/bias:0"][:, None]
        for part in ("query", "key", "value")
    )
    context = softmax(np.einsum("hpk,hqk->hpq", q, k) / np.sqrt(K)) @ v
    output = f"{name}/attention_output"
    return np.einsum("hpk,hkd->pd", context, tensors[f"{output}/kernel:0"]) + tensors[f"{output}/bias:0"]


def states(tensors, ids):
    """(POSITIONS, D) of one text, padded and nothing masked; tensors under the names of a full model file."""
    row = np.zeros(POSITIONS, int)
    row[: len(ids)] = ids
    encoder = {name.split("/", 2)[2]: values.astype(np.float64) for name, values in tensors.items()}
    position, i = np.arange(POSITIONS)[:, None], np.arange(D)
    angle = position / 10000 ** (2 * (i // 2) / D)
    x = encoder["embedding/embeddings:0"][row] * np.sqrt(D) + np.where(i % 2, np.cos(angle), np.sin(angle))
    gelu = np.vectorize(lambda value: value * (1 + erf(value / np.sqrt(2))) / 2)
    for layer in range(LAYERS):
        block = f"encoder_5/encoder_block_{9 + layer}"
        attended = attention(x, encoder, f"{block}/multi_head_attention{'_1' if layer else ''}")
        x = layer_norm(x + attended, encoder, f"{block}/layer_normalization_{9 + 2 * layer}")
        inner = gelu(dense(x, encoder, f"dense_{9 + 2 * layer}"))
        outer = dense(inner, encoder, f"dense_{10 + 2 * layer}")
        x = layer_norm(x + outer, encoder, f"{block}/layer_normalization_{10 + 2 * layer}")
    return x


def mlm_logits(tensors, ids):
    return dense(states(tensors, ids)[: len(ids)], tensors, "model_weights/dense_37/dense_37")


def class_probabilities(tensors, ids):
    x = states(tensors, ids)[0]
    for name in ("ex_1", "ex_2"):
        x = np.maximum(dense(x, tensors, f"model_weights/{name}/{name}"), 0)
    return softmax(dense(x, tensors, "model_weights/cp/cp"))


TEXTS = [[2, 40, 6, 47, 3], [2, 3], [2, *range(5, 22), 3]]


@torch.inference_mode()
def check_mlm(folder, tensors):
    model = BilmaForMaskedLM.from_pretrained(folder).eval()
    batch = torch.zeros(len(TEXTS), max(map(len, TEXTS)), dtype=torch.long)
    for row, ids in zip(batch, TEXTS, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    together = model(batch, attention_mask=(batch != 0).long()).logits.numpy()
    for ids, logits in zip(TEXTS, together, strict=True):
        expected = mlm_logits(tensors, ids)
        alone = model(torch.tensor([ids])).logits[0].numpy()
        np.testing.assert_allclose(alone, expected, atol=1e-4)
        np.testing.assert_allclose(logits[: len(ids)], expected, atol=1e-4)


# ---- conversion ----------------------------------------------------------------------------------------------------


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


# ---- the published config ------------------------------------------------------------------------------------------


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


# ---- the Hub -------------------------------------------------------------------------------------------------------


ANSWER = Mock(headers={})


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that acts as a repository of the Hub: files in it can be downloaded."""
    folder = tmp_path / "hub"
    folder.mkdir()

    def download(repository, filename):
        assert repository == "guillermoruiz/bilma_MX"
        if not (folder / filename).exists():
            raise RemoteEntryNotFoundError("no such file", response=ANSWER)
        return str(folder / filename)

    monkeypatch.setattr(convert_keras, "hf_hub_download", download)
    return folder


def test_hub_id_brings_weights_config_and_vocabulary(tmp_path, hub, vocab):
    write_h5(hub / "tf_model.h5", hub_layout(), model_config=None)
    published = {"weights": "MX", "include_top": True, "seq_max_length": POSITIONS, "embedding_dim": D}
    (hub / "config.json").write_text(json.dumps(published))
    vocab.rename(hub / "vocab_file_All.txt")
    assert main(["--weights", "guillermoruiz/bilma_MX", "--region", "mx", "--output_dir", str(tmp_path / "out")]) == 0
    check_mlm(tmp_path / "out", full_layout())
    assert "`guillermoruiz/bilma_MX`" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


# ---- bad input -----------------------------------------------------------------------------------------------------


def assert_refused(capsys, tmp_path, *words, weights=None, vocab=None, region="mx", extra=()):
    """One line that holds the words, status 2, and nothing written."""
    arguments = ["--weights", str(weights or tmp_path / "m.h5"), "--region", region]
    arguments += ["--output_dir", str(tmp_path / "out"), *extra]
    if vocab is not None:
        arguments += ["--vocab", str(vocab)]
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    for word in words:
        assert str(word) in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_file(capsys, tmp_path, vocab):
    assert_refused(capsys, tmp_path, "m.h5 does not exist", vocab=vocab)


def test_not_hdf5(capsys, tmp_path, vocab):
    (tmp_path / "m.h5").write_text("a text")
    assert_refused(capsys, tmp_path, "m.h5 is not an HDF5 file", vocab=vocab)


def test_hdf5_of_something_else(capsys, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", {"layers/dense/vars/0": np.ones((2, 3), np.float32)}, model_config=None)
    assert_refused(capsys, tmp_path, "is not a BILMA model", vocab=vocab)
    write_h5(tmp_path / "m.h5", {"table": np.array([1, 2])}, model_config=None)
    assert_refused(capsys, tmp_path, "table is of type int64", vocab=vocab)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_file(capsys, tmp_path, vocab, share):
    whole = write_h5(tmp_path / "whole.h5", full_layout()).read_bytes()
    (tmp_path / "m.h5").write_bytes(whole[: int(len(whole) * share)])
    assert_refused(capsys, tmp_path, "m.h5 is damaged or truncated", vocab=vocab)


@pytest.mark.parametrize("layout", [full_layout, hub_layout])
def test_each_missing_tensor_is_named(capsys, tmp_path, vocab, layout):
    for name in layout():
        tensors = layout()
        del tensors[name]
        with pytest.raises(ValueError, match="missing tensor") as error:
            keras_weights.assign_weights(read_keras_file(write_h5(tmp_path / "m.h5", tensors)))
        known_absent = "embeddings" if name.endswith("embeddings:0") else name.removesuffix(":0")
        assert known_absent in str(error.value) or "word embedding" in str(error.value)
    del tensors[next(iter(tensors))]
    write_h5(tmp_path / "m.h5", tensors)
    assert_refused(capsys, tmp_path, "missing tensor", vocab=vocab)


def test_each_misshapen_tensor_is_named(tmp_path):
    for name, values in full_layout(classification=True).items():
        tensors = full_layout(classification=True)
        tensors[name] = np.ones((*values.shape[:-1], values.shape[-1] + 1), np.float32)
        with pytest.raises(ValueError, match="tensor"):
            keras_weights.assign_weights(read_keras_file(write_h5(tmp_path / "m.h5", tensors)))


def test_misshapen_tensors_with_both_shapes(capsys, tmp_path, vocab):
    tensors = full_layout()
    name = "model_weights/encoder_5/encoder_5/encoder_block_10/multi_head_attention_1/key/kernel"
    tensors[f"{name}:0"] = np.ones((D, K, H), np.float32)
    write_h5(tmp_path / "m.h5", tensors)
    assert_refused(capsys, tmp_path, f"misshapen tensor {name} ({D}, {K}, {H}), expected ({D}, {H}, {K})", vocab=vocab)


@pytest.mark.parametrize("extra", ["lstm/lstm/recurrent:0", "dense_99/dense_99/kernel:0", "ex_3/ex_3/bias:0"])
def test_extra_tensors_are_named(capsys, tmp_path, vocab, extra):
    write_h5(tmp_path / "m.h5", {**full_layout(), f"model_weights/{extra}": np.ones((D, 5), np.float32)})
    assert_refused(capsys, tmp_path, "tensor", extra.rpartition("/")[0], vocab=vocab)


def test_tensors_without_values(capsys, tmp_path, vocab):
    tensors = full_layout()
    name = "model_weights/dense_37/dense_37/kernel:0"
    tensors[name] = np.full((D, V), np.nan, np.float32)
    write_h5(tmp_path / "m.h5", tensors)
    assert_refused(capsys, tmp_path, name, "not finite", vocab=vocab)
    del tensors[name]
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file.create_dataset(name, (D, V), "float32")  # never written: HDF5 would read zeros
    assert_refused(capsys, tmp_path, name, "was not written completely", vocab=vocab)
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file.create_dataset(name, (D, V), "float32", external=[(str(vocab), 0, D * V * 4)])
    assert_refused(capsys, tmp_path, name, "was not written completely", vocab=vocab)


def test_links_out_of_the_file_are_not_followed(capsys, tmp_path, vocab):
    tensors = full_layout()
    name = "model_weights/dense_37/dense_37/kernel:0"
    write_h5(tmp_path / "other.h5", {name: tensors.pop(name)}, model_config=None)
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), name)
    assert_refused(capsys, tmp_path, f"missing tensor {name.removesuffix(':0')}", vocab=vocab)


@pytest.mark.parametrize("description", ["{", "[]", "null", '{"config": {"layers": [7]}}', "[" * 100_000])
def test_model_config_without_an_input_length(capsys, tmp_path, vocab, description):
    write_h5(tmp_path / "m.h5", full_layout(), model_config=None)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs.create("model_config", description[:60_000])
    assert_refused(capsys, tmp_path, "names no input length", "--max_positions", vocab=vocab)
    convert(str(tmp_path / "m.h5"), "mx", tmp_path / "out", vocab, max_positions=POSITIONS)
    check_mlm(tmp_path / "out", full_layout())


@pytest.mark.parametrize(("tokens", "line"), [(V - 2, "59 tokens"), (V + 1, "62 tokens")])
def test_vocabulary_of_the_wrong_length(capsys, tmp_path, vocab, tokens, line):
    vocab.write_text("\n".join([*VOCABULARY, "x1", "x2"][:tokens]), encoding="utf-8")
    write_h5(tmp_path / "m.h5", full_layout())
    assert_refused(capsys, tmp_path, line, "61 rows", vocab=vocab)


def test_vocabulary_without_special_tokens(capsys, tmp_path, vocab):
    vocab.write_text("\n".join(reversed(VOCABULARY)), encoding="utf-8")
    write_h5(tmp_path / "m.h5", full_layout())
    assert_refused(capsys, tmp_path, "does not begin with the special tokens", vocab=vocab)


def test_missing_vocabulary(capsys, tmp_path):
    write_h5(tmp_path / "m.h5", full_layout())
    assert_refused(capsys, tmp_path, "--vocab")
    assert_refused(capsys, tmp_path, "none.txt", vocab=tmp_path / "none.txt")


def test_bad_region(capsys, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", full_layout())
    assert_refused(capsys, tmp_path, "'pt'", "ar, cl, co, es, mx, us, uy, ve", vocab=vocab, region="pt")


def test_sizes_that_do_not_make_a_model(capsys, tmp_path, vocab, monkeypatch):
    monkeypatch.setitem(globals(), "D", 7)
    write_h5(tmp_path / "m.h5", full_layout())
    assert_refused(capsys, tmp_path, "hidden_size=7 is odd", vocab=vocab)


def test_h5py_missing(capsys, tmp_path, vocab, monkeypatch):
    write_h5(tmp_path / "m.h5", full_layout())
    monkeypatch.setattr(keras_weights, "h5py", None)
    assert_refused(capsys, tmp_path, "modeling-bilma[convert]", vocab=vocab)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RepositoryNotFoundError("401\n\nlong", response=ANSWER), "it needs a token"),
        (GatedRepoError("403\n\nlong", response=ANSWER), "needs a token"),
        (LocalEntryNotFoundError("offline"), "cannot be reached"),
        (RemoteEntryNotFoundError("404", response=ANSWER), "has no tf_model.h5"),
        (HfHubHTTPError("500\nserver", response=ANSWER), "cannot be downloaded: 500 server"),
    ],
)
def test_hub_id_that_cannot_be_downloaded(capsys, tmp_path, vocab, monkeypatch, error, words):
    def download(repository, filename):
        raise error

    monkeypatch.setattr(convert_keras, "hf_hub_download", download)
    assert_refused(capsys, tmp_path, "org/name", words, weights="org/name", vocab=vocab)


def test_invalid_hub_id(capsys, tmp_path, vocab):
    assert_refused(capsys, tmp_path, "neither a file nor a Hub id", weights="a b/c", vocab=vocab)


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"weights": "AR"}', "region='ar'"),
        ('{"weights": "FR"}', "'FR'"),
        ('{"embedding_dim": 512}', "hidden_size=512"),
        ('{"add_head": 15}', "add_head=15"),
        ('{"seq_max_length": 0}', "max_position_embeddings=0"),
    ],
)
def test_published_config_that_does_not_fit(capsys, tmp_path, vocab, hub, published, words):
    write_h5(hub / "tf_model.h5", hub_layout(), model_config=None)
    (hub / "config.json").write_text(published)
    assert_refused(capsys, tmp_path, words, weights="guillermoruiz/bilma_MX", vocab=vocab)


def test_pooling_that_was_not_checked_is_refused(capsys, tmp_path, vocab, hub):
    write_h5(hub / "tf_model.h5", full_layout(classification=True))
    (hub / "config.json").write_text('{"pooling": "mean"}')
    assert_refused(capsys, tmp_path, "pooling='mean'", weights="guillermoruiz/bilma_MX", vocab=vocab)


# ---- output folders ------------------------------------------------------------------------------------------------


def test_an_mlm_folder_needs_two_models(capsys, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", full_layout())
    extra = ("--output_mlm_dir", str(tmp_path / "mlm"))
    assert_refused(capsys, tmp_path, "omit --output_mlm_dir", vocab=vocab, extra=extra)


def test_a_used_folder_is_kept_without_overwrite(capsys, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", full_layout())
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert_refused(capsys, tmp_path, "is not empty", vocab=vocab)
    assert_refused(capsys, tmp_path, "something other than a model", vocab=vocab, extra=["--overwrite"])
    (out / "config.json").write_text("{}")
    convert(str(tmp_path / "m.h5"), "mx", out, vocab, overwrite=True)
    check_mlm(out, full_layout())
    assert not (out / "notes.txt").exists()


def test_no_output_over_an_input_or_the_other_output(capsys, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", full_layout(classification=True))
    inside = ("--output_mlm_dir", str(tmp_path / "out" / "mlm"))
    same = ("--output_mlm_dir", str(tmp_path / "out" / "..." / ".." / ".." / "out"))
    assert_refused(capsys, tmp_path, "is inside, the output folder", vocab=vocab, extra=inside)
    assert_refused(capsys, tmp_path, "is inside, the output folder", vocab=vocab, extra=same)
    over = ("--output_dir", str(tmp_path), "--overwrite")
    assert_refused(capsys, tmp_path, "is inside, the output folder", vocab=vocab, extra=over)


@pytest.mark.parametrize("error", [OSError, SafetensorError])  # of this program, and of the library for weights
def test_a_failure_while_writing_leaves_nothing(tmp_path, vocab, monkeypatch, capsys, error):
    write_h5(tmp_path / "m.h5", full_layout(classification=True))

    def full_disk(*_):
        raise error("No space left on device")

    monkeypatch.setattr(convert_keras, "_card", full_disk)
    assert_refused(capsys, tmp_path, "No space left", vocab=vocab, extra=("--output_mlm_dir", str(tmp_path / "mlm")))


# ---- nothing in a file is executed ---------------------------------------------------------------------------------


class Payload:
    """Creates a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
def test_nothing_in_a_weights_file_is_executed(tmp_path, vocab):
    trap = tmp_path / "executed"
    pickled = pickle.dumps(Payload(trap))
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, POSITIONS]}},
        {
            "class_name": "Lambda",
            "config": {"function": [base64.b64encode(pickled).decode(), None, None], "function_type": "lambda"},
        },
        {"class_name": "os>mkdir", "module": "os", "registered_name": "mkdir", "config": {"path": str(trap)}},
    ]
    description = json.dumps({"class_name": "Functional", "config": {"layers": layers}})
    with h5py.File(write_h5(tmp_path / "m.h5", full_layout(), description), "a") as file:
        file.attrs["training_config"] = np.void(pickled)
        file.attrs["layer_names"] = np.void(pickled)
        file["model_weights"].attrs["weight_names"] = np.void(pickled)
        file["optimizer_weights/pickled:0"] = np.void(pickled)
    code = (
        "import runpy, sys\n"
        "import modeling_bilma\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event))\n"
        "try:\n"
        "    runpy.run_module('modeling_bilma.convert_keras', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert 'open' in seen\n"
        "assert not {'pickle.find_class', 'os.system', 'os.exec', 'socket.connect'} & set(seen)\n"
        "assert not {'keras', 'tensorflow', 'tf_keras'} & {name.partition('.')[0] for name in sys.modules}\n"
    )
    arguments = ["--weights", tmp_path / "m.h5", "--vocab", vocab, "--region", "mx", "--output_dir", tmp_path / "out"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"wrote {tmp_path / 'out'}\n"
    assert not trap.exists()
    pickle.loads(pickled)
    assert trap.exists()  # so the payload works, and was never opened


@pytest.mark.parametrize("module", [convert_keras, keras_weights], ids=lambda module: module.__name__)
def test_the_modules_import_nothing_that_could_execute_a_file(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {"pickle", "marshal", "keras", "tensorflow", "importlib", "subprocess"} & imported
    assert not {"eval", "exec", "compile", "__import__"} & called
