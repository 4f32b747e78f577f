"""Compare ONNX exports with the model: agreement of int8 with fp32, and the time of an answer in each runtime.

    python -m benchmarks.exported --model models/bilma --texts TEXTS.jsonl
    python -m benchmarks.exported --model models/bilma --texts TEXTS.jsonl --browser

Agreement: a random token of each text is masked and predicted, with the part of `--region`. Time: the runtimes take
turns on one text, next to a random BERT of the same width and depth that computes logits at every position, as usual
exports do. `--browser` times the page in Chromium; it needs node and the extra `page`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch.export import Dim
from transformers import BertConfig, BertForMaskedLM, TokenizersBackend

from benchmarks.inference import summary
from benchmarks.reporting import write_result
from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer

ROOT = Path(__file__).resolve().parents[1]
TIMED = "me gusta tomar [MASK] en la mañana"
Run = Callable[[], object]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of a BILMA masked language model")
    parser.add_argument("--texts", required=True, type=Path, help=".jsonl file with a `text` in each line")
    parser.add_argument("--region", help="region of the texts, for a model with regional parts")
    parser.add_argument("--number", type=int, default=2000, help="number of masked texts")
    parser.add_argument("--rounds", type=int, default=30, help="number of measurements for each runtime")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--browser", action="store_true", help="also time the page in Chromium")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "exported.json")
    return parser.parse_args()


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs_of(ids: Sequence[int], position: int, region: int | None) -> dict[str, np.ndarray]:
    row = np.array([ids])
    inputs = {"input_ids": row, "attention_mask": np.ones_like(row), "mask_positions": np.array([[position]])}
    return inputs if region is None else inputs | {"region": np.array([region])}


def masked_texts(args: argparse.Namespace, tokenizer: TokenizersBackend) -> list[tuple[list[int], int, int]]:
    """Return ids with one token masked, its position, and the original token."""
    rng = np.random.default_rng(args.seed)
    masked = []
    with args.texts.open(encoding="utf-8") as lines:
        for line in lines:
            ids = tokenizer(json.loads(line)["text"], truncation=True, max_length=128)["input_ids"]
            if len(ids) < 5:  # too short for context
                continue
            position = int(rng.integers(1, len(ids) - 1))
            target, ids[position] = ids[position], tokenizer.mask_token_id
            masked.append((ids, position, target))
            if len(masked) == args.number:
                return masked
    raise SystemExit(f"{args.texts} has {len(masked)} texts of three tokens or more: give more, or a smaller --number")


def agreement(
    folder: Path, masked: list[tuple[list[int], int, int]], region: int | None, threads: int
) -> dict[str, float]:
    answers: dict[str, list[int]] = {"masked": [], "masked_quantized": []}
    for name, best in answers.items():
        graph = session(folder / "onnx" / f"{name}.onnx", threads)
        for ids, position, _ in masked:
            best.append(int(graph.run(None, inputs_of(ids, position, region))[0][0, 0].argmax()))
    fp32, int8 = map(np.array, answers.values())
    targets = np.array([target for *_, target in masked])
    accuracy = {"fp32": float((fp32 == targets).mean()), "int8": float((int8 == targets).mean())}
    return {
        "texts": len(masked),
        "same_top_answer": float((fp32 == int8).mean()),
        "masked_accuracy_fp32": accuracy["fp32"],
        "masked_accuracy_int8": accuracy["int8"],
        "masked_accuracy_difference": accuracy["int8"] - accuracy["fp32"],
    }


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


def runtimes(args: argparse.Namespace, onnx: Path, tokenizer: TokenizersBackend, region: int | None) -> dict[str, Run]:
    """Return functions that answer `TIMED` once, by runtime."""
    ids = tokenizer(TIMED)["input_ids"]
    inputs = inputs_of(ids, ids.index(tokenizer.mask_token_id), region)
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    runs: dict[str, Run] = {}
    tensors = {name: torch.from_numpy(value) for name, value in plain.items()}
    positions = torch.from_numpy(inputs["mask_positions"])
    for dtype in (torch.float32, torch.bfloat16):
        model = BilmaForMaskedLM.from_pretrained(args.model, dtype=dtype).eval()
        runs[f"torch_{str(dtype).removeprefix('torch.')}"] = torch.inference_mode()(
            lambda model=model: model(**tensors, output_positions=positions)
        )
    for name, suffix in (("onnx_fp32", ""), ("onnx_int8", "_quantized")):
        graph = session(onnx / "onnx" / f"masked{suffix}.onnx", args.threads)
        runs[name] = lambda graph=graph: graph.run(None, inputs)
    for name, path in export_bert(model.config, onnx).items():
        graph = session(path, args.threads)
        runs[f"bert_onnx_{name}"] = lambda graph=graph: graph.run(None, plain)
    return runs


def time_in_turn(runs: dict[str, Run], rounds: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 3):  # the first three warm up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: summary(times) for name, times in seconds.items()}


def time_page(onnx: Path, rounds: int) -> dict[str, Any]:
    """Measure the built page in Chromium: size, first answer with a warm cache, and answers for eight regions."""
    from playwright.sync_api import sync_playwright

    from space.serve import server
    from tests.space.conftest import CHROMIUM, QUIET

    folder = onnx / "page"
    subprocess.run(["node", ROOT / "space" / "build.mjs", onnx, folder], check=True)
    with server(str(folder), 0) as serving, sync_playwright() as playwright:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{serving.server_port}/")
        page.wait_for_selector(".card", timeout=120_000)
        start = time.perf_counter()
        page.reload()
        page.wait_for_selector(".card", timeout=120_000)
        first_answer = time.perf_counter() - start
        milliseconds = page.evaluate(
            """async ([text, rounds]) => {
                const worker = new Worker("js/worker.js", { type: "module" });
                const next = (type) => new Promise((resolve) => {
                    worker.onmessage = ({ data }) => data.type === type && resolve(data);
                });
                const ready = next("ready");
                worker.postMessage({ type: "open" });
                await ready;
                const times = [];
                for (let id = 1; id <= rounds + 3; id++) {
                    const answered = next("answers");
                    worker.postMessage({ type: "answers", id, text });
                    times.push((await answered).ms);
                }
                return times.slice(3);
            }""",
            [TIMED, rounds],
        )
        browser.close()
        serving.shutdown()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "download_mb": round(size / 1e6, 1),
        "first_answer_warm_cache_s": round(first_answer, 2),
        "eight_regions": summary([time / 1000 for time in milliseconds]),
    }


def main() -> None:
    args = parse_arguments()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = load_tokenizer(args.model)
    with tempfile.TemporaryDirectory() as name:
        onnx = Path(name) / "onnx"
        command = [sys.executable, ROOT / "training" / "export_onnx.py", "--model", args.model, "--output_dir", onnx]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
        regions = json.loads((onnx / "config.json").read_text())["regions"]
        region = None if regions is None else regions.index(args.region) if args.region else -1
        found = {
            "onnxruntime": onnxruntime.__version__,
            "load_before": round(os.getloadavg()[0], 1),
            "model": Path(args.model).name,
            "region": args.region,
            "file_mb": {path.name: round(path.stat().st_size / 1e6, 1) for path in sorted((onnx / "onnx").iterdir())},
            "agreement": agreement(onnx, masked_texts(args, tokenizer), region, args.threads),
            "one_text": time_in_turn(runtimes(args, onnx, tokenizer, region), args.rounds),
            "page": time_page(onnx, args.rounds) if args.browser else None,
        }
    write_result(args.output, torch.device("cpu"), **found)
    print(json.dumps({key: found[key] for key in ("agreement", "one_text", "page")}, indent=2))


if __name__ == "__main__":
    main()
