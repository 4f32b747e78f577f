"""A Hub in this process: a port on 127.0.0.1, the faults and the log; what it answers is in api.py and xet.py."""

import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback_hub import api  # noqa: F401  (its routes)
from tests.loopback_hub.faults import Fault, Faults
from tests.loopback_hub.routing import Answer, Call, find_route, in_range
from tests.loopback_hub.store import Commit, File, HubError, Store, User
from tests.loopback_hub.xet import XetStorage


@dataclass(frozen=True)
class Request:
    """A line of the log. `status` is None where the connection was cut."""

    method: str
    path: str
    host: str
    step: str
    token: str = field(repr=False)
    status: int | None = None

    @property
    def authorized(self) -> bool:
        return bool(self.token)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the switched-on fault happen, asks the route, answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer leaves in one piece
    hub: "LoopbackHub"

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        step, function, named = find_route("GET" if self.command == "HEAD" else self.command, url.path)
        fault = self.hub.faults.take(step, unquote(url.path))
        kind = fault.kind if fault else None
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        body = None if kind == "cut" else self.read_body(half=kind == "cut_midway")
        answer = None
        if body is not None:
            call = Call(self.hub, parse_qs(url.query), body, token, self.headers.get("Range"), **named)
            answer = in_range(self.answer(fault, function, call), call.range)
        told = answer.status if answer and kind not in ("lose_answer", "cut_midway") else None
        host = self.headers.get("Host", "")
        self.hub.requests.append(Request(self.command, unquote(url.path), host, step, token, told))
        if answer and kind != "lose_answer":
            self.send(answer, half=kind == "cut_midway")
        self.close_connection |= told is None

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def answer(self, fault: Fault | None, function: Callable[[Call], Answer], call: Call) -> Answer:
        if fault and fault.kind == "answer":
            answer = Answer.of_error(HubError(fault.status, "A fault that was switched on."))
            answer.headers |= dict(fault.headers)
            return answer
        if fault and fault.kind == "before":
            fault.hook()
        try:
            return function(call)
        except HubError as error:
            return Answer.of_error(error)

    def read_body(self, half: bool) -> bytes | None:
        """The body of the request; None when half of it was read, or when the client went away."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size // 2 if half else size)
        return body if len(body) == size else None

    def send(self, answer: Answer, half: bool) -> None:
        silent = self.command == "HEAD" or not answer.body
        if half and silent:
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not silent:
            self.wfile.write(answer.body[: len(answer.body) // 2] if half else answer.body)
        self.wfile.flush()

    def log_message(self, *arguments: object) -> None:
        """The log is `hub.requests`."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, *arguments: object):
        super().__init__(*arguments)
        self.errors: list[BaseException] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error of this server; the others are raised when it stops."""
        if not isinstance(error := sys.exception(), ConnectionError):
            self.errors.append(error)


class LoopbackHub:
    """`with LoopbackHub() as hub:` serves at `hub.endpoint` until the block ends.

    `hub.tokens` has a token of each user: `ana` and `leo` are members of the organization `org`, `eva` of none.
    `hub.faults` is the switchboard, `hub.requests` the log.
    """

    def __init__(self):
        members = [User("ana", ("org",)), User("leo", ("org",)), User("eva")]
        self.tokens = {user.name: f"hf_{user.name}{secrets.token_hex(16)}" for user in members}
        self.faults = Faults()
        self.requests: list[Request] = []
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-hub-")
        self._server = Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}"
        self.xet = XetStorage(self.storage)
        self.store = Store({self.tokens[user.name]: user for user in members}, self.xet.find)

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()
        if self._server.errors:
            raise self._server.errors[0]

    def environment(self, token: str | None = None, *, xet: bool = False) -> dict[str, str]:
        """The variables for a client's own process: this Hub, an empty HF_HOME, `token`, over Xet or LFS."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return (
            clean
            | {
                "HF_ENDPOINT": self.endpoint,
                "HF_HOME": tempfile.mkdtemp(dir=self._folder.name),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HF_HUB_DISABLE_XET": "0" if xet else "1",
                "HF_HUB_OFFLINE": "0",
                "HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms",  # not 3 s: it tries again as often, but sooner
                "NO_PROXY": "127.0.0.1,localhost",
            }
            | ({"HF_TOKEN": token} if token else {})
        )

    def run(
        self, code: str, *arguments: object, user: str | None = None, xet: bool = False
    ) -> subprocess.CompletedProcess:
        """Run Python code in a process of its own, as a client with the token of `user` and nothing on its stdin."""
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            env=self.environment(user and self.tokens[user], xet=xet),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )

    def user(self, name: str) -> User:
        return self.store.users[self.tokens[name]]

    def commit(self, repo_id: str, files: dict[str, bytes | None], user: str = "leo", title: str = "a commit") -> str:
        """Commit to `main` what somebody else pushed (None: deletes), and give the commit's id."""
        repository, author = self.store.repositories[repo_id], self.user(user)
        changes = [(path, data if data is None else File.regular(data)) for path, data in files.items()]
        return self.store.add_commit(repository, author, "main", {"summary": title}, changes).oid

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        """The content of every file of a repository by its path; `.gitattributes` is among them."""
        at = self.store.repositories[repo_id].commit(revision)
        return {path: file.data for path, file in at.files.items()}

    def commits(self, repo_id: str, branch: str = "main") -> list[Commit]:
        """The commits of a branch, newest first; the last is the Hub's own."""
        return self.store.repositories[repo_id].branches[branch].history

    def tags(self, repo_id: str) -> dict[str, str]:
        """The commit ids by tag."""
        return {name: at.oid for name, at in self.store.repositories[repo_id].tags.items()}

    def collections(self) -> dict[str, list[str]]:
        """The ids of the items of every collection, by its title."""
        return {one["title"]: [item["id"] for item in one["items"]] for one in self.store.collections.values()}
