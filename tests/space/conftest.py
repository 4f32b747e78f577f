"""A page built with a small random model, in a real browser; `make browser` brings what these tests need."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from space.serve import server
from tests.conftest import ROOT
from tests.training.conftest import run_main
from tests.training.exporting.conftest import save_regional
from training import export_onnx

CHROMIUM = shutil.which("chromium")
QUIET = [  # no sandbox, since tests may run as root; and no requests of the browser's own
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000


@pytest.fixture(scope="session")
def model_folder(tokenizer, tmp_path_factory) -> Path:
    return save_regional(tokenizer, tmp_path_factory.mktemp("page") / "model")


@pytest.fixture(scope="session")
def page_folder(model_folder) -> Path:
    onnx = run_main(export_onnx, model=model_folder, output_dir=model_folder.parent / "onnx")
    output = model_folder.parent / "page"
    subprocess.run(["node", ROOT / "space" / "build.mjs", onnx, output], check=True, capture_output=True)
    return output


def serve(folder: Path) -> Iterator[str]:
    with server(str(folder), 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()
        thread.join()


@pytest.fixture
def address(page_folder) -> Iterator[str]:
    yield from serve(page_folder)


@pytest.fixture(scope="session")
def browser():
    assert CHROMIUM, "chromium is not installed: make browser"
    from playwright.sync_api import sync_playwright  # of the extra that only these tests need

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()
