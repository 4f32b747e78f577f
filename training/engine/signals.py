"""Stop a run from outside: record the signal.

The pretraining loop saves a checkpoint at its next step (`pretraining/loop.py`: `TrainingLoop.run`), and `pretrain.py`
ends with the status `STOPPED`.
"""

import signal
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

# EX_TEMPFAIL of sysexits.h, "try again later": the exit status of a run that was stopped and can be resumed.
STOPPED = 75


class StopSignals:
    """Record SIGTERM and SIGINT in `received` while the block runs; a second SIGINT ends the process at once."""

    def __init__(self) -> None:
        self.received = ""
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        self._handlers = {number: signal.signal(number, self._record) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _record(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def any_process(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Combine flags over all processes, each true if it is true in any; every process has to call this."""
    if accelerator.num_processes == 1:
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return (accelerator.reduce(raised) > 0).tolist()
