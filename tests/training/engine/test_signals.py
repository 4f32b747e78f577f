import os
import signal
import subprocess
import sys

import pytest
from accelerate import Accelerator

from training.engine.signals import StopSignals, any_process


def test_a_signal_is_noted_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals() as signals:
        assert not signals.received
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == "SIGTERM"
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.received == "SIGINT"
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL, "the second one ends the process"
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_one_process_is_any_process():
    assert any_process(Accelerator(cpu=True), True, False) == [True, False]


TRAINING = """
import signal
from training.engine.signals import stop_with_launcher
stop_with_launcher()
signal.signal(signal.SIGTERM, lambda *_: (print("SIGTERM", flush=True), exit(75)))
print("at work", flush=True)
signal.sigtimedwait([], 60)
print("not noticed", flush=True)
"""
LAUNCHER = """
import os, subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1]]).wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
@pytest.mark.parametrize("launched", [True, False])
def test_a_training_ends_with_its_launcher_and_not_with_its_shell(launched):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    environment |= {"TORCHELASTIC_RUN_ID": "x"} if launched else {}
    command = [sys.executable, "-c", LAUNCHER, TRAINING.replace("60", "60" if launched else "2")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as launcher:
        assert launcher.stdout.readline() == "at work\n"
        launcher.kill()
        assert launcher.stdout.read() == ("SIGTERM\n" if launched else "not noticed\n")
