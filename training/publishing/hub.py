"""The Hub: what a repository holds, what has to change there, and the one commit and the tag that change it.

An upload can have succeeded although its answer was lost, so after any error the Hub is asked what it holds now,
before anything is reported. Every error becomes one line, without the token.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from training.common.errors import InputError
from training.common.files import file_sha256
from training.publishing.tree import files_of

MODEL, DATASET, SPACE = "model", "dataset", "space"
# What the client raises: its own HTTP errors and httpx2's; ConnectionError of Xet; RuntimeError around a failed
# upload; ValueError for a card that the Hub refuses and for a token that does not fit into a header.
HUB_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
KEPT_BY_THE_HUB = {".gitattributes"}  # which files are large
REASONS = {
    401: "the token is not valid: log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there: take one with the right to write to that organization",
    412: "another commit came first",
}


@dataclass(frozen=True)
class Upload:
    """A folder whose files a repository is to hold, exactly; `kind` is MODEL, DATASET or SPACE."""

    repo_id: str
    kind: str
    tree: Path

    @property
    def megabytes(self) -> float:
        return sum((self.tree / path).stat().st_size for path in files_of(self.tree)) / 1e6


@dataclass(frozen=True)
class Remote:
    """A repository as it is: `files` by path, each with the SHA-256 of a large file or git's SHA-1 of another."""

    tip: str
    private: bool
    files: dict[str, str]
    tags: dict[str, str]


@dataclass(frozen=True)
class Changes:
    sent: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        return bool(self.sent or self.removed)

    def __str__(self) -> str:
        parts = ((self.sent, "update"), (self.removed, "remove"))
        return ", ".join(f"{verb} {len(files)} file{'s' * (len(files) > 1)}" for files, verb in parts if files)


@dataclass(frozen=True)
class Plan:
    """What is to happen to a repository; `remote` is None where there is none yet."""

    upload: Upload
    remote: Remote | None
    changes: Changes
    new_tag: str | None

    def __str__(self) -> str:
        create = "" if self.remote and set(self.remote.files) - KEPT_BY_THE_HUB else "create with "
        changes = f"{create}{len(self.changes.sent)} files" if create else str(self.changes)
        return ", ".join(filter(None, (changes, self.new_tag and f"add tag {self.new_tag}"))) or "nothing new"


@dataclass(frozen=True)
class Outcome:
    """What became of a repository or of the collection; `failed` says whether `changed` is an error."""

    name: str
    commit: str | None
    changed: str
    failed: bool = False


def check_login(api: HfApi) -> None:
    """Check that the Hub knows the token.

    Raises:
        InputError: if there is none, if it is not valid, or if the Hub does not answer.
    """
    if isinstance(api.token, str) and not re.fullmatch("[!-~]+", api.token):  # an error of the client would show it
        raise InputError("the token holds a character that no token has: log in with `hf auth login`, or set HF_TOKEN")
    if not api.token:
        raise InputError("no token: log in with `hf auth login`, or set HF_TOKEN")
    try:
        api.whoami()
    except HUB_ERRORS as error:
        raise InputError(f"{api.endpoint}: cannot log in: {in_one_line(error, api)}") from error


def plan(api: HfApi, upload: Upload, *, private: bool, tag: str | None) -> Plan:
    """What a repository lacks; nothing is changed.

    Raises:
        InputError: if the repository cannot be read, is public and meant to be private, or has the tag elsewhere.
    """
    remote = read(api, upload)
    if remote is None:
        return Plan(upload, None, compare({}, upload.tree), tag)
    if private and not remote.private:
        raise InputError(f"{upload.repo_id} is public: make it private on the Hub first, or leave out --private")
    changes = compare(remote.files, upload.tree)
    tagged = remote.tags.get(tag) if tag else None
    if tagged and (changes or tagged != remote.tip):
        raise InputError(
            f"{upload.repo_id}: the tag {tag} names another commit, {tagged[:8]}, and is not moved: give a new --tag"
        )
    return Plan(upload, remote, changes, None if tagged else tag)


def push(api: HfApi, planned: Plan, *, private: bool, say: Callable[[str], None]) -> Outcome:
    """Carry out a plan: one commit, then the tag that names it.

    A run that broke off is finished by the next one, which sends only what is not there.

    Raises:
        InputError: if it cannot be done; the message says what arrived.
    """
    upload = planned.upload
    remote = planned.remote or create(api, upload, private)
    commit = send(api, upload, remote, say) if planned.changes else remote.tip
    if planned.new_tag:
        add_tag(api, upload, planned.new_tag, commit)
    return Outcome(upload.repo_id, commit, str(planned))


def create(api: HfApi, upload: Upload, private: bool) -> Remote:
    """Create the repository, and return it as it is then.

    Raises:
        InputError: if it can be neither created nor read.
    """
    settle(
        lambda: api.create_repo(
            upload.repo_id,
            repo_type=upload.kind,
            private=private or None,
            exist_ok=True,
            space_sdk="static" if upload.kind == SPACE else None,
        ),
        lambda: read(api, upload) is not None,
        f"{upload.repo_id} was not created",
        api,
    )
    remote = read(api, upload)
    if remote is None:
        raise InputError(f"{upload.repo_id} is there, and cannot be read with this token")
    return remote


def read(api: HfApi, upload: Upload) -> Remote | None:
    """What the Hub holds; None if it has no such repository.

    Raises:
        InputError: if the Hub does not say.
    """
    try:
        info = api.repo_info(upload.repo_id, repo_type=upload.kind)
        files = read_files(api, upload, str(info.sha))
        return Remote(str(info.sha), bool(info.private), files, read_tags(api, upload))
    except RepositoryNotFoundError:
        return None
    except HUB_ERRORS as error:
        raise InputError(f"{upload.repo_id}: cannot be read: {in_one_line(error, api)}: run again later") from error


def read_files(api: HfApi, upload: Upload, revision: str) -> dict[str, str]:
    entries = api.list_repo_tree(upload.repo_id, recursive=True, revision=revision, repo_type=upload.kind)
    files = (entry for entry in entries if isinstance(entry, RepoFile))
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def read_tags(api: HfApi, upload: Upload) -> dict[str, str]:
    refs = api.list_repo_refs(upload.repo_id, repo_type=upload.kind)
    return {tag.name: tag.target_commit for tag in refs.tags}


def compare(remote: Mapping[str, str], tree: Path) -> Changes:
    """What has to change for the Hub to hold `tree`, found by digests alone."""
    local = files_of(tree)
    return Changes(
        sent=[path for path in local if path not in remote or digest(tree / path, remote[path]) != remote[path]],
        removed=sorted(set(remote) - set(local) - KEPT_BY_THE_HUB),
    )


def digest(path: Path, like: str) -> str:
    """The digest of a file in the manner of `like`: 64 digits are a SHA-256, 40 are git's SHA-1."""
    return file_sha256(path) if len(like) == 64 else git_hash(path.read_bytes())


def send(api: HfApi, upload: Upload, remote: Remote, say: Callable[[str], None]) -> str:
    """Commit the tree on top of what was read; return the commit once it is seen to hold the tree."""
    repo_id = upload.repo_id
    try:
        commit = api.upload_folder(
            repo_id=repo_id,
            repo_type=upload.kind,
            folder_path=upload.tree,
            delete_patterns="*",
            commit_message=f"Publish {upload.tree.name}",
            parent_commit=remote.tip,
        ).oid
        arrived = read_files(api, upload, commit)
    except HUB_ERRORS as error:
        return found_after(error, api, upload, remote, say)
    if unlike := compare(arrived, upload.tree):
        names = ", ".join(unlike.sent + unlike.removed)
        raise InputError(f"{repo_id}: commit {commit[:8]} does not hold what was sent: look at its {names}")
    return commit


def found_after(error: Exception, api: HfApi, upload: Upload, remote: Remote, say: Callable[[str], None]) -> str:
    """The commit that holds the tree in spite of `error`.

    Raises:
        InputError: if there is none; the message says whether there is somebody else's, or nothing new.
    """
    reason, repo_id = in_one_line(error, api), upload.repo_id
    try:
        now = read(api, upload)
    except InputError as unread:
        raise InputError(f"{reason}; then {unread}, which looks first whether it arrived") from error
    if now and not compare(now.files, upload.tree):
        say(f"{repo_id}: commit {now.tip[:8]} holds all that was sent, although the answer was an error ({reason})")
        return now.tip
    if now and now.tip != remote.tip:
        raise InputError(
            f"{repo_id}: somebody else pushed commit {now.tip[:8]} meanwhile: look at it, then run again"
        ) from error
    raise InputError(f"{repo_id}: nothing was published: {reason}: run again") from error


def add_tag(api: HfApi, upload: Upload, tag: str, commit: str) -> None:
    settle(
        lambda: api.create_tag(upload.repo_id, tag=tag, revision=commit, repo_type=upload.kind),
        lambda: read_tags(api, upload).get(tag) == commit,
        f"{upload.repo_id}: commit {commit[:8]} is there, and the tag {tag} is not",
        api,
    )


def settle(action: Callable[[], object], arrived: Callable[[], bool], without: str, api: HfApi) -> None:
    """Carry out `action`, or find that it was carried out although its answer was an error.

    Args:
        without: what the message says if it was not.

    Raises:
        InputError: if it was not, or the Hub does not say.
    """
    try:
        action()
    except HUB_ERRORS as error:
        reason = in_one_line(error, api)
        try:
            done = arrived()
        except (*HUB_ERRORS, InputError):
            raise InputError(f"{without}, or it is not known: {reason}: run again") from error
        if not done:
            raise InputError(f"{without}: {reason}: run again") from error


def in_one_line(error: Exception, api: HfApi) -> str:
    """What an error of the client says, with the remedy where there is one; without the token or a signed address."""
    causes = [error, error.__cause__] if type(error) is RuntimeError and error.__cause__ else [error]
    known = (cause for cause in causes if status_of(cause) in REASONS)
    if first := next(known, None):
        text = REASONS[status_of(first) or 0] + message_of_the_hub(first)
    else:
        text = " ".join(map(first_line, causes))
    text = re.sub(r"\?[^\s']+", "", text)
    return text.replace(api.token, "<token>") if isinstance(api.token, str) else text


def status_of(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def first_line(error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        return str(error).strip().splitlines()[0] + message_of_the_hub(error)
    return " ".join(str(error).split()) or type(error).__name__


def message_of_the_hub(error: BaseException) -> str:
    """Its own message in brackets: a 403, for one, is also a full storage."""
    message = getattr(error, "server_message", None)
    return f" ({' '.join(message.split())})" if message else ""
