"""Repositories on the Hub: how one differs from a folder, and the single commit and tag that bring it up to date.

An upload may succeed although its response is lost. After an error the repository is therefore read again before
anything is reported. Every error becomes one line, without the token.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.utils._xet import abort_xet_session

from training.common.errors import InputError
from training.publishing.tree import files_of

MODEL, DATASET, SPACE = "model", "dataset", "space"
# What the client raises: HTTP errors of its own and of httpx2; ConnectionError from Xet; RuntimeError for a failed
# upload; ValueError for a card that the Hub refuses and for a token that is not allowed in a header.
HUB_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
KEPT_BY_THE_HUB = ".gitattributes"  # says which files are large
REASONS = {
    401: "the token is not valid: log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there: use one with write access to that organization",
    412: "another commit came first",
}


@dataclass(frozen=True)
class Upload:
    """A repository and the folder that it must match exactly; `kind` is MODEL, DATASET or SPACE."""

    repo_id: str
    kind: str
    tree: Path

    @property
    def megabytes(self) -> float:
        return sum((self.tree / path).stat().st_size for path in files_of(self.tree)) / 1e6


@dataclass(frozen=True)
class Changes:
    """Files of the folder to send, and files of the repository to remove."""

    sent: list[str]
    removed: list[str]

    def __bool__(self) -> bool:
        return bool(self.sent or self.removed)

    def __str__(self) -> str:
        parts = ((self.sent, "update"), (self.removed, "remove"))
        return ", ".join(f"{verb} {len(files)} file{'s' * (len(files) > 1)}" for files, verb in parts if files)


@dataclass(frozen=True)
class Remote:
    """A repository as it is: its last commit, its tags with their commits, and how the folder differs from it."""

    tip: str
    private: bool
    tags: dict[str, str]
    changes: Changes
    is_empty: bool


@dataclass(frozen=True)
class Plan:
    """What has to be done to a repository; `remote` is None if it does not exist yet."""

    upload: Upload
    remote: Remote | None
    changes: Changes
    new_tag: str | None

    def __str__(self) -> str:
        is_new = self.remote is None or self.remote.is_empty
        changes = f"create with {len(self.changes.sent)} files" if is_new else str(self.changes)
        return ", ".join(filter(None, (changes, self.new_tag and f"add tag {self.new_tag}"))) or "nothing new"


@dataclass(frozen=True)
class Outcome:
    """The result for a repository or the collection: `changed` says what was done or, if `failed`, what went wrong."""

    name: str
    commit: str | None
    changed: str
    failed: bool = False


def check_login(api: HfApi) -> None:
    """Check that the Hub knows the token.

    Raises:
        InputError: if there is no token, if it is not valid, or if the Hub does not answer.
    """
    if isinstance(api.token, str) and not re.fullmatch("[!-~]+", api.token):  # the client's own error would print it
        raise InputError(
            "the token contains a character that no token has: log in with `hf auth login`, or set HF_TOKEN"
        )
    if not api.token:
        raise InputError("no token: log in with `hf auth login`, or set HF_TOKEN")
    try:
        api.whoami()
    except HUB_ERRORS as error:
        raise InputError(f"{api.endpoint}: cannot log in: {in_one_line(error, api)}") from error


def plan(api: HfApi, upload: Upload, *, private: bool, tag: str | None) -> Plan:
    """Find out what has to be done to a repository, without changing anything.

    Raises:
        InputError: if the repository cannot be read, is public but `private` is set, or has the tag on another commit.
    """
    remote = read(api, upload)
    if remote is None:
        return Plan(upload, None, Changes(files_of(upload.tree), []), tag)
    if private and not remote.private:
        raise InputError(f"{upload.repo_id} is public: make it private on the Hub first, or omit --private")
    tagged = remote.tags.get(tag) if tag else None
    if tagged and (remote.changes or tagged != remote.tip):
        raise InputError(
            f"{upload.repo_id}: the tag {tag} names another commit, {tagged[:8]}, and is never moved: give a new --tag"
        )
    return Plan(upload, remote, remote.changes, None if tagged else tag)


def push(api: HfApi, planned: Plan, *, private: bool, say: Callable[[str], None]) -> Outcome:
    """Carry out a plan: make one commit, then tag it.

    If a run breaks off, the next one completes it and sends only what is missing. After Ctrl-C, which passes through,
    it is said what has arrived.

    Raises:
        InputError: if the Hub refuses or does not answer; the message says what has arrived.
    """
    upload = planned.upload
    try:
        remote = planned.remote or create(api, upload, private)
        commit = send(api, upload, remote, say) if planned.changes else remote.tip
        if planned.new_tag:
            add_tag(api, upload, planned.new_tag, commit)
    except KeyboardInterrupt:
        abort_xet_session()  # while upload_folder waits for its thread, it does not, and the thread would commit
        say(f"{upload.repo_id}: {arrived_so_far(api, planned)}")
        raise
    return Outcome(upload.repo_id, commit, str(planned))


def arrived_so_far(api: HfApi, planned: Plan) -> str:
    """Read the repository once more, and say what of a plan it holds: a commit may have been on its way."""
    try:
        now = read(api, planned.upload)
    except InputError as unread:
        return f"interrupted, and it is unknown whether the commit has arrived ({unread})"
    if now is None or now.changes:
        return "interrupted, no commit has arrived so far"
    tag = planned.new_tag
    without = f", without the tag {tag}" if tag and tag not in now.tags else ""
    return f"interrupted, but commit {now.tip[:8]} has arrived{without}"


def create(api: HfApi, upload: Upload, private: bool) -> Remote:
    """Create the repository and read it.

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
        raise InputError(f"{upload.repo_id} exists but cannot be read with this token")
    return remote


def read(api: HfApi, upload: Upload) -> Remote | None:
    """Read the state of a repository; None if it does not exist.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        info = api.repo_info(upload.repo_id, repo_type=upload.kind)
        changes, is_empty = compare(api, upload, str(info.sha))
        return Remote(str(info.sha), bool(info.private), read_tags(api, upload), changes, is_empty)
    except RepositoryNotFoundError:
        return None
    except HUB_ERRORS as error:
        raise InputError(f"{upload.repo_id}: cannot be read: {in_one_line(error, api)}: run again later") from error


def compare(api: HfApi, upload: Upload, revision: str) -> tuple[Changes, bool]:
    """Compare the folder with a commit by checksums; also return whether the commit has no file but the Hub's own."""
    found = api.verify_repo_checksums(upload.repo_id, repo_type=upload.kind, revision=revision, local_dir=upload.tree)
    sent = sorted([*found.extra_paths, *(file["path"] for file in found.mismatches)])
    removed = [path for path in found.missing_paths if path != KEPT_BY_THE_HUB]
    return Changes(sent, removed), not (found.checked_count or removed)


def read_tags(api: HfApi, upload: Upload) -> dict[str, str]:
    refs = api.list_repo_refs(upload.repo_id, repo_type=upload.kind)
    return {tag.name: tag.target_commit for tag in refs.tags}


def send(api: HfApi, upload: Upload, remote: Remote, say: Callable[[str], None]) -> str:
    """Commit the folder on top of the commit that was read, check that it has arrived, and return the new commit."""
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
        unlike, _ = compare(api, upload, commit)
    except HUB_ERRORS as error:
        return found_after(error, api, upload, remote, say)
    if unlike:
        names = ", ".join(unlike.sent + unlike.removed)
        raise InputError(f"{repo_id}: commit {commit[:8]} differs from what was sent: look at its {names}")
    return commit


def found_after(error: Exception, api: HfApi, upload: Upload, remote: Remote, say: Callable[[str], None]) -> str:
    """Find the commit that holds the folder in spite of `error`.

    Raises:
        InputError: if there is none; the message says whether somebody else has pushed, or nothing has changed.
    """
    reason, repo_id = in_one_line(error, api), upload.repo_id
    try:
        now = read(api, upload)
    except InputError as unread:
        raise InputError(
            f"{reason}; it is unknown whether the upload arrived, as {unread}, which checks that first"
        ) from error
    if now and not now.changes:
        say(f"{repo_id}: commit {now.tip[:8]} holds all that was sent, although the response was an error ({reason})")
        return now.tip
    if now and now.tip != remote.tip:
        raise InputError(
            f"{repo_id}: somebody else pushed commit {now.tip[:8]} in the meantime: look at it, then run again"
        ) from error
    raise InputError(f"{repo_id}: nothing was published: {reason}: run again") from error


def add_tag(api: HfApi, upload: Upload, tag: str, commit: str) -> None:
    settle(
        lambda: api.create_tag(upload.repo_id, tag=tag, revision=commit, repo_type=upload.kind),
        lambda: read_tags(api, upload).get(tag) == commit,
        f"{upload.repo_id}: commit {commit[:8]} has arrived, but the tag {tag} has not",
        api,
    )


def settle(action: Callable[[], object], arrived: Callable[[], bool], without: str, api: HfApi) -> None:
    """Carry out `action`, or find that it was carried out although the response was an error.

    Args:
        arrived: checks on the Hub whether the action was carried out.
        without: beginning of the message if it was not.

    Raises:
        InputError: if it was not carried out, or that cannot be checked.
    """
    try:
        action()
    except HUB_ERRORS as error:
        reason = in_one_line(error, api)
        try:
            done = arrived()
        except (*HUB_ERRORS, InputError):
            raise InputError(f"{without}, or this could not be checked: {reason}: run again") from error
        if not done:
            raise InputError(f"{without}: {reason}: run again") from error


def in_one_line(error: Exception, api: HfApi) -> str:
    """Return the message of a client error and, if there is one, the remedy, without the token or a signed URL."""
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
    """Return the Hub's own message in brackets: a 403, for example, may also mean that the storage is full."""
    message = getattr(error, "server_message", None)
    return f" ({' '.join(message.split())})" if message else ""
