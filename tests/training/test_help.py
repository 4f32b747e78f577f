"""`--help` of every script."""

import importlib
import re
import sys

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "training").glob("*.py") if path.stem != "__init__")
OPTION = re.compile(r"^  (?=-)", re.MULTILINE)
DEFAULT = re.compile(r"default(?=:| is)|defaults to|by default")


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_flag_tells_its_default_twice(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")  # a line for each flag
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"training.{name}").main()
    assert stop.value.code == 0
    _, *options = OPTION.split(capsys.readouterr().out)
    assert len(options) >= 3
    assert [option for option in options if len(DEFAULT.findall(option)) > 1] == []
