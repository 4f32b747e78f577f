"""Weights as Keras writes them, and the authors' forward pass in numpy."""

import json
from math import erf

import h5py
import numpy as np
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS

V, D, H, K, F, LAYERS, POSITIONS, LABELS = 61, 8, 2, 6, 12, 2, 20, 15
WORDS = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyz0123456789", *"¿?!.,", "vamos", "a##", "comer", "tacos"]
VOCABULARY = WORDS + [f"w{i}" for i in range(V - 1 - len(WORDS))]  # one token less than rows, as published


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
