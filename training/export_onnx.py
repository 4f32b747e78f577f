"""Write a BILMA as ONNX graphs, in fp32 and int8, for ONNX Runtime and transformers.js.

    python training/export_onnx.py --model models/bilma --output_dir bilma-onnx

A masked language model becomes two graphs, a classifier the first of them:

- `onnx/model.onnx`: `input_ids` and `attention_mask` to logits at every position, as `pipeline("fill-mask")` of
  transformers.js needs. A region is selected by its token in the text, `[MX] ...`.
- `onnx/masked.onnx`: logits at `mask_positions` alone; `region` is a number in `regions` of config.json, or -1.

The int8 graphs are `*_quantized.onnx`. docs/onnx.md shows both in use. Needs the extra `onnx`.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import argparse
import logging
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import PreTrainedConfig

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_folder
from training.common.locks import only_run_in
from training.engine.models import open_whole
from training.exporting.folder import FILES, FP32, INT8, write_side_files
from training.exporting.graphs import ClassifierGraph, DenseGraph, Graph, MaskedGraph, write_graph
from training.exporting.int8 import quantize

# Class of ours, that of transformers.js, and the graphs by name.
Kind = tuple[type[BilmaForMaskedLM | BilmaForSequenceClassification], str, dict[str, type[Graph]]]
KINDS: dict[str, Kind] = {
    "BilmaForMaskedLM": (BilmaForMaskedLM, "BertForMaskedLM", {"model": DenseGraph, "masked": MaskedGraph}),
    "BilmaForSequenceClassification": (
        BilmaForSequenceClassification,
        "BertForSequenceClassification",
        {"model": ClassifierGraph},
    ),
}
TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub id of a BILMA")
    parser.add_argument("--output_dir", required=True, help="folder to make, with graphs, configuration and tokenizer")
    args = parser.parse_args()
    output_dir = Path(args.output_dir).resolve()
    with only_run_in(output_dir):
        if output_dir.exists():
            raise InputError(f"{output_dir} exists already: give a new folder as --output_dir")
        model_class, architecture, graphs = kind_of(args.model)
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every optional package that it lacks
        model = open_whole(model_class, args.model).eval()
        with as_input_error(ValueError):
            tokenizer = load_tokenizer(args.model)
        with write_folder(output_dir) as folder:
            (folder / FILES).mkdir()
            for name, graph_class in graphs.items():
                fp32, int8 = (folder / FILES / pattern.format(name) for pattern in (FP32, INT8))
                graph = graph_class(model)
                write_graph(graph, fp32)
                difference = check_agreement(graph, fp32)
                quantize(fp32, int8)
                sizes = " and ".join(f"{path.stat().st_size / 1e6:.1f} MB" for path in (fp32, int8))
                print(f"{name}: fp32 and int8, {sizes}; fp32 differs from torch by {difference:.1e} at most")
            write_side_files(folder, model.config, tokenizer, architecture)
        print(output_dir)


def kind_of(path_or_id: str) -> Kind:
    """The entry of `KINDS` for a saved model.

    Raises:
        InputError: if there is no model, it is no BILMA, has a head that is not exported, or attends to its padding.
    """
    with as_input_error(OSError, ValueError):
        config, _ = PreTrainedConfig.get_config_dict(path_or_id)
    if config.get("model_type") != "bilma":
        raise InputError(f"{path_or_id} is no BILMA (model_type {config.get('model_type')}): give one")
    name = next(iter(config.get("architectures") or []), None)
    if name not in KINDS:
        raise InputError(f"{path_or_id} is a {name}: give one of {', '.join(KINDS)}")
    if config.get("attend_to_padding"):
        raise InputError(
            f"{path_or_id} attends to its padding, so that every answer takes all {config['max_position_embeddings']} "
            "positions: give a model that masks it, as every newly trained one does"
        )
    return KINDS[name]


@torch.no_grad()
def check_agreement(graph: Graph, path: Path) -> float:
    """The greatest difference between the logits of torch and of ONNX Runtime, over random texts with padding.

    Raises:
        RuntimeError: if it is over `TOLERANCE`.
    """
    generator = torch.Generator().manual_seed(0)
    size = graph.bilma.config.first_region_token_id or graph.bilma.config.vocab_size
    texts, length = 5, 13
    ids = torch.randint(5, size, (texts, length), generator=generator)
    inputs = {"input_ids": ids, "attention_mask": (torch.arange(length) < torch.arange(9, 14)[:, None]).long()}
    if isinstance(graph, MaskedGraph):
        inputs["mask_positions"] = torch.randint(1, 8, (texts, 2), generator=generator)
        if graph.bilma.config.regions is not None:
            inputs["region"] = torch.arange(-1, texts - 1).clamp(max=len(graph.bilma.config.regions) - 1)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    expected = graph(**inputs)
    if not isinstance(graph, DenseGraph):
        difference = np.abs(logits - expected.numpy()).max()
    else:  # what padding would answer is nobody's concern
        difference = np.abs(logits - expected.numpy())[inputs["attention_mask"].bool().numpy()].max()
    if difference > TOLERANCE:
        raise RuntimeError(f"{path}: its logits differ from torch's by {difference:.1e}, more than {TOLERANCE:.0e}")
    return float(difference)


if __name__ == "__main__":
    run(main)
