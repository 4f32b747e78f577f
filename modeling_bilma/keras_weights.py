"""Read Keras HDF5 files of BILMA, and assign every tensor by role, order and shape.

Only arrays and one JSON text are read from a file: no class, function or pickle in it is ever loaded.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    import h5py
except ImportError:  # the extra `convert`
    h5py = None

ATTENTION_PARTS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "attention_output": "o_proj"}

Layers = dict[str, dict[str, np.ndarray]]  # path of a layer in the file -> its tensors, such as kernel and bias
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class KerasFile:
    """Tensors of a file by layer, in the order of creation, and the row length of the input layer."""

    name: str
    layers: Layers
    input_length: int | None


@dataclass(frozen=True)
class Weights:
    """A BILMA model with our names: sizes for the config, the encoder, and the heads in the file."""

    sizes: dict[str, int]
    encoder: State
    decoder: State
    classifier: State


def read_keras_file(path: str | Path, with_input_length: bool = True) -> KerasFile:
    """Read the tensors of a Keras weights file in either layout, except for those of the optimizer.

    Args:
        with_input_length: also read the length of the input from the file's description of the model.

    Raises:
        ValueError: if h5py is missing, or the file is not HDF5, truncated, or contains something other than weights.
    """
    path = Path(path)
    if h5py is None:
        raise ValueError("reading Keras files needs h5py: pip install -e '.[convert]'")
    if not path.is_file():
        raise ValueError(f"{path} does not exist or is not a file")
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            datasets: dict[str, h5py.Dataset] = {}

            def collect(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and not name.startswith("optimizer_weights/"):
                    datasets[name] = item

            file.visititems(collect)  # follows no links, so nothing outside this file is read
            layers: Layers = {}
            for name in sorted(datasets, key=_creation_order):
                layer, _, tensor = name.removesuffix(":0").rpartition("/")
                layers.setdefault(layer, {})[tensor] = _values(datasets[name], f"{path}: {name}")
            description = file.attrs.get("model_config") if with_input_length else None
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or truncated: {one_line(error)}") from None
    return KerasFile(str(path), layers, _input_length(description, path))


def _creation_order(path: str) -> list[str | int]:
    """Key to sort `dense`, `dense_9`, `dense_10`: Keras numbers layers in the order of creation, from any number."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", path))]


def _values(dataset: Any, where: str) -> np.ndarray:
    if dataset.dtype.kind != "f":
        raise ValueError(f"{where} is of type {dataset.dtype}, not floating point: this is not a BILMA weights file")
    # If less is stored than the shape requires, HDF5 fills in zeros. (Keras never compresses.)
    if dataset.external or dataset.is_virtual or dataset.id.get_storage_size() < dataset.nbytes:
        raise ValueError(f"{where} has no values of its own in the file: it was not written completely")
    values = dataset[()].astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{where} contains values that are not finite")
    return values


def _input_length(description: str | bytes | None, path: Path) -> int | None:
    """Read the row length of the input layer from Keras's description of a model, as plain JSON."""
    if description is None:
        return None
    try:
        layers = json.loads(description)["config"]["layers"]
        inputs = next(layer["config"] for layer in layers if layer["class_name"] == "InputLayer")
        length = (inputs.get("batch_input_shape") or inputs["batch_shape"])[1]
        if not 0 < length < 1_000_000:
            raise ValueError(length)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration, RecursionError):
        raise ValueError(f"{path}: its model_config names no input length: give it with --max_positions") from None
    return length


@dataclass(frozen=True)
class Slot:
    """One of our modules, the Keras layer for it, and the required shapes of its tensors, weight first."""

    module: str
    layer: str
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Roles:
    """Paths of the layers of a file by their role, each list in the order of the encoder's layers."""

    embedding: str
    attentions: list[str]
    norms: list[str]
    feed_forward: list[str]
    decoder: list[str]
    classifier: list[str]


def assign_weights(file: KerasFile) -> Weights:
    """Assign each layer by its role, order and shape, and check every tensor.

    Raises:
        ValueError: if it is not a BILMA model, naming the tensors that are missing, extra or misshapen.
    """
    roles = _find_roles(file)
    sizes = _find_sizes(file, roles)
    encoder = _encoder_slots(roles, sizes)
    decoder = [_linear("decoder", layer, sizes["hidden_size"], sizes["vocab_size"]) for layer in roles.decoder]
    classifier = _classifier_slots(roles, sizes)
    _check_tensors(file, encoder + decoder + classifier)
    return Weights(sizes, *(_state(file.layers, slots) for slots in (encoder, decoder, classifier)))


def _find_roles(file: KerasFile) -> Roles:
    """Find the roles of layers by name, except for the MLM head: the dense layer as wide as the vocabulary.

    Keras stores the two dense layers of a block outside of its path: only their order says which block they belong to.
    """
    layers = file.layers
    attentions = list(dict.fromkeys(_parent(path) for path in layers if _last(path) in ATTENTION_PARTS))
    embeddings = [path for path in layers if "embeddings" in layers[path]]
    if not attentions or not embeddings:
        lacks = "word embedding" if attentions else "attention layer"
        raise ValueError(f"{file.name} is not a BILMA model: missing tensors: it has no {lacks} with a name of Keras")
    vocab_size, _ = _shape_of(file, embeddings[0], "embeddings", "vocabulary, hidden size")
    norms = [path for path in layers if {"gamma", "beta"} & layers[path].keys()]
    dense = [path for path in layers if {"kernel", "bias"} & layers[path].keys()]
    dense = [path for path in dense if _last(path) not in ATTENTION_PARTS]
    classifier = [path for path in dense if re.fullmatch(r"ex_\d+|cp", _last(path))]
    classifier.sort(key=lambda path: _last(path) == "cp")  # a stable sort: ex_1, ex_2, cp
    dense = [path for path in dense if path not in classifier]
    decoder = [path for path in dense if all(t.shape[-1:] == (vocab_size,) for t in layers[path].values())]
    feed_forward = [path for path in dense if path not in decoder]

    _expect(file, "word embedding", embeddings, {1})
    _expect(file, "layer normalization", norms, {2 * len(attentions)})
    _expect(file, "feed-forward dense", feed_forward, {2 * len(attentions)})
    _expect(file, "MLM head", decoder, {0, 1})
    _expect(file, "classification head (ex_1, ex_2, cp)", classifier, {0, 3})
    if not decoder and not classifier:
        raise ValueError(f"{file.name} is an encoder with missing tensors: neither an MLM head nor ex_1, ex_2 and cp")
    return Roles(embeddings[0], attentions, norms, feed_forward, decoder, classifier)


def _find_sizes(file: KerasFile, roles: Roles) -> dict[str, int]:
    vocab_size, hidden = _shape_of(file, roles.embedding, "embeddings", "vocabulary, hidden size")
    _, heads, head_dim = _shape_of(file, f"{roles.attentions[0]}/query", "kernel", "hidden size, heads, head size")
    _, inner = _shape_of(file, roles.feed_forward[0], "kernel", "hidden size, feed-forward size")
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": len(roles.attentions),
        "num_attention_heads": heads,
        "head_dim": head_dim,
        "intermediate_size": inner,
    }
    if roles.classifier:
        _, sizes["num_labels"] = _shape_of(file, roles.classifier[-1], "kernel", "hidden size, labels")
    return sizes


def _encoder_slots(roles: Roles, sizes: Mapping[str, int]) -> list[Slot]:
    hidden, inner = sizes["hidden_size"], sizes["intermediate_size"]
    heads = (sizes["num_attention_heads"], sizes["head_dim"])
    into_heads = {"kernel": (hidden, *heads), "bias": heads}
    out_of_heads = {"kernel": (*heads, hidden), "bias": (hidden,)}
    norm = {"gamma": (hidden,), "beta": (hidden,)}
    slots = [Slot("embeddings.word_embeddings", roles.embedding, {"embeddings": (sizes["vocab_size"], hidden)})]
    for i, attention in enumerate(roles.attentions):
        for part, projection in ATTENTION_PARTS.items():
            shapes = out_of_heads if part == "attention_output" else into_heads
            slots.append(Slot(f"layers.{i}.attention.{projection}", f"{attention}/{part}", shapes))
        slots.append(Slot(f"layers.{i}.attention_norm", roles.norms[2 * i], norm))
        slots.append(Slot(f"layers.{i}.mlp_norm", roles.norms[2 * i + 1], norm))
        slots.append(_linear(f"layers.{i}.mlp.up_proj", roles.feed_forward[2 * i], hidden, inner))
        slots.append(_linear(f"layers.{i}.mlp.down_proj", roles.feed_forward[2 * i + 1], inner, hidden))
    return slots


def _classifier_slots(roles: Roles, sizes: Mapping[str, int]) -> list[Slot]:
    if not roles.classifier:
        return []
    hidden = sizes["hidden_size"]
    widths = {"dense_1": hidden, "dense_2": hidden, "out_proj": sizes["num_labels"]}
    return [
        _linear(f"classifier.{module}", layer, hidden, width)
        for (module, width), layer in zip(widths.items(), roles.classifier, strict=True)
    ]


def _linear(module: str, layer: str, size_in: int, size_out: int) -> Slot:
    return Slot(module, layer, {"kernel": (size_in, size_out), "bias": (size_out,)})


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _shape_of(file: KerasFile, layer: str, tensor: str, axes: str) -> tuple[int, ...]:
    """Return the shape of a tensor that determines sizes; `axes` names its dimensions."""
    values = file.layers.get(layer, {}).get(tensor)
    if values is None:
        raise ValueError(f"{file.name} is not a whole BILMA model: missing tensor {layer}/{tensor}")
    if values.ndim != len(axes.split(", ")):
        raise ValueError(f"{file.name}: misshapen tensor {layer}/{tensor} {values.shape}, expected ({axes})")
    return values.shape


def _expect(file: KerasFile, what: str, found: Sequence[str], counts: set[int]) -> None:
    if len(found) not in counts:
        problem = "missing" if len(found) < max(counts) else "extra"
        expected = " or ".join(map(str, sorted(counts)))
        raise ValueError(
            f"{file.name} is not a whole BILMA model: {problem} tensors: expected {expected} x {what}, "
            f"found {len(found)} ({', '.join(found) or 'none'})"
        )


def _check_tensors(file: KerasFile, slots: Sequence[Slot]) -> None:
    """Check that the file has every tensor that the model needs, with the right shape, and no other."""
    needed = {f"{slot.layer}/{tensor}": shape for slot in slots for tensor, shape in slot.shapes.items()}
    held = {f"{layer}/{tensor}": t.shape for layer, tensors in file.layers.items() for tensor, t in tensors.items()}
    problems = [f"missing tensor {name}" for name in needed if name not in held]
    problems += [f"extra tensor {name} {shape}" for name, shape in held.items() if name not in needed]
    problems += [
        f"misshapen tensor {name} {held[name]}, expected {shape}"
        for name, shape in needed.items()
        if held.get(name, shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{file.name} is not a whole BILMA model: {'; '.join(problems[:5])}{more}")


def _state(layers: Layers, slots: Sequence[Slot]) -> State:
    """Convert to torch's layout, (out, in) with heads side by side; Keras has (in, out) and separate heads."""
    state = {}
    for slot in slots:
        weight, *bias = (layers[slot.layer][tensor] for tensor in slot.shapes)
        if "kernel" in slot.shapes:
            weight = weight.reshape(-1, bias[0].size).T
        state[f"{slot.module}.weight"] = torch.from_numpy(weight).contiguous()
        if bias:
            state[f"{slot.module}.bias"] = torch.from_numpy(bias[0]).flatten()
    return state


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
