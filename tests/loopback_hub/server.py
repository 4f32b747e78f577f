"""The Hub's HTTP interface for models, as far as `huggingface_hub` 2 and `hf_xet` ask for it, over `store.Store`.

The contract, as the clients' code has it. `ID` is `namespace/name`, `REV` a branch, a tag or a commit id.

Push, with `Authorization: Bearer TOKEN`:
    GET  /api/whoami-v2                      -> name, orgs
    POST /api/repos/create                   name, organization, visibility? -> url; 409 (with url): it exists
    POST /api/validate-yaml                  content, repoType -> errors, warnings; 400 with errors
    POST /api/models/ID/preupload/REV        files (path, size, sample in base64) -> per file uploadMode (lfs or
                                             regular), shouldIgnore, and the `oid` it has now: equal ones are not sent
    POST /ID.git/info/lfs/objects/batch      objects (oid, size) -> per object actions (upload, verify) unless known
    PUT, then POST to those `href`s          the upload goes to another origin and carries no token
    GET  /api/models/ID/xet-write-token/REV  -> where the storage of xet.py is, and a token for it
    POST /api/models/ID/commit/BRANCH        lines of JSON: header (summary, parentCommit?), file, lfsFile,
                                             deletedFile, deletedFolder -> commitOid, commitUrl; 412: stale parent
    POST /api/models/ID/tag/REV (tag), DELETE .../tag/NAME; POST, DELETE .../branch/NAME; 409: it exists
    GET, POST /api/collections; GET /api/collections/SLUG, POST .../items; 409: it exists (and which slug it has)

Pull:
    GET  /api/models/ID[/revision/REV], .../tree/REV[/PATH], .../refs, .../commits/REV
    POST /api/models/ID/paths-info/REV       a form
    HEAD, GET /ID/resolve/REV/PATH           X-Repo-Commit and ETag; a large file is a redirect to another origin, with
                                             X-Linked-Etag, X-Linked-Size, and X-Xet-Hash if xet.py stores it
    What is missing: X-Error-Code RepoNotFound, RevisionNotFound or EntryNotFound. A private repository is not found
    by who may not read it: 401 without a token, 404 with one. 401 also for a bad token, 403 for a foreign namespace.

The other origin is `localhost`, this server under another name. Over http, clients tell a missing repository by its
X-Error-Code alone. This server shows what clients do with these answers; it is no proof of what the real Hub answers.
"""

import base64
import json
import os
import re
import secrets
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback_hub.cards import card_errors, metadata
from tests.loopback_hub.faults import Fault, Faults
from tests.loopback_hub.store import ATTRIBUTES, Commit, File, HubError, Repository, Store, User, is_large

ID = r"(?P<repo>[\w.-]+/[\w.-]+)"
REV = r"(?P<revision>[^/]+)"
ROUTES: list[tuple[str, re.Pattern, str, Callable]] = []


@dataclass(frozen=True)
class Request:
    """A line of the log. `status` is None where the connection was cut."""

    method: str
    path: str
    host: str
    authorized: bool
    step: str
    status: int | None


@dataclass
class Call:
    """A request as the routes see it."""

    hub: "LoopbackHub"
    user: User | None
    query: dict[str, list[str]]
    body: bytes
    repo: str = ""
    revision: str = "main"
    rest: str = ""

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    def repository(self, write: bool = False) -> Repository:
        return self.hub.store.repository(self.user, self.repo, write)

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
    def of_error(cls, error: HubError) -> "Answer":
        told = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
        return cls.of(error.body, error.status, **told)


def route(method: str, pattern: str, step: str) -> Callable:
    def register(function: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
        ROUTES.append((method, re.compile(pattern), step, function))
        return function

    return register


# Accounts, repositories, cards


@route("GET", "/api/whoami-v2", "whoami")
def whoami(call: Call) -> Answer:
    if call.user is None:
        raise HubError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": org} for org in call.user.orgs]
    return Answer.of({"type": "user", "name": call.user.name, "orgs": orgs})


@route("POST", "/api/repos/create", "create")
def create_repository(call: Call) -> Answer:
    asked = call.json
    name = f"{asked.get('organization') or (call.user and call.user.name)}/{asked['name']}"
    answer = {"url": f"{call.hub.endpoint}/{name}", "name": name}
    try:
        call.hub.store.create_repository(call.user, name, asked.get("visibility") == "private")
    except HubError as error:
        error.body |= answer
        raise
    return Answer.of(answer)


@route("POST", "/api/validate-yaml", "validate")
def validate_card(call: Call) -> Answer:
    errors = [{"message": message} for message in card_errors(call.json["content"])]
    empty = not errors and not metadata(call.json["content"])
    warnings = [{"message": "empty or missing yaml metadata in repo card"}] if empty else []
    return Answer.of({"errors": errors, "warnings": warnings}, 400 if errors else 200)


# Push


@route("POST", f"/api/models/{ID}/preupload/{REV}", "preupload")
def preupload(call: Call) -> Answer:
    files = call.repository(write=True).commit(call.revision).files
    attributes = files[ATTRIBUTES].data.decode()

    def decide(asked: dict) -> dict:
        path, sample = asked["path"], base64.b64decode(asked["sample"])
        mode = "lfs" if is_large(path, asked["size"], sample, attributes) else "regular"
        now = files[path].oid if path in files else None
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": now}

    return Answer.of({"files": list(map(decide, call.json["files"]))})


@route("POST", rf"/{ID}\.git/info/lfs/objects/batch", "lfs_batch")
def lfs_batch(call: Call) -> Answer:
    call.repository(write=True)

    def actions(asked: dict) -> dict:
        if asked["oid"] in call.hub.store.objects:
            return asked
        upload = {"href": f"{call.hub.storage}/lfs/{asked['oid']}"}
        verify = {"href": f"{call.hub.endpoint}/{call.repo}.git/info/lfs/verify"}
        return asked | {"actions": {"upload": upload, "verify": verify}}

    return Answer.of({"transfer": "basic", "objects": list(map(actions, call.json["objects"]))})


@route("PUT", "/lfs/(?P<rest>[0-9a-f]{64})", "lfs_put")
def lfs_put(call: Call) -> Answer:
    call.hub.store.add_object(call.rest, call.body)
    return Answer()


@route("POST", rf"/{ID}\.git/info/lfs/verify", "lfs_verify")
def lfs_verify(call: Call) -> Answer:
    call.repository(write=True)
    if len(call.hub.store.objects.get(call.json["oid"], b"")) != call.json["size"]:
        raise HubError(404, "The object was not uploaded.", "EntryNotFound")
    return Answer.of({})


@route("POST", f"/api/models/{ID}/commit/{REV}", "commit")
def commit(call: Call) -> Answer:
    repository = call.repository(write=True)
    lines = [json.loads(line) for line in call.body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    changes: list[tuple[str, File | None]] = []
    for kind, value in ((line["key"], line["value"]) for line in lines):
        match kind:
            case "file":
                changes.append((value["path"], File.regular(base64.b64decode(value["content"]))))
            case "lfsFile":
                changes.append((value["path"], call.hub.store.large_file(value["oid"])))
            case "deletedFile":
                changes.append((value["path"], None))
            case "deletedFolder":
                changes += [(path, None) for path in call.commit().files if path.startswith(value["path"])]
    made = call.hub.store.add_commit(repository, call.user, call.revision, header, changes)
    return Answer.of({"commitOid": made.oid, "commitUrl": f"{call.hub.endpoint}/{call.repo}/commit/{made.oid}"})


@route("POST", f"/api/models/{ID}/(?P<rest>tag|branch)/{REV}", "tag")
def add_ref(call: Call) -> Answer:
    repository, asked = call.repository(write=True), call.json
    if call.rest == "tag":
        call.hub.store.add_ref(repository, "tags", asked["tag"], call.revision)
    else:
        call.hub.store.add_ref(repository, "branches", call.revision, asked.get("startingPoint", "main"))
    return Answer.of({})


@route("DELETE", f"/api/models/{ID}/(?P<rest>tag|branch)/{REV}", "tag")
def delete_ref(call: Call) -> Answer:
    kind = {"tag": "tags", "branch": "branches"}[call.rest]
    call.hub.store.delete_ref(call.repository(write=True), kind, call.revision)
    return Answer.of({})


# Collections


@route("GET", "/api/collections", "collection_list")
def list_collections(call: Call) -> Answer:
    """Without `position`, which the client counts itself, and with at most four items of each."""
    owners = call.query.get("owner", [])
    found = [one for one in call.hub.store.collections.values() if not owners or one["owner"] in owners]
    shown = [{key: value for key, value in one.items() if key != "position"} for one in found]
    return Answer.of([one | {"items": one["items"][:4]} for one in shown])


@route("POST", "/api/collections", "collection_create")
def create_collection(call: Call) -> Answer:
    return Answer.of(call.hub.store.create_collection(call.user, **call.json))


@route("GET", "/api/collections/(?P<rest>[^/]+/[^/]+)", "collection_get")
def collection(call: Call) -> Answer:
    return Answer.of(call.hub.store.collection(call.rest))


@route("POST", "/api/collections/(?P<rest>[^/]+/[^/]+)/items", "collection_item")
def add_collection_item(call: Call) -> Answer:
    asked = call.json
    return Answer.of(call.hub.store.add_collection_item(call.user, call.rest, asked["item"], asked.get("note")))


# Pull


@route("GET", f"/api/models/{ID}(/revision/{REV})?", "info")
def model_info(call: Call) -> Answer:
    repository, at = call.repository(), call.commit()
    card = metadata(at.files["README.md"].data.decode()) if "README.md" in at.files else {}
    told = {
        "id": call.repo,
        "modelId": call.repo,
        "sha": at.oid,
        "private": repository.private,
        "lastModified": at.date,
    }
    told |= {"gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": card.get("tags", [])}
    told |= {key: card[key] for key in ("pipeline_tag", "library_name") if key in card} | {"cardData": card}
    return Answer.of(told | {"siblings": [{"rfilename": path} for path in sorted(at.files)]})


@route("GET", f"/api/models/{ID}/refs", "refs")
def list_refs(call: Call) -> Answer:
    repository = call.repository()

    def told(kind: str, refs: dict[str, Commit]) -> list[dict]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": at.oid} for name, at in refs.items()]

    tags, branches = told("tags", repository.tags), told("heads", repository.branches)
    return Answer.of({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


@route("GET", f"/api/models/{ID}/commits/{REV}", "commits")
def list_commits(call: Call) -> Answer:
    return Answer.of(
        [
            {"id": at.oid, "authors": [{"user": at.author}], "date": at.date, "title": at.title, "message": at.message}
            for at in call.commit().history
        ]
    )


def entry(call: Call, path: str, file: File) -> dict:
    told = {"type": "file", "path": path, "size": len(file.data), "oid": file.git_oid}
    if file.large:
        told["lfs"] = {"oid": file.oid, "size": len(file.data), "pointerSize": 134}
        told |= {"xetHash": call.hub.xet.hashes[file.oid]} if file.oid in call.hub.xet.hashes else {}
    return told


def folders(files: dict[str, File]) -> set[str]:
    return {str(parent) for path in files for parent in Path(path).parents} - {"."}


@route("GET", f"/api/models/{ID}/tree/{REV}(/(?P<rest>.+))?", "tree")
def list_tree(call: Call) -> Answer:
    files, root = call.commit().files, call.rest.strip("/")
    if root and root not in folders(files):
        raise HubError(404, f"{root} does not exist on {call.revision}", "EntryNotFound")
    entries = [entry(call, path, file) for path, file in files.items()]
    entries += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders(files)]
    deep = call.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    below = [found for found in entries if Path(found["path"]).is_relative_to(root) and found["path"] != root]
    shown = [found for found in below if deep or str(Path(found["path"]).parent) == (root or ".")]
    return Answer.of(sorted(shown, key=lambda found: found["path"]))


@route("POST", f"/api/models/{ID}/paths-info/{REV}", "paths_info")
def paths_info(call: Call) -> Answer:
    files, asked = call.commit().files, parse_qs(call.body.decode()).get("paths", [])
    found = [entry(call, path, files[path]) for path in asked if path in files]
    named = [{"type": "directory", "path": path, "oid": "0" * 40} for path in asked if path in folders(files)]
    return Answer.of(found + named)


@route("GET", f"/{ID}/resolve/{REV}/(?P<rest>.+)", "resolve")
def resolve(call: Call) -> Answer:
    at = call.commit()
    told = {"X-Repo-Commit": at.oid}
    file = at.files.get(call.rest)
    if file is None:
        missing = Answer.of_error(HubError(404, f"Entry not found: {call.rest}", "EntryNotFound"))
        missing.headers |= told
        return missing
    if not file.large:
        return Answer(file.data, 200, told | {"ETag": f'"{file.oid}"'})
    told |= {"ETag": f'"{file.git_oid}"', "X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
    if file.oid in call.hub.xet.hashes:
        refresh = f"{call.hub.endpoint}/api/models/{call.repo}/xet-read-token/{at.oid}"
        told |= {"X-Xet-Hash": call.hub.xet.hashes[file.oid], "Link": f'<{refresh}>; rel="xet-auth"'}
    return Answer(b"", 302, told | {"Location": f"{call.hub.storage}/lfs/{file.oid}"})


@route("GET", "/lfs/(?P<rest>[0-9a-f]{64})", "lfs_get")
def lfs_get(call: Call) -> Answer:
    data = call.hub.store.objects.get(call.rest)
    if data is None:
        raise HubError(404, "No such object")
    return Answer(data, 200, {"ETag": f'"{call.rest}"'})


class Handler(BaseHTTPRequestHandler):
    """Reads a request, lets the switched-on fault happen, asks the route, answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer leaves in one piece
    hub: "LoopbackHub"

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        path, method = unquote(url.path), "GET" if self.command == "HEAD" else self.command
        step, function, named = find_route(method, url.path)
        fault = self.hub.faults.take(step, path)
        kind = fault.kind if fault else None
        body = None if kind == "cut" else self.read_body(half=kind == "cut_midway")
        answer = None if body is None else self.answer(fault, function, named, parse_qs(url.query), body)
        told = None if kind in ("lose_answer", "cut_midway") or answer is None else answer.status
        host, authorized = self.headers.get("Host", ""), "Authorization" in self.headers
        self.hub.requests.append(Request(self.command, path, host, authorized, step, told))
        if answer is not None and kind != "lose_answer":
            self.send(answer, half=kind == "cut_midway")
        self.close_connection |= answer is None or kind in ("lose_answer", "cut_midway")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def answer(self, fault: Fault | None, function: Callable, named: dict, query: dict, body: bytes) -> Answer:
        if fault and fault.kind == "answer":
            answer = Answer.of_error(HubError(fault.status, "A fault that was switched on."))
            answer.headers |= dict(fault.headers)
            return answer
        if fault and fault.kind == "before":
            fault.hook()
        try:
            user = self.hub.user(self.headers.get("Authorization"))
            return function(Call(self.hub, user, query, body, **named))
        except HubError as error:
            return Answer.of_error(error)

    def read_body(self, half: bool) -> bytes | None:
        """The body of the request; None when half of it was read, or when the client went away."""
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size // 2 if half else size)
        return body if len(body) == size else None

    def send(self, answer: Answer, half: bool) -> None:
        body = self.in_range(answer)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        self.wfile.flush()

    def in_range(self, answer: Answer) -> bytes:
        """The part of the body that a Range header asks for, and the status and header that go with it."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or answer.status != 200:
            return answer.body
        first, last = int(asked[1]), min(int(asked[2] or len(answer.body)), len(answer.body) - 1)
        answer.status = 206
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{len(answer.body)}"
        return answer.body[first : last + 1]

    def log_message(self, *arguments: object) -> None:
        """The log is `hub.requests`."""


def find_route(method: str, path: str) -> tuple[str, Callable, dict[str, str]]:
    for verb, pattern, step, function in ROUTES:
        if verb == method and (match := pattern.fullmatch(path)):
            return step, function, {name: unquote(value) for name, value in match.groupdict().items() if value}
    return "unknown", unknown, {}


def unknown(call: Call) -> Answer:
    raise HubError(404, "This Hub has no such route.")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class LoopbackHub:
    """`with LoopbackHub() as hub:` serves at `hub.endpoint` until the block ends.

    `hub.tokens` has a token of each user: `ana` and `leo` are members of the organization `org`, `eva` of none.
    `hub.faults` is the switchboard, `hub.requests` the log.
    """

    def __init__(self):
        from tests.loopback_hub.xet import XetStorage

        members = [User("ana", ("org",)), User("leo", ("org",)), User("eva")]
        self.tokens = {user.name: f"hf_{user.name}{secrets.token_hex(16)}" for user in members}
        self.faults = Faults()
        self.requests: list[Request] = []
        self.xet = XetStorage()
        self.store = Store({self.tokens[user.name]: user for user in members}, self.xet.find)
        self._folder = tempfile.TemporaryDirectory(prefix="loopback-hub-")
        self._server = Server(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.storage = f"http://localhost:{self._server.server_port}"
        self.xet.url = self.storage

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def user(self, authorization: str | None) -> User | None:
        token = (authorization or "").removeprefix("Bearer ")
        if not token or self.xet.knows(token):
            return None
        if token not in self.store.users:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.store.users[token]

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
                "NO_PROXY": "127.0.0.1,localhost",
            }
            | ({"HF_TOKEN": token} if token else {})
        )

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
