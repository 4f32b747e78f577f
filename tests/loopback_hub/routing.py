"""What a request becomes on its way to a route, and what a route answers."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.loopback_hub.store import Commit, HubError, Repository, User

if TYPE_CHECKING:
    from tests.loopback_hub.server import LoopbackHub

PARTS = {
    "{K}": r"(?P<kind>models|datasets|spaces)",
    "{PREFIX}": r"(?:(?P<kind>datasets|spaces)/)?",
    "{ID}": r"(?P<repo>[\w.-]+/[\w.-]+)",
    "{REV}": r"(?P<revision>[^/]+)",
}
ROUTES: list[tuple[str, re.Pattern, str, Callable]] = []


@dataclass
class Call:
    """A request as a route sees it: `kind`, `repo`, `revision` and `rest` are the named parts of its path."""

    hub: "LoopbackHub"
    query: dict[str, list[str]]
    body: bytes
    token: str | None = None
    range: str | None = None
    kind: str = "models"
    repo: str = ""
    revision: str = "main"
    rest: str = ""

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    @property
    def user(self) -> User | None:
        """Who asks, None without a token.

        Raises:
            HubError: 401, the token is nobody's.
        """
        if self.token and self.token not in self.hub.store.users:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.hub.store.users[self.token] if self.token else None

    def repository(self, write: bool = False) -> Repository:
        return self.hub.store.repository(self.user, self.key, write)

    @property
    def key(self) -> str:
        """The name of the repository in the store: that of a model as it is, of others with their kind in front."""
        return repository_key(self.kind, self.repo)

    def commit(self) -> Commit:
        return self.repository().commit(self.revision)


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object, status: int = 200, **headers: str) -> "Answer":
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})

    @classmethod
    def of_file(cls, data: bytes, **headers: str) -> "Answer":
        """A file, of which a client may ask for a part."""
        return cls(data, headers={"Accept-Ranges": "bytes", **headers})

    @classmethod
    def of_error(cls, error: HubError) -> "Answer":
        told = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
        return cls.of(error.body, error.status, **told)


def repository_key(kind: str, name: str) -> str:
    return name if kind in ("models", "model") else f"{kind.rstrip('s')}s/{name}"


def route(method: str, pattern: str, step: str) -> Callable:
    """Register a function for a path, under the name of a step that a fault can be switched on for."""
    for part, expression in PARTS.items():
        pattern = pattern.replace(part, expression)

    def register(function: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        ROUTES.append((method, re.compile(pattern), step, function))
        return function

    return register


def in_range(answer: Answer, asked: str | None) -> Answer:
    """The part of a file that a Range header asks for; any other answer as it is."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    size = len(answer.body)
    if not found or "Accept-Ranges" not in answer.headers:
        return answer
    first, last = int(found[1]), min(int(found[2] or size), size - 1)
    told = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Answer(answer.body[first : last + 1], 206, answer.headers | told)


def find_route(method: str, path: str) -> tuple[str, Callable, dict[str, str]]:
    """The step, the function and the named parts for a path as it came, still quoted."""
    for verb, pattern, step, function in ROUTES:
        if verb == method and (match := pattern.fullmatch(path)):
            return step, function, {name: unquote(value) for name, value in match.groupdict().items() if value}
    return "unknown", unknown, {}


def unknown(call: Call) -> Answer:
    raise HubError(404, "This Hub has no such route.")
