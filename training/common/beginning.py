"""The first seconds of a script, its imports: it ends in one line on Ctrl-C, and with its launcher.

Scripts call `begin` before their other imports, so this module imports nothing that takes long.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

INTERRUPTED = 130  # the exit status that shells give for SIGINT
AGAIN = "run the same command again"
# Set by `accelerate launch` and by torchrun for the processes that they start.
_SET_BY_LAUNCHERS = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def begin() -> None:
    """Have Ctrl-C end this process in one line until `end_of_imports`, and the death of its launcher end it, too."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so in the background of a script
        signal.signal(signal.SIGINT, _end)
    if is_launched():
        stop_with_launcher()


def end_of_imports() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def is_launched() -> bool:
    """Whether `accelerate launch` or torchrun started this process."""
    return any(name in os.environ for name in _SET_BY_LAUNCHERS)


def stop_with_launcher() -> None:
    """Have Linux send this process SIGTERM when its parent dies, so that no training continues unnoticed.

    A run started without a launcher outlives its parent, as `nohup` requires.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def tell(message: str) -> None:
    """Print why the script ends, behind its name."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)


def _end(*_: object) -> None:
    tell(f"interrupted: {AGAIN}")
    os._exit(INTERRUPTED)  # an exception could be caught by the library that is being imported
