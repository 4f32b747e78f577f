"""Nothing in a file of weights is executed."""

import ast
import base64
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from modeling_bilma import convert_keras, keras_weights
from tests.conftest import ROOT
from tests.modeling_bilma.keras.keras_files import POSITIONS, full_layout, write_h5


class Payload:
    """Creates a folder when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.slow
def test_nothing_in_a_weights_file_is_executed(tmp_path, vocab):
    trap = tmp_path / "executed"
    pickled = pickle.dumps(Payload(trap))
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, POSITIONS]}},
        {
            "class_name": "Lambda",
            "config": {"function": [base64.b64encode(pickled).decode(), None, None], "function_type": "lambda"},
        },
        {"class_name": "os>mkdir", "module": "os", "registered_name": "mkdir", "config": {"path": str(trap)}},
    ]
    description = json.dumps({"class_name": "Functional", "config": {"layers": layers}})
    with h5py.File(write_h5(tmp_path / "m.h5", full_layout(), description), "a") as file:
        file.attrs["training_config"] = np.void(pickled)
        file.attrs["layer_names"] = np.void(pickled)
        file["model_weights"].attrs["weight_names"] = np.void(pickled)
        file["optimizer_weights/pickled:0"] = np.void(pickled)
    code = (
        "import runpy, sys\n"
        "import modeling_bilma\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event))\n"
        "try:\n"
        "    runpy.run_module('modeling_bilma.convert_keras', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert 'open' in seen\n"
        "assert not {'pickle.find_class', 'os.system', 'os.exec', 'socket.connect'} & set(seen)\n"
        "assert not {'keras', 'tensorflow', 'tf_keras'} & {name.partition('.')[0] for name in sys.modules}\n"
    )
    arguments = ["--weights", tmp_path / "m.h5", "--vocab", vocab, "--region", "mx", "--output_dir", tmp_path / "out"]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"wrote {tmp_path / 'out'}\n"
    assert not trap.exists()
    pickle.loads(pickled)
    assert trap.exists()  # so the payload works, and was never opened


@pytest.mark.parametrize("module", [convert_keras, keras_weights], ids=lambda module: module.__name__)
def test_the_modules_import_nothing_that_could_execute_a_file(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {"pickle", "marshal", "keras", "tensorflow", "importlib", "subprocess"} & imported
    assert not {"eval", "exec", "compile", "__import__"} & called
