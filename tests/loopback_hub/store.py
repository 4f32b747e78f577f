"""What a Hub keeps: users, repositories with their commits, large files and collections, all in memory.

Every change is one method under one lock, and a commit is one update of a branch: it is there whole or not at all.
"""

import functools
import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch

LARGE = 10_000_000  # bytes, from which any file is a large file
ATTRIBUTES = ".gitattributes"
TRACKED = "{} filter=lfs diff=lfs merge=lfs -text\n"
FIRST_ATTRIBUTES = "".join(map(TRACKED.format, ("*.bin", "*.h5", "*.onnx", "*.safetensors")))


class HubError(Exception):
    """An error of the Hub: a status, a message, the code of X-Error-Code, and what else the answer's JSON holds."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: object):
        super().__init__(message)
        self.status, self.code, self.body = status, code, {"error": message, **body}


@dataclass(frozen=True)
class User:
    name: str
    orgs: tuple[str, ...] = ()

    def may_write(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs


@dataclass(frozen=True)
class File:
    """A file of a commit; `oid` is what the Hub tells about its content: git's sha1, or the sha256 of a large file."""

    data: bytes = field(repr=False)
    large: bool
    oid: str
    git_oid: str

    @classmethod
    def regular(cls, data: bytes) -> "File":
        return cls(data, False, git_sha1(data), git_sha1(data))

    @classmethod
    def of_large(cls, data: bytes) -> "File":
        digest = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"
        return cls(data, True, digest, git_sha1(pointer.encode()))


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: "Commit | None" = field(repr=False)
    title: str
    message: str
    author: str
    date: str
    files: dict[str, File] = field(repr=False)

    @property
    def history(self) -> list["Commit"]:
        """This commit and those before it, newest first."""
        return [self, *(self.parent.history if self.parent else [])]


@dataclass
class Repository:
    name: str
    private: bool
    branches: dict[str, Commit]
    tags: dict[str, Commit] = field(default_factory=dict)

    def commit(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a full commit id names."""
        known = {commit.oid: commit for tip in list(self.branches.values()) for commit in tip.history}
        for names in (self.branches, self.tags, known):
            if revision in names:
                return names[revision]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def namespace_of(key: str) -> str:
    """The organization or user of a repository: of `org/name`, and of `datasets/org/name`."""
    return key.split("/")[-2]


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def locked(method: Callable) -> Callable:
    @functools.wraps(method)
    def under_the_lock(self, *arguments, **keywords):
        with self._lock:
            return method(self, *arguments, **keywords)

    return under_the_lock


class Store:
    """`find_large(sha256)` looks for an uploaded large file elsewhere than in `objects`; None where there is none."""

    def __init__(self, users: dict[str, User], find_large: Callable[[str], bytes | None]):
        self.users = users
        self.repositories: dict[str, Repository] = {}
        self.collections: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self._find_large = find_large
        self._lock = threading.RLock()
        self._count = 0

    def writer(self, user: User | None, namespace: str) -> User:
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if not user.may_write(namespace):
            raise HubError(403, f"{user.name} has no right to write under the namespace {namespace}.")
        return user

    @locked
    def repository(self, user: User | None, name: str, write: bool = False) -> Repository:
        """A repository that `user` may read, or write; what may not be seen is answered as what is not there."""
        found, namespace = self.repositories.get(name), namespace_of(name)
        hidden = found is not None and found.private and not (user and user.may_write(namespace))
        if found is None or hidden:
            raise HubError(404 if user else 401, "Repository not found", "RepoNotFound")
        if write:
            self.writer(user, namespace)
        return found

    @locked
    def create_repository(self, user: User | None, name: str, private: bool) -> None:
        """A repository is born with one commit, by the system, that holds `.gitattributes`."""
        self.writer(user, namespace_of(name))
        if name in self.repositories:
            raise HubError(409, "You already created this repo", name=name)
        first = self._new_commit(None, "initial commit", "", "system", {})
        first.files[ATTRIBUTES] = File.regular(FIRST_ATTRIBUTES.encode())
        self.repositories[name] = Repository(name, private, {"main": first})

    @locked
    def add_object(self, sha256: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise HubError(400, "The content does not have the sha256 that was announced.")
        self.objects[sha256] = data

    @locked
    def add_commit(self, repository: Repository, user: User, branch: str, header: dict, operations: list) -> Commit:
        """Carry out `operations`, File or None (delete) by path, on top of the branch's tip."""
        if branch not in repository.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        tip = repository.branches[branch]
        if header.get("parentCommit") not in (None, tip.oid):
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(tip.files)
        for path, file in operations:
            if file is None and path not in files:
                raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            files.pop(path, None)
            if file is not None:
                files[path] = file
        track(files)
        commit = self._new_commit(tip, header["summary"], header.get("description", ""), user.name, files)
        repository.branches[branch] = commit
        return commit

    def large_file(self, sha256: str) -> File:
        """The large file that was uploaded under this sha256."""
        data = self.objects.get(sha256)
        if data is None:
            data = self._find_large(sha256)
        if data is None:
            raise HubError(400, f"The large file {sha256} was not uploaded.")
        self.add_object(sha256, data)
        return File.of_large(data)

    @locked
    def add_ref(self, repository: Repository, kind: str, name: str, revision: str) -> None:
        refs = getattr(repository, kind)
        if name in refs:
            raise HubError(409, f"{name} already exists among the {kind}")
        refs[name] = repository.commit(revision)

    @locked
    def delete_ref(self, repository: Repository, kind: str, name: str) -> None:
        if getattr(repository, kind).pop(name, None) is None:
            raise HubError(404, f"{name} is none of the {kind}", "RevisionNotFound")

    @locked
    def collection(self, slug: str) -> dict:
        if slug not in self.collections:
            raise HubError(404, "Collection not found")
        return self.collections[slug]

    @locked
    def create_collection(self, user: User | None, title: str, namespace: str, **optional: object) -> dict:
        self.writer(user, namespace)
        for slug, found in self.collections.items():
            if (found["owner"], found["title"]) == (namespace, title):
                raise HubError(409, "A collection of this title exists", slug=slug)
        words = re.sub(r"\W+", "-", title.lower())
        new = {"slug": f"{namespace}/{words}-{self._next():024x}", "title": title, "owner": namespace, "items": []}
        defaults = {"description": None, "private": False, "theme": "orange", "upvotes": 0}
        self.collections[new["slug"]] = new | defaults | optional | {"lastUpdated": now(), "position": 0}
        return self.collections[new["slug"]]

    @locked
    def add_collection_item(self, user: User | None, slug: str, item: dict, note: str | None) -> dict:
        collection = self.collection(slug)
        self.writer(user, collection["owner"])
        self.repository(user, item["id"] if item["type"] == "model" else f"{item['type']}s/{item['id']}")
        if any((old["id"], old["type"]) == (item["id"], item["type"]) for old in collection["items"]):
            raise HubError(409, "Item already in collection")
        told = {"note": {"text": note}} if note else {}
        place = {"_id": f"{self._next():024x}", "position": len(collection["items"])}
        collection["items"].append({**item, **place, **told})
        return collection

    def _new_commit(
        self, parent: Commit | None, title: str, message: str, author: str, files: dict[str, File]
    ) -> Commit:
        oid = hashlib.sha1(f"{self._next()} {parent} {title}".encode()).hexdigest()
        return Commit(oid, parent, title, message, author, now(), files)

    def _next(self) -> int:
        self._count += 1
        return self._count


def is_large(path: str, size: int, sample: bytes, attributes: str) -> bool:
    """What the Hub decides before an upload: by the patterns of `.gitattributes`, by size, and for binary files."""
    patterns = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
    return size > LARGE or b"\0" in sample or any(fnmatch(path, pattern) for pattern in patterns)


def track(files: dict[str, File]) -> None:
    """Large files that no pattern covers get a line of their own in `.gitattributes`, as on the Hub."""
    attributes = files[ATTRIBUTES].data.decode() if ATTRIBUTES in files else ""
    for path, file in files.items():
        if file.large and not is_large(path, 0, b"", attributes):
            attributes += TRACKED.format(path)
    files[ATTRIBUTES] = File.regular(attributes.encode())
