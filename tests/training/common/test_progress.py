import io
import itertools
import time

import pytest

from training.common import progress
from training.common.progress import ProgressBar


@pytest.mark.parametrize(("seconds", "lines"), [(60, 0), (0, 12)])
def test_a_log_gets_plain_lines_and_short_work_none(monkeypatch, seconds, lines):
    monkeypatch.setattr(progress, "LOG_SECONDS", seconds)
    monkeypatch.setattr(ProgressBar, "printed_at", time.monotonic())
    log = io.StringIO()
    with ProgressBar(total=10, unit="step", file=log, mininterval=0, miniters=1) as bar:
        for _ in range(10):
            bar.update()
        bar.set_postfix_str("loss 1.5")
    written = log.getvalue()
    assert "\r" not in written
    assert len(written.splitlines()) == lines
    assert not lines or ("10/10" in written.splitlines()[-1] and "loss 1.5" in written.splitlines()[-1])


def test_many_short_bars_print_a_line_together(monkeypatch):
    """The clock goes on from bar to bar; here a second for each look at it."""
    clock = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(ProgressBar, "printed_at", 0)
    log = io.StringIO()
    for _ in range(2 * progress.LOG_SECONDS):
        for _ in ProgressBar(range(3), file=log, mininterval=0, miniters=1):
            pass
    assert 1 <= len(log.getvalue().splitlines()) < 2 * progress.LOG_SECONDS
