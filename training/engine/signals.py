"""How a run is stopped from outside: a signal is noted when it comes, and acted upon where the run can be resumed."""

import signal
from types import FrameType

import torch
from accelerate import Accelerator

# EX_TEMPFAIL of sysexits.h, "try again later": the exit status of a run that was stopped and can be resumed.
STOPPED = 75


class StopSignals:
    """Within its block SIGTERM and SIGINT are only noted in `received`; a second SIGINT ends the process at once."""

    received: str = ""

    def __enter__(self) -> "StopSignals":
        self.before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def agree(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """The flags as every process shall see them: raised if any process raised it. To be called by all of them."""
    if accelerator.num_processes == 1:
        return list(flags)
    raised = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return (accelerator.reduce(raised) > 0).tolist()
