"""The folders of the code: imports look down only, and the diagram in CONTRIBUTING.md shows the same order."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from tests.conftest import ROOT


def test_imports_look_down_only():
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_diagram_agrees_with_the_contract():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = settings["importlinter:contract:layers"]["layers"].split("\n")[1:]
    levels = {
        folder.strip().split(".")[-1]: number for number, layer in enumerate(layers) for folder in layer.split("|")
    }
    diagram = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```mermaid")[1].split("```")[0]
    edges = re.findall(r"^\s+(\w+)(?:\[.*?\])? --> (.+)$", diagram, re.MULTILINE)
    assert edges
    levels["verbs"] = 0
    for folder, below in edges:
        assert all(levels[folder] < levels[other.strip()] for other in below.split("&")), folder
    shown = {folder for folder, _ in edges} | {other.strip() for _, below in edges for other in below.split("&")}
    assert shown == {"verbs", *(folder for folder, level in levels.items() if level > 0)}
