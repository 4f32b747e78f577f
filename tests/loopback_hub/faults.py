"""What can be made to go wrong, step by step; the steps are the names in the routes of server.py."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

FOR_EVER = 1_000_000


@dataclass
class Fault:
    """`only` is a part of the path, to let other repositories alone (large files are stored under their hashes, not
    under a repository); `times` counts down at each use.
    """

    step: str
    kind: Literal["answer", "cut", "cut_midway", "lose_answer", "before"]
    times: int
    only: str = ""
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    hook: Callable[[], object] | None = None


class Faults:
    """The switchboard of one Hub. Faults of a step are used up in the order in which they were switched on."""

    def __init__(self):
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def answer(self, step: str, status: int = 500, *, times: int = 1, only: str = "", **headers: str) -> None:
        """Refuse with `status` and do nothing; `Retry_After="1"` becomes the header Retry-After."""
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self._add(Fault(step, "answer", times, only, status=status, headers=named))

    def cut(self, step: str, *, times: int = 1, only: str = "") -> None:
        """Close the connection before the request is read, and do nothing."""
        self._add(Fault(step, "cut", times, only))

    def cut_midway(self, step: str, *, times: int = 1, only: str = "") -> None:
        """Close it when half the request has come, or half the answer has gone where the request has no body."""
        self._add(Fault(step, "cut_midway", times, only))

    def lose_answer(self, step: str, *, times: int = 1, only: str = "") -> None:
        """Do what was asked, then close the connection without a word."""
        self._add(Fault(step, "lose_answer", times, only))

    def before(self, step: str, hook: Callable[[], object], *, times: int = 1, only: str = "") -> None:
        """Call `hook` when the request has come whole, before it is carried out."""
        self._add(Fault(step, "before", times, only, hook=hook))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, step: str, path: str) -> Fault | None:
        """The fault for this request, which is then used up by one."""
        with self._lock:
            for fault in self._waiting:
                if fault.step == step and fault.only in path and fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append(fault)
