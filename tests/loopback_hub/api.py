"""The Hub's HTTP interface, as far as `huggingface_hub` 2 asks for it; routes of storage are in xet.py.

The contract, as the clients' code has it. `K` is models, datasets or spaces, `ID` is `namespace/name` (in addresses
without `/api`, those of data sets and Spaces have their kind in front), `REV` a branch, a tag or a commit id.

Push, with `Authorization: Bearer TOKEN`:
    GET  /api/whoami-v2                      -> name, orgs
    POST /api/repos/create                   name, organization, visibility? -> url; 409 (with url): it exists
    POST /api/validate-yaml                  content, repoType -> errors, warnings; 400 with errors
    POST /api/K/ID/preupload/REV        files (path, size, sample in base64) -> per file uploadMode (lfs or
                                             regular), shouldIgnore, and the `oid` it has now: equal ones are not sent
    POST /ID.git/info/lfs/objects/batch      objects (oid, size) -> per object actions (upload, verify) unless known
    PUT, then POST to those `href`s          the upload goes to another origin and carries no token
    GET  /api/K/ID/xet-write-token/REV  -> where the storage of xet.py is, and a token for it
    POST /api/K/ID/commit/BRANCH        lines of JSON: header (summary, parentCommit?), file, lfsFile,
                                             deletedFile, deletedFolder -> commitOid, commitUrl; 412: stale parent
    POST /api/K/ID/tag/REV (tag), DELETE .../tag/NAME; POST, DELETE .../branch/NAME; 409: it exists
    GET, POST /api/collections; GET /api/collections/SLUG, POST .../items; 409: it exists (and which slug it has)

Pull:
    GET  /api/K/ID[/revision/REV], .../tree/REV[/PATH], .../refs, .../commits/REV
    POST /api/K/ID/paths-info/REV       a form
    HEAD, GET /ID/resolve/REV/PATH           X-Repo-Commit and ETag; a large file is a redirect to another origin, with
                                             X-Linked-Etag, X-Linked-Size, and X-Xet-Hash if xet.py stores it
    What is missing: X-Error-Code RepoNotFound, RevisionNotFound or EntryNotFound. A private repository is not found
    by who may not read it: 401 without a token, 404 with one. 401 also for a bad token, 403 for a foreign namespace.

The other origin is `localhost`, this server under another name. Over http, clients tell a missing repository by its
X-Error-Code alone. This server shows what clients do with these answers; it is no proof of what the real Hub answers.
"""

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

from tests.loopback_hub.cards import card_errors, metadata
from tests.loopback_hub.routing import Answer, Call, repository_key, route
from tests.loopback_hub.store import ATTRIBUTES, Commit, File, HubError, is_large

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
    key = repository_key(asked.get("type") or "model", name)
    answer = {"url": f"{call.hub.endpoint}/{key}", "name": name}
    try:
        call.hub.store.create_repository(call.user, key, asked.get("visibility") == "private")
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


@route("POST", "/api/{K}/{ID}/preupload/{REV}", "preupload")
def preupload(call: Call) -> Answer:
    files = call.repository(write=True).commit(call.revision).files
    attributes = files[ATTRIBUTES].data.decode()

    def decide(asked: dict) -> dict:
        path, sample = asked["path"], base64.b64decode(asked["sample"])
        mode = "lfs" if is_large(path, asked["size"], sample, attributes) else "regular"
        now = files[path].oid if path in files else None
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": now}

    return Answer.of({"files": list(map(decide, call.json["files"]))})


@route("POST", r"/{PREFIX}{ID}\.git/info/lfs/objects/batch", "lfs_batch")
def lfs_batch(call: Call) -> Answer:
    call.repository(write=True)

    def actions(asked: dict) -> dict:
        if asked["oid"] in call.hub.store.objects:
            return asked
        upload = {"href": f"{call.hub.storage}/lfs/{asked['oid']}"}
        verify = {"href": f"{call.hub.endpoint}/{call.key}.git/info/lfs/verify"}
        return asked | {"actions": {"upload": upload, "verify": verify}}

    return Answer.of({"transfer": "basic", "objects": list(map(actions, call.json["objects"]))})


@route("PUT", "/lfs/(?P<rest>[0-9a-f]{64})", "lfs_put")
def lfs_put(call: Call) -> Answer:
    call.hub.store.add_object(call.rest, call.body)
    return Answer()


@route("POST", r"/{PREFIX}{ID}\.git/info/lfs/verify", "lfs_verify")
def lfs_verify(call: Call) -> Answer:
    call.repository(write=True)
    if len(call.hub.store.objects.get(call.json["oid"], b"")) != call.json["size"]:
        raise HubError(404, "The object was not uploaded.", "EntryNotFound")
    return Answer.of({})


@route("POST", "/api/{K}/{ID}/commit/{REV}", "commit")
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
                inside = value["path"].rstrip("/") + "/"
                changes += [(path, None) for path in call.commit().files if path.startswith(inside)]
    made = call.hub.store.add_commit(repository, call.user, call.revision, header, changes)
    return Answer.of({"commitOid": made.oid, "commitUrl": f"{call.hub.endpoint}/{call.repo}/commit/{made.oid}"})


@route("POST", "/api/{K}/{ID}/(?P<rest>tag|branch)/{REV}", "tag")
def add_ref(call: Call) -> Answer:
    repository, asked = call.repository(write=True), call.json
    if call.rest == "tag":
        call.hub.store.add_ref(repository, "tags", asked["tag"], call.revision)
    else:
        call.hub.store.add_ref(repository, "branches", call.revision, asked.get("startingPoint", "main"))
    return Answer.of({})


@route("DELETE", "/api/{K}/{ID}/(?P<rest>tag|branch)/{REV}", "tag")
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


@route("GET", "/api/{K}/{ID}(/revision/{REV})?", "info")
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


@route("GET", "/api/{K}/{ID}/refs", "refs")
def list_refs(call: Call) -> Answer:
    repository = call.repository()

    def told(kind: str, refs: dict[str, Commit]) -> list[dict]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": at.oid} for name, at in refs.items()]

    tags, branches = told("tags", repository.tags), told("heads", repository.branches)
    return Answer.of({"branches": branches, "tags": tags, "converts": [], "pullRequests": []})


@route("GET", "/api/{K}/{ID}/commits/{REV}", "commits")
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


@route("GET", "/api/{K}/{ID}/tree/{REV}(/(?P<rest>.+))?", "tree")
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


@route("POST", "/api/{K}/{ID}/paths-info/{REV}", "paths_info")
def paths_info(call: Call) -> Answer:
    files, asked = call.commit().files, parse_qs(call.body.decode()).get("paths", [])
    found = [entry(call, path, files[path]) for path in asked if path in files]
    named = [{"type": "directory", "path": path, "oid": "0" * 40} for path in asked if path in folders(files)]
    return Answer.of(found + named)


@route("GET", "/{PREFIX}{ID}/resolve/{REV}/(?P<rest>.+)", "resolve")
def resolve(call: Call) -> Answer:
    at = call.commit()
    told = {"X-Repo-Commit": at.oid}
    file = at.files.get(call.rest)
    if file is None:
        missing = Answer.of_error(HubError(404, f"Entry not found: {call.rest}", "EntryNotFound"))
        missing.headers |= told
        return missing
    if not file.large:
        return Answer.of_file(file.data, **told, ETag=f'"{file.oid}"')
    told |= {"ETag": f'"{file.git_oid}"', "X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.data))}
    if file.oid in call.hub.xet.hashes:
        refresh = f"{call.hub.endpoint}/api/{call.kind}/{call.repo}/xet-read-token/{at.oid}"
        told |= {"X-Xet-Hash": call.hub.xet.hashes[file.oid], "Link": f'<{refresh}>; rel="xet-auth"'}
    return Answer(b"", 302, told | {"Location": f"{call.hub.storage}/lfs/{file.oid}"})


@route("GET", "/lfs/(?P<rest>[0-9a-f]{64})", "lfs_get")
def lfs_get(call: Call) -> Answer:
    data = call.hub.store.objects.get(call.rest)
    if data is None:
        raise HubError(404, "No such object")
    return Answer.of_file(data, ETag=f'"{call.rest}"')
