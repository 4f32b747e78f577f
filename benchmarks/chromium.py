"""Time graphs and the page in Chromium, for `benchmarks/fill_mask.py`; needs node, chromium and the extra `page`."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from benchmarks.turns import ROOT, summary
from space.serve import server
from tests.space.conftest import CHROMIUM, QUIET

# Opens the graph once and keeps it; gives the milliseconds of one answer, from ids to logits.
TIME_GRAPH = """async ([graph, inputs]) => {
    const ort = await import("/vendor/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/vendor/";
    ort.env.wasm.numThreads = Math.min(4, navigator.hardwareConcurrency);
    window.sessions ??= {};
    const session = (window.sessions[graph] ??= await ort.InferenceSession.create(`/${graph}`));
    const feeds = {};
    for (const name of session.inputNames) {
        const { values, dims } = inputs[name];
        feeds[name] = new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
    }
    const start = performance.now();
    await session.run(feeds);
    return performance.now() - start;
}"""
TIME_PAGE = """async ([text, rounds]) => {
    const worker = new Worker("js/worker.js", { type: "module" });
    const next = (type) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => data.type === type && resolve(data);
    });
    const ready = next("ready");
    worker.postMessage({ type: "open" });
    await ready;
    const times = [];
    for (let id = 1; id <= rounds; id++) {
        const answered = next("answers");
        worker.postMessage({ type: "answers", id, text });
        times.push((await answered).ms);
    }
    return times;
}"""
PATIENCE_MS = 120_000


@contextmanager
def open_browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        raise SystemExit("chromium is not installed: make browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    with server(str(folder), 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


class GraphInChromium:
    """Graphs in onnxruntime-web, with as many threads as the page takes."""

    def __init__(self, browser: Browser, graphs: dict[str, Path], folder: Path, address: str):
        """Put graphs, libraries and an empty page into `folder`, which is served at `address`."""
        (folder / "vendor").mkdir(parents=True)
        for path in (ROOT / "space" / "node_modules" / "onnxruntime-web" / "dist").glob("ort*wasm*"):
            shutil.copy(path, folder / "vendor")
        for name, path in graphs.items():
            shutil.copy(path, folder / name)
        (folder / "index.html").write_text("<!doctype html><title>graphs</title>")
        self.page = browser.new_page()
        self.page.goto(address)

    def seconds(self, graph: str, inputs: dict[str, np.ndarray]) -> float:
        tensors = {
            name: {"values": values.flatten().tolist(), "dims": list(values.shape)} for name, values in inputs.items()
        }
        return self.page.evaluate(TIME_GRAPH, [graph, tensors]) / 1000


def time_page(browser: Browser, onnx: Path, folder: Path, text: str, rounds: int) -> dict[str, Any]:
    """Build the page and measure its size, its first answer at either visit, and answers for eight regions."""
    subprocess.run(["node", ROOT / "space" / "build.mjs", onnx, folder], check=True)
    with serve(folder) as address:
        page = browser.new_page()
        first_visit = seconds_to_answer(lambda: page.goto(address), page)
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        warm = [seconds_to_answer(page.reload, page) for _ in range(3)]
        milliseconds = page.evaluate(TIME_PAGE, [text, rounds + 1])
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "download_mb": round(size / 1e6, 1),
        "first_answer_first_visit_s": round(first_visit, 2),
        "first_answer_warm_cache_s": summary(warm),
        "eight_regions_first_ms": milliseconds[0],
        "eight_regions_ms": summary(milliseconds[1:]),
    }


def seconds_to_answer(visit: Any, page: Any) -> float:
    start = time.perf_counter()
    visit()
    page.wait_for_selector(".card", timeout=PATIENCE_MS)
    return time.perf_counter() - start
