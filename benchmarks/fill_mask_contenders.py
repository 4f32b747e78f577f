"""A contender of `benchmarks/fill_mask.py`, from texts to the best five tokens at their masks.

    python -m benchmarks.fill_mask_contenders pipeline MODEL DTYPE    # the pipeline that users open; DTYPE may be auto
    python -m benchmarks.fill_mask_contenders graph FILE.onnx MODEL   # ONNX Runtime, without torch

`benchmarks/turns.py` describes requests.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.turns import serve

TOP = 5


def timed(work: Callable[[], Any]) -> dict[str, float]:
    start = time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start}


class Pipeline:
    """`pipeline("fill-mask")` on a saved folder."""

    def __init__(self, model: str, dtype: str):
        from transformers import pipeline  # the other contender does without

        self.fill = pipeline("fill-mask", model=model, dtype=dtype, trust_remote_code=True, batch_size=64)

    def answer(self, texts: list[str]) -> dict[str, float]:
        inputs = texts[0] if len(texts) == 1 else texts  # a list of one would go through a data loader
        return timed(lambda: self.fill(inputs))


class Graph:
    """A graph of `training/export_onnx.py`, or one with logits everywhere, in ONNX Runtime."""

    def __init__(self, graph: str, tokenizer: str):
        import onnxruntime
        from tokenizers import Tokenizer

        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.names = {node.name for node in self.session.get_inputs()}
        self.tokenizer = Tokenizer.from_file(str(Path(tokenizer) / "tokenizer.json"))
        self.tokenizer.enable_padding()

    def answer(self, texts: list[str]) -> dict[str, float]:
        return timed(lambda: self.best(texts))

    def best(self, texts: list[str]) -> list[set[str]]:
        """Return the best tokens of each text, in no order."""
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings])
        inputs = graph_inputs(ids, self.tokenizer.token_to_id("[MASK]"), self.tokenizer.token_to_id("[PAD]"))
        logits = self.session.run(None, {name: inputs[name] for name in self.names})[0]
        everywhere = "mask_positions" not in self.names
        rows = logits[np.arange(len(ids)), inputs["mask_positions"][:, 0]] if everywhere else logits[:, 0]
        best = np.argpartition(rows, -TOP)[:, -TOP:]
        return [{self.tokenizer.id_to_token(int(token)) for token in tokens} for tokens in best]


def graph_inputs(ids: np.ndarray, mask_id: int, pad_id: int) -> dict[str, np.ndarray]:
    """Return all inputs that a graph may have, for texts of no region with one mask each."""
    return {
        "input_ids": ids,
        "attention_mask": (ids != pad_id).astype(np.int64),
        "mask_positions": (ids == mask_id).argmax(1)[:, None],
        "region": np.full(len(ids), -1),
    }


def main(arguments: Sequence[str]) -> None:
    kind, *rest = arguments
    serve({"pipeline": Pipeline, "graph": Graph}[kind](*rest))


if __name__ == "__main__":
    main(sys.argv[1:])
