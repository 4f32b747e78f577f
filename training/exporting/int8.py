"""Int8 weights for an exported graph, with one table for the embedding and the output layer."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from training.exporting.graphs import TABLE

TABLE_INT8, TABLE_SCALE = f"{TABLE}_quantized", f"{TABLE}_scale"


def quantize(source: Path, target: Path) -> None:
    """Write the graph with int8 weights, a scale for each output channel; activations are quantized as they come.

    ONNX Runtime quantizes the matrix products. It would keep a second, fp32 table for the embedding, whose rows are
    read here from the int8 columns of the output layer instead.
    """
    quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    model = onnx.load(target)
    graph = model.graph
    table = next(tensor for tensor in graph.initializer if tensor.name == TABLE)
    if TABLE_INT8 not in {tensor.name for tensor in graph.initializer}:  # no output layer, or one of its own
        graph.initializer.extend(_int8_columns(numpy_helper.to_array(table)))
    gather = next(node for node in graph.node if node.op_type == "Gather" and node.input[0] == TABLE)
    place = list(graph.node).index(gather)
    graph.node.remove(gather)
    for node in reversed(_gather_int8(gather.input[1], gather.output[0])):
        graph.node.insert(place, node)
    graph.initializer.remove(table)
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _int8_columns(table: np.ndarray) -> list[onnx.TensorProto]:
    """(D, V) as int8 with a scale for each column."""
    scale = np.maximum(np.abs(table).max(0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    return [
        numpy_helper.from_array(np.rint(table / scale).astype(np.int8), TABLE_INT8),
        numpy_helper.from_array(scale, TABLE_SCALE),
    ]


def _gather_int8(ids: str, output: str) -> list[onnx.NodeProto]:
    """The columns of the table at `ids`, times their scales."""
    steps = [f"{TABLE}_{step}" for step in ("columns", "columns_fp32", "scales")]
    columns, columns_fp32, scales = steps
    return [
        helper.make_node("Gather", [TABLE_INT8, ids], [columns], axis=1),
        helper.make_node("Cast", [columns], [columns_fp32], to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [TABLE_SCALE, ids], [scales], axis=0),
        helper.make_node("Mul", [columns_fp32, scales], [output]),
    ]
