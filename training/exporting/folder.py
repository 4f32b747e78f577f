"""The folder of an export, laid out as transformers.js opens it; ONNX Runtime needs no more than its files."""

import json
from pathlib import Path

from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig
from training.common.files import file_sha256, write_json

FILES = "onnx"  # the subfolder that transformers.js reads graphs from
FP32, INT8 = "{}.onnx", "{}_quantized.onnx"  # its names for dtype "fp32" and "q8"


def write_side_files(folder: Path, config: BilmaConfig, tokenizer: TokenizersBackend, architecture: str) -> None:
    """Write configuration, tokenizer, and the SHA-256 and size of each graph beside the graphs.

    transformers.js knows no BILMA: the configuration calls the model a BERT, which has the same inputs and outputs.

    Args:
        architecture: the class of transformers.js, such as BertForMaskedLM.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    write_json(path, settings)
    kept = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    regional = ("regions", "first_region_token_id", "region")
    write_json(
        folder / "config.json",
        {
            "model_type": "bert",
            "architectures": [architecture],
            **{name: getattr(config, name) for name in (*kept, *regional)},
            "pad_token_id": config.pad_token_id,
            "mask_token_id": tokenizer.mask_token_id,
            "id2label": {str(number): label for number, label in (config.id2label or {}).items()},
            "label2id": config.label2id,
        },
    )
    graphs = sorted((folder / FILES).glob("*.onnx"))
    write_json(folder / "files.json", {f"{FILES}/{graph.name}": _digest(graph) for graph in graphs})


def _digest(path: Path) -> dict[str, str | int]:
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}
