"""The first seconds of a script, in which its libraries are imported."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.training.test_help import SCRIPTS
from training.common.beginning import INTERRUPTED

TRAINING = """
import signal
from training.common.beginning import begin
begin()
signal.signal(signal.SIGTERM, lambda *_: (print("SIGTERM", flush=True), exit(75)))
print("at work", flush=True)
signal.sigtimedwait([], 60)
print("not noticed", flush=True)
"""
LAUNCHER = """
import subprocess, sys
subprocess.Popen([sys.executable, *sys.argv[1:]]).wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
@pytest.mark.parametrize("launched", [True, False])
def test_a_training_ends_with_its_launcher_and_not_with_its_shell(launched):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    environment |= {"TORCHELASTIC_RUN_ID": "x"} if launched else {}
    command = [sys.executable, "-c", LAUNCHER, "-c", TRAINING.replace("60", "60" if launched else "2")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as launcher:
        assert launcher.stdout.readline() == "at work\n"
        launcher.kill()
        assert launcher.stdout.read() == ("SIGTERM\n" if launched else "not noticed\n")


IMPORTING = """
import os, time
print("importing", flush=True)
time.sleep(20)
os.write(2, b"not noticed")
os._exit(0)
"""


@pytest.fixture
def slow_imports(tmp_path):
    """An environment in which torch and transformers, one of which every script imports, take very long."""
    for library in ("torch", "transformers"):
        (tmp_path / f"{library}.py").write_text(IMPORTING)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    return environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c_in_the_imports_is_one_line(name, slow_imports):
    with subprocess.Popen(
        [sys.executable, ROOT / "training" / f"{name}.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=slow_imports,
        # A background job, as a suite may be, starts with SIGINT ignored, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == f"{name}.py: interrupted: run the same command again\n"
    assert process.returncode == INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_launcher_that_dies_in_the_imports_ends_them(name, slow_imports):
    command = [sys.executable, "-c", LAUNCHER, ROOT / "training" / f"{name}.py"]
    environment = slow_imports | {"TORCHELASTIC_RUN_ID": "x"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as launcher:
        assert launcher.stdout.readline() == "importing\n"
        launcher.kill()
        assert launcher.stderr.read() == ""  # which ends when nobody can write any more
