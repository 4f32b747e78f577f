"""Compare fill-mask in every runtime with the authors' code and a BERT of the same size: `make bench-fill-mask`.

    python -m benchmarks.fill_mask --model models/bilma --texts mx.jsonl.gz --region mx

Time: one text and 64 texts, from text to the best five tokens; in Chromium from ids to logits, and the page itself.
The BERT is random, of the same width, depth and vocabulary, and computes logits everywhere, as usual exports do. All
take turns. Agreement: a random token of each of 2,000 texts is masked and predicted, with the part of `--region`.
Needs the environment of `make parity`. Writes benchmarks/results/fill_mask.json, and fill_mask.png from it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch.export import Dim
from tqdm import tqdm
from transformers import BertConfig, BertForMaskedLM, TokenizersBackend

from benchmarks.chromium import GraphInChromium, open_browser, serve, time_page
from benchmarks.draw import draw_fill_mask
from benchmarks.fill_mask_contenders import graph_inputs
from benchmarks.reporting import write_result
from benchmarks.turns import AUTHORS, ROOT, contender, ratio, summary
from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.texts.corpus import Corpus
from training.texts.files import find_files

PAGE_TEXT = "me gusta tomar [MASK] en la mañana"
SHORT_TEXT_WORDS = 15
COUNTS = (1, 64)  # texts of one request
Timer = Callable[[list[str], list[str]], float]  # seconds for texts, given as they are and with the second word masked
Masked = list[tuple[list[int], int, int]]  # ids with one token masked, its position, and the token


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a BILMA masked language model with regional parts")
    parser.add_argument("--texts", nargs="+", required=True, help="texts to measure with")
    parser.add_argument("--region", required=True, help="region of the texts")
    parser.add_argument("--authors_python", default=ROOT / ".venv-parity" / "bin" / "python", type=Path)
    parser.add_argument("--number", type=int, default=2000, help="number of masked texts")
    parser.add_argument("--rounds", type=int, default=20, help="number of measurements")
    parser.add_argument("--warmup_rounds", type=int, default=3, help="rounds before them, which are not counted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "fill_mask.json")
    return parser.parse_args()


def mask_one(texts: list[str], tokenizer: TokenizersBackend, number: int, seed: int) -> Masked:
    rng = np.random.default_rng(seed)
    masked = []
    for ids in tokenizer(texts, truncation=True, max_length=128)["input_ids"]:
        if len(ids) < 5:  # too short for context
            continue
        position = int(rng.integers(1, len(ids) - 1))
        target, ids[position] = ids[position], tokenizer.mask_token_id
        masked.append((ids, position, target))
        if len(masked) == number:
            return masked
    raise SystemExit(f"only {len(masked)} texts have three tokens or more: give more, or a smaller --number")


def agreement(args: argparse.Namespace, onnx: Path, masked: Masked) -> dict[str, Any]:
    """Compare the best answer in bf16, and in ONNX Runtime in fp32 and int8, with that of torch in fp32."""
    regions = json.loads((onnx / "config.json").read_text())["regions"]
    targets = np.array([target for *_, target in masked])
    best, largest = {}, 0.0
    fp32 = list(torch_logits(args, masked, torch.float32))
    best["torch_fp32"] = np.array([int(logits.argmax()) for logits in fp32])
    best["torch_bf16"] = np.array([int(logits.argmax()) for logits in torch_logits(args, masked, torch.bfloat16)])
    for name, file in (("onnx_fp32", "masked"), ("onnx_int8", "masked_quantized")):
        found = list(graph_logits(onnx / "onnx" / f"{file}.onnx", masked, regions.index(args.region)))
        if name == "onnx_fp32":
            largest = max(
                float(np.abs(mine - theirs[: len(mine)]).max()) for mine, theirs in zip(found, fp32, strict=True)
            )
        best[name] = np.array([int(logits.argmax()) for logits in found])
    return {
        "texts": len(masked),
        "onnx_fp32_largest_difference": largest,
        "masked_accuracy": {name: float((answers == targets).mean()) for name, answers in best.items()},
        "same_top_answer": {
            name: float((answers == best["torch_fp32"]).mean())
            for name, answers in best.items()
            if name != "torch_fp32"
        },
    }


@torch.inference_mode()
def torch_logits(args: argparse.Namespace, masked: Masked, dtype: torch.dtype) -> Iterator[np.ndarray]:
    model = BilmaForMaskedLM.from_pretrained(args.model, dtype=dtype).eval()
    config = model.config
    token = config.region_token_ids[config.regions.index(args.region)]
    for ids, position, _ in masked:
        row = torch.tensor([[ids[0], token, *ids[1:]]])
        yield model(input_ids=row, output_positions=torch.tensor([[position + 1]])).logits[0, 0].float().numpy()


def graph_logits(graph: Path, masked: Masked, region: int) -> Iterator[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for ids, position, _ in masked:
        row = np.array([ids])
        inputs = {"input_ids": row, "attention_mask": np.ones_like(row), "mask_positions": np.array([[position]])}
        yield session.run(None, inputs | {"region": np.array([region])})[0][0, 0]


def export_bert(config: Any, folder: Path) -> dict[str, Path]:
    """Export a random BERT of the same width, depth and vocabulary, in fp32 and int8."""
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.hidden_size // 64 or 1,
            intermediate_size=4 * config.hidden_size,
            attn_implementation="eager",
        )
    ).eval()
    ids = torch.full((2, 6), 5)
    free = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    paths = {"fp32": folder / "bert.onnx", "int8": folder / "bert_quantized.onnx"}
    torch.onnx.export(
        bert,
        (),
        paths["fp32"],
        kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        dynamo=True,
        dynamic_shapes={"input_ids": free, "attention_mask": free},
        external_data=False,
        verbose=False,
    )
    quantize_dynamic(paths["fp32"], paths["int8"], per_channel=True, weight_type=QuantType.QInt8)
    return paths


def open_contenders(
    args: argparse.Namespace, stack: ExitStack, onnx: Path, folder: Path, browser: Any
) -> dict[str, Timer]:
    """Start every contender; they end with `stack`."""
    bert = export_bert(BilmaForMaskedLM.from_pretrained(args.model).config, folder)
    graphs = {
        "onnx_fp32": onnx / "onnx" / "masked.onnx",
        "onnx_int8": onnx / "onnx" / "masked_quantized.onnx",
        "bert_onnx_fp32": bert["fp32"],
        "bert_onnx_int8": bert["int8"],
    }
    commands = {
        "pipeline": ("pipeline", args.model, "auto"),
        "pipeline_fp32": ("pipeline", args.model, "float32"),
        **{name: ("graph", path, args.model) for name, path in graphs.items()},
    }
    timers: dict[str, Timer] = {}
    for name, command in commands.items():
        running = stack.enter_context(contender(sys.executable, "-m", "benchmarks.fill_mask_contenders", *command))
        timers[name] = lambda texts, masked, running=running: running.ask("answer", texts=masked)["seconds"]
    authors = stack.enter_context(contender(args.authors_python, AUTHORS, "serve", folder))
    # Keras can be called in two ways, one faster for few texts and the other for many.
    timers["authors"] = lambda texts, masked: min(authors.ask("fill_mask", texts=texts)["seconds"].values())
    tokenizer = load_tokenizer(args.model)
    in_browser = {"wasm_int8": graphs["onnx_int8"], "bert_wasm_int8": graphs["bert_onnx_int8"]}
    served = folder / "graphs"
    served.mkdir()
    web = GraphInChromium(browser, in_browser, served, stack.enter_context(serve(served)))

    def in_chromium(name: str, texts: list[str], masked: list[str]) -> float:
        ids = tokenizer(masked, padding=True, return_tensors="np")["input_ids"]
        return web.seconds(name, graph_inputs(ids, tokenizer.mask_token_id, tokenizer.pad_token_id))

    return timers | {name: partial(in_chromium, name) for name in in_browser}


def take_turns(timers: dict[str, Timer], texts: list[str], args: argparse.Namespace) -> dict[str, Any]:
    short = cycle(text for text in texts if 2 < len(text.split()) <= SHORT_TEXT_WORDS)
    samples = {count: defaultdict(list) for count in COUNTS}
    for number in tqdm(range(args.warmup_rounds + args.rounds), desc="comparing", unit="round"):
        for count in COUNTS:
            batch = list(islice(short, count))
            masked = [" ".join([word, "[MASK]", *rest]) for word, _, *rest in map(str.split, batch)]
            for name, timer in timers.items():
                seconds = timer(batch, masked)
                if number >= args.warmup_rounds:
                    samples[count][name].append(seconds)
    return {f"texts_{count}": summarise(seconds) for count, seconds in samples.items()}


def summarise(seconds: dict[str, list[float]]) -> dict[str, Any]:
    pairs = {"onnx_fp32": "bert_onnx_fp32", "onnx_int8": "bert_onnx_int8", "wasm_int8": "bert_wasm_int8"}
    return {
        "milliseconds": {name: summary(np.array(values) * 1000) for name, values in seconds.items()},
        "times_as_fast_as_authors": {
            name: ratio(seconds["authors"], values) for name, values in seconds.items() if name != "authors"
        },
        "times_as_fast_as_bert": {name: ratio(seconds[bert], seconds[name]) for name, bert in pairs.items()},
    }


def main() -> None:
    args = parse_arguments()
    torch.manual_seed(args.seed)
    corpus = Corpus(find_files(args.texts))
    texts = list(corpus)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        onnx = folder / "onnx"
        command = [sys.executable, ROOT / "training" / "export_onnx.py", "--model", args.model, "--output_dir", onnx]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        masked = mask_one(texts, load_tokenizer(args.model), args.number, args.seed)
        browser = stack.enter_context(open_browser())
        found = {
            "onnxruntime": onnxruntime.__version__,
            "load_before": round(os.getloadavg()[0], 1),
            "model": Path(args.model).name,
            "corpus": {"names": corpus.names(), "fingerprint": corpus.fingerprint, "region": args.region},
            "rounds": args.rounds,
            "file_mb": {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted((onnx / "onnx").iterdir())},
            "agreement": agreement(args, onnx, masked),
            "page": time_page(browser, onnx, folder / "page", PAGE_TEXT, args.rounds),
            **take_turns(open_contenders(args, stack, onnx, folder, browser), texts, args),
        }
    result = write_result(args.output, torch.device("cpu"), **found)
    draw_fill_mask(result, args.output.with_suffix(".png"))
    print(f"{args.output}: written, and {args.output.with_suffix('.png').name} drawn from it")


if __name__ == "__main__":
    main()
