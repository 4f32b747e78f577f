"""Messages and progress bars of the scripts: bars in a terminal, a line every so often in a log file."""

import sys
import time
from typing import Any

from tqdm import tqdm
from transformers.utils import logging as transformers_logging

LOG_SECONDS = 60  # between two lines of a bar that is not in a terminal


class ProgressBar(tqdm):
    """A tqdm bar that, outside a terminal, prints a plain line once in `LOG_SECONDS`.

    All bars of a process share this clock, so that short work prints nothing, and much short work something.
    """

    printed_at = time.monotonic()

    def __init__(self, *args: Any, **settings: Any):
        self.in_terminal = sys.stderr.isatty()
        super().__init__(*args, **{"leave": False, "ascii": None if self.in_terminal else True} | settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar, or print it if a line is due; tqdm calls this whenever there is news."""
        if self.in_terminal:
            super().display(msg, pos)
        elif time.monotonic() - ProgressBar.printed_at >= LOG_SECONDS:
            ProgressBar.printed_at = time.monotonic()
            print(self, file=self.fp, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Make room for a message; a log needs none."""
        if self.in_terminal:
            super().clear(nolock)

    def close(self) -> None:
        """Remove the bar; a log keeps its lines."""
        self.disable = self.disable or not self.in_terminal  # tqdm's own way to end without writing anything
        super().close()


def keep_bars_out_of_logs() -> None:
    """Leave out the bars of the Hugging Face libraries where there is no terminal."""
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()  # that of huggingface_hub too


def say(text: str) -> None:
    """Print a line above the bars, at once: a log that lags behind helps nobody."""
    tqdm.write(text)
    sys.stdout.flush()
