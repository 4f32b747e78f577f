"""The Hub: what it holds, what has to change there, and the one commit, the tag and the collection that change it.

An upload can have succeeded although its answer was lost, so after any error the Hub is asked what it holds now,
before anything is said. Every error becomes one line, without the token.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import Collection, RepoFile
from huggingface_hub.utils.sha import git_hash

from training.common.errors import InputError
from training.publishing.tree import files_of

COLLECTION = "BILMA"
OF_COLLECTION = f"collection {COLLECTION}"  # in the table and in messages
# What the client raises: its own HTTP errors and httpx2's; ConnectionError of Xet; RuntimeError around a failed
# upload; ValueError for a card that the Hub refuses and for a token that cannot stand in a header.
HUB_ERRORS = (HTTPError, OSError, RuntimeError, ValueError)
OF_THE_HUB = {".gitattributes"}  # made and kept by the Hub itself: which files are large
REASONS = {
    401: "the token is not valid: log in with `hf auth login`, or set HF_TOKEN",
    403: "the token may not write there: take one with the right to write to that organization",
    412: "another commit came first",
}


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
        parts = ((self.sent, "updated"), (self.removed, "removed"))
        return ", ".join(f"{verb} {len(files)} file{'s' * (len(files) > 1)}" for files, verb in parts if files)


@dataclass(frozen=True)
class Outcome:
    """What became of a repository or of the collection; `failed` tells apart what is in `changed`."""

    name: str
    commit: str | None
    changed: str
    failed: bool = False


def check_login(api: HfApi) -> None:
    """The Hub knows the token.

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


def push(
    api: HfApi, repo_id: str, tree: Path, *, private: bool, tag: str | None, say: Callable[[str], None]
) -> Outcome:
    """Make the repository hold exactly the files of `tree`, by one commit, and `tag` name that commit.

    What is there already is not sent again, so a run that broke off is finished by the next one.

    Raises:
        InputError: if it cannot be done; the message says what arrived.
    """
    remote = open_repository(api, repo_id, private)
    changes = compare(remote.files, tree)
    tagged = remote.tags.get(tag)
    if tagged and (changes or tagged != remote.tip):
        raise InputError(
            f"{repo_id}: the tag {tag} names another commit, {tagged[:8]}, and is not moved: give a new --tag"
        )
    done, commit = [], remote.tip
    if changes:
        megabytes = sum((tree / path).stat().st_size for path in changes.sent) / 1e6
        removed = ", ".join(changes.removed) or "none"
        say(f"{repo_id}: files to send: {len(changes.sent)} ({megabytes:.1f} MB), to remove: {removed}")
        commit = send(api, repo_id, tree, changes, remote, say)
        done.append(str(changes) if set(remote.files) - OF_THE_HUB else f"created with {len(changes.sent)} files")
    if tag and not tagged:
        add_tag(api, repo_id, tag, commit)
        done.append(f"tag {tag} added")
    return Outcome(repo_id, commit, ", ".join(done) or "nothing new")


def add_tag(api: HfApi, repo_id: str, tag: str, commit: str) -> None:
    settled(
        lambda: api.create_tag(repo_id, tag=tag, revision=commit),
        lambda: read_tags(api, repo_id).get(tag) == commit,
        f"{repo_id}: commit {commit[:8]} is there, and the tag {tag} is not",
        api,
    )


def open_repository(api: HfApi, repo_id: str, private: bool) -> Remote:
    """The repository as it is, made if there is none.

    Raises:
        InputError: if it can be neither read nor made, or is public and meant to be private.
    """
    remote = read(api, repo_id)
    if remote is None:
        settled(
            lambda: api.create_repo(repo_id, private=private or None, exist_ok=True),
            lambda: read(api, repo_id) is not None,
            f"{repo_id} was not created",
            api,
        )
        remote = read(api, repo_id)
    if remote is None:
        raise InputError(f"{repo_id} is there, and cannot be read with this token")
    if private and not remote.private:
        raise InputError(f"{repo_id} is public: make it private on the Hub first, or leave out --private")
    return remote


def read(api: HfApi, repo_id: str) -> Remote | None:
    """What the Hub holds; None if it has no such repository."""
    try:
        info = api.repo_info(repo_id)
        return Remote(info.sha, bool(info.private), read_files(api, repo_id, info.sha), read_tags(api, repo_id))
    except RepositoryNotFoundError:
        return None
    except HUB_ERRORS as error:
        raise InputError(f"{repo_id}: cannot be read: {in_one_line(error, api)}: run again later") from error


def read_files(api: HfApi, repo_id: str, revision: str) -> dict[str, str]:
    entries = api.list_repo_tree(repo_id, recursive=True, revision=revision)
    files = (entry for entry in entries if isinstance(entry, RepoFile))
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}


def read_tags(api: HfApi, repo_id: str) -> dict[str, str]:
    return {tag.name: tag.target_commit for tag in api.list_repo_refs(repo_id).tags}


def compare(remote: Mapping[str, str], tree: Path) -> Changes:
    """What has to change for the Hub to hold `tree`, found by digests alone."""
    local = files_of(tree)
    return Changes(
        sent=[path for path in local if path not in remote or digest(tree / path, remote[path]) != remote[path]],
        removed=sorted(set(remote) - set(local) - OF_THE_HUB),
    )


def digest(path: Path, like: str) -> str:
    """The digest of a file in the manner of `like`: 64 digits are a SHA-256, 40 are git's SHA-1."""
    if len(like) == 64:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return git_hash(path.read_bytes())


def send(api: HfApi, repo_id: str, tree: Path, changes: Changes, remote: Remote, say: Callable[[str], None]) -> str:
    """One commit on top of what was read; returns its id once it is seen to hold the tree."""
    try:
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(path, tree / path) for path in changes.sent),
                *(CommitOperationDelete(path) for path in changes.removed),
            ],
            commit_message=f"Publish {tree.name}",
            parent_commit=remote.tip,
        ).oid
        arrived = read_files(api, repo_id, commit)
    except HUB_ERRORS as error:
        return found_after(error, api, repo_id, tree, remote, say)
    if unlike := compare(arrived, tree):
        names = ", ".join(unlike.sent + unlike.removed)
        raise InputError(f"{repo_id}: commit {commit[:8]} does not hold what was sent: look at its {names}")
    return commit


def found_after(
    error: Exception, api: HfApi, repo_id: str, tree: Path, remote: Remote, say: Callable[[str], None]
) -> str:
    """The commit that holds the tree in spite of `error`.

    Raises:
        InputError: if there is none; the message says whether somebody else's is there, or nothing new.
    """
    reason = in_one_line(error, api)
    try:
        now = read(api, repo_id)
    except InputError as unread:
        raise InputError(f"{reason}; then {unread}, which looks first whether it arrived") from error
    if now and not compare(now.files, tree):
        say(f"{repo_id}: commit {now.tip[:8]} holds all that was sent, although the answer was an error ({reason})")
        return now.tip
    if now and now.tip != remote.tip:
        raise InputError(
            f"{repo_id}: somebody else pushed commit {now.tip[:8]} meanwhile: look at it, then run again"
        ) from error
    raise InputError(f"{repo_id}: nothing was published: {reason}: run again") from error


def settled(action: Callable[[], object], arrived: Callable[[], bool], without: str, api: HfApi) -> None:
    """Carry out `action`, or find that it was carried out although its answer was an error.

    Args:
        without: what is to be said if it was not.
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


def collect(api: HfApi, org: str, repo_ids: Sequence[str], private: bool) -> Outcome:
    """The organization's collection holds all of the repositories; nothing is taken out of it.

    Raises:
        InputError: if it could not be brought about.
    """
    collection = find_collection(api, org)
    if collection is None:
        settled(
            lambda: api.create_collection(COLLECTION, namespace=org, private=private, exists_ok=True),
            lambda: find_collection(api, org) is not None,
            f"{OF_COLLECTION} was not made",
            api,
        )
        collection = find_collection(api, org)
    if collection is None:
        raise InputError(f"{OF_COLLECTION} was made and cannot be read: run again")
    held = {item.item_id for item in collection.items}
    missing = [repo_id for repo_id in repo_ids if repo_id not in held]
    for repo_id in missing:
        settled(
            lambda repo_id=repo_id: api.add_collection_item(collection.slug, repo_id, "model", exists_ok=True),
            lambda repo_id=repo_id: repo_id in (item.item_id for item in find_collection(api, org).items),
            f"{OF_COLLECTION}: {repo_id} was not added",
            api,
        )
    return Outcome(OF_COLLECTION, None, f"{len(missing)} added" if missing else "nothing new")


def find_collection(api: HfApi, org: str) -> Collection | None:
    """The collection of our title with all of its items, of which the list itself shows only some."""
    try:
        for collection in api.list_collections(owner=org):
            if collection.title == COLLECTION:
                return api.get_collection(collection.slug)
        return None
    except HUB_ERRORS as error:
        raise InputError(f"{OF_COLLECTION}: cannot be read: {in_one_line(error, api)}: run again") from error


def in_one_line(error: Exception, api: HfApi) -> str:
    """What an error of the client says, with the remedy where there is one; without the token or a signed address."""
    causes = [error, error.__cause__] if type(error) is RuntimeError and error.__cause__ else [error]
    known = (cause for cause in causes if status_of(cause) in REASONS)
    if first := next(known, None):
        text = REASONS[status_of(first)] + what_the_hub_said(first)
    else:
        text = " ".join(map(in_words, causes))
    text = re.sub(r"\?[^\s']+", "", text)
    return text.replace(api.token, "<token>") if isinstance(api.token, str) else text


def status_of(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def in_words(error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        return str(error).strip().splitlines()[0] + what_the_hub_said(error)
    return " ".join(str(error).split()) or type(error).__name__


def what_the_hub_said(error: BaseException) -> str:
    """Its own words in brackets: a 403, for one, is also a full storage."""
    said = getattr(error, "server_message", None)
    return f" ({' '.join(said.split())})" if said else ""
