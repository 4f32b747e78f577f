"""The notebook runs from its first cell to its last, and labels the file."""

import csv
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_notebook_labels_a_file(tmp_path, monkeypatch):
    for folder in ("models", "training"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "docs").mkdir()
    # its shell lines name the commands of this environment
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(ROOT / "docs" / "cuaderno.ipynb", as_version=4)
    assert len(notebook.cells) == 10
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path / "docs")}}).execute()
    with (tmp_path / "runs" / "etiquetadas.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["label"]) for row in rows] == [("1", "positiva"), ("2", "negativa"), ("3", "")]
