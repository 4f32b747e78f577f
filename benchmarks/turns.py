"""Contenders of a benchmark: processes that take turns, so that other load on the machine affects all of them.

A request is one line of JSON with a `verb` and its arguments. The response is a line with `seconds`, other results of
the verb, and `peak_bytes`, the peak memory of the process.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
AUTHORS = ROOT / "tests" / "parity" / "authors.py"
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "TOKENIZERS_PARALLELISM": "true",  # a pipeline would switch it off for its process
}


class Contender:
    """A process that answers requests, with one line of JSON each way."""

    def __init__(self, command: Sequence[object], **environment: str):
        self.process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT | environment,
        )
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{' '.join(map(str, command))} did not start: its errors are above")

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"verb": verb, **arguments}) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended: its errors are above")
        return json.loads(line)


@contextmanager
def contender(*command: object, **environment: str) -> Iterator[Contender]:
    running = Contender(command, **environment)
    try:
        yield running
    finally:
        running.process.stdin.close()
        running.process.wait()


def serve(contender: object) -> None:
    """Answer the requests on stdin with the methods of `contender`, until stdin ends."""
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(contender, request.pop("verb"))(**request)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(answer | {"peak_bytes": peak}), flush=True)


def summary(values: Sequence[float]) -> dict[str, float]:
    low, first, median, third, high = (float(f"{v:.4g}") for v in np.percentile(values, [0, 25, 50, 75, 100]))
    return {"median": median, "quartile_1": first, "quartile_3": third, "min": low, "max": high}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Summarise the ratio of two speeds, round by round."""
    return summary(np.array(ours) / np.array(theirs))
