import os
import signal

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
