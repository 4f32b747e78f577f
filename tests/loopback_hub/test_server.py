"""The loopback Hub, asked by the real client: what it keeps, what it refuses, what goes wrong when told to."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.faults import FOR_EVER
from tests.loopback_hub.store import ATTRIBUTES
from tests.loopback_hub.xet import GROUPED_LZ4, Term, chunk_offsets, overlapping

CARD = "---\nlicense: mit\nlanguage: es\ntags:\n- bilma\n---\n# Un modelo\n"

# Calls methods of HfApi, from a JSON list of [name, keyword arguments]; prints what each gave, or how it failed.
CLIENT = """
import json, sys
from huggingface_hub import HfApi
api = HfApi()
for name, keywords in json.loads(sys.argv[1]):
    try:
        value = getattr(api, name)(**keywords)
        if name in ("list_repo_tree", "get_paths_info"):
            told = [entry.path for entry in value]
        else:
            told = str(getattr(value, "oid", getattr(value, "sha", value)))
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        told = {"error": type(error).__name__, "status": status, "message": str(error)}
    print(json.dumps(told), flush=True)
"""


def ask(hub: LoopbackHub, *calls: tuple[str, dict], user: str | None = "ana", xet: bool = False) -> list:
    """What a client gets for each of `calls`."""
    completed = hub.run(CLIENT, json.dumps(calls), user=user, xet=xet)
    assert completed.returncode == 0, completed.stderr
    return [json.loads(line) for line in completed.stdout.splitlines()]


def create(name: str = "org/model", **options: object) -> tuple[str, dict]:
    return "create_repo", {"repo_id": name, "exist_ok": True, **options}


def upload(folder: object, name: str = "org/model", **options: object) -> tuple[str, dict]:
    return "upload_folder", {"repo_id": name, "folder_path": str(folder), **options}


def error(told: object) -> tuple[str, int | None]:
    assert isinstance(told, dict), told
    return told["error"], told["status"]


def count(hub: LoopbackHub, step: str) -> int:
    return sum(request.step == step for request in hub.requests)


@pytest.fixture
def folder(tmp_path):
    """A card, a text in a folder, a picture, and weights that the three ways of Xet's compression are for."""
    folder = tmp_path / "model"
    (folder / "notes").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "notes" / "text.txt").write_text("qué onda")
    (folder / "curve.png").write_bytes(b"\x89PNG\0" + os.urandom(2000))
    floats = np.random.default_rng(0).normal(size=200_000).astype("<f4").tobytes()
    (folder / "model.safetensors").write_bytes(floats + os.urandom(300_001) + b"mole " * 40_000)
    return folder


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pushed(hub: LoopbackHub, name: str = "org/model") -> dict[str, bytes]:
    return {path: data for path, data in hub.files(name).items() if path != ATTRIBUTES}


# What it keeps


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_a_folder_is_one_commit_and_pushing_it_again_is_none(loopback_hub, folder, xet):
    first, again = ask(loopback_hub, create(), upload(folder), upload(folder), xet=xet)[1:]
    assert first == again == loopback_hub.commits("org/model")[0].oid
    assert [commit.author for commit in loopback_hub.commits("org/model")] == ["ana", "system"]
    assert pushed(loopback_hub) == contents(folder)
    assert "curve.png filter=lfs" in loopback_hub.files("org/model")[ATTRIBUTES].decode()
    assert count(loopback_hub, "commit") == 1
    assert (count(loopback_hub, "lfs_put"), count(loopback_hub, "xet_xorb")) == ((0, 1) if xet else (2, 0))


def test_a_changed_folder_replaces_and_deletes(loopback_hub, folder):
    ask(loopback_hub, create(), upload(folder))
    (folder / "notes" / "text.txt").unlink()
    (folder / "README.md").write_text(CARD + "otra vez\n")
    ask(loopback_hub, upload(folder, delete_patterns="*"))
    assert pushed(loopback_hub) == contents(folder)
    assert len(loopback_hub.commits("org/model")) == 3


def test_a_folder_is_deleted_whole(loopback_hub, folder):
    (folder / "notes-of-others.txt").write_text("aquí")
    ask(loopback_hub, create(), upload(folder), ("delete_folder", {"repo_id": "org/model", "path_in_repo": "notes"}))
    assert set(pushed(loopback_hub)) == set(contents(folder)) - {"notes/text.txt"}


@pytest.mark.parametrize("up", [False, True], ids=["lfs", "xet"])
@pytest.mark.parametrize("down", [False, True], ids=["lfs", "xet"])
def test_what_came_over_one_storage_is_read_over_either(loopback_hub, folder, tmp_path, up, down):
    ask(loopback_hub, create(), upload(folder), xet=up)
    local = {"repo_id": "org/model", "local_dir": str(tmp_path / "pulled")}
    ask(loopback_hub, ("snapshot_download", local), user=None, xet=down)
    for path, data in loopback_hub.files("org/model").items():
        assert (tmp_path / "pulled" / path).read_bytes() == data
    assert (count(loopback_hub, "xet_get") > 0) == (up and down)
    grouped = {xorb[at + 4] for xorb in loopback_hub.xet.xorbs.values() for at in chunk_offsets(xorb)[:-1]}
    assert (GROUPED_LZ4 in grouped) == up


def test_a_part_of_a_file_is_the_terms_that_hold_it():
    one, two, three = (Term("a" * 64, size, 0, 1) for size in (10, 20, 30))
    assert list(overlapping([one, two, three], 0, None)) == [(0, one), (10, two), (30, three)]
    assert list(overlapping([one, two, three], 12, 29)) == [(10, two)]
    assert list(overlapping([one, two, three], 29, 30)) == [(10, two), (30, three)]
    assert list(overlapping([one, two, three], 60, 70)) == []


def test_tags_branches_commits_trees(loopback_hub, folder):
    name = {"repo_id": "org/model"}
    oid, *_ = ask(loopback_hub, create(), upload(folder))[1:]
    told = ask(
        loopback_hub,
        ("create_tag", name | {"tag": "v1.0"}),
        ("create_tag", name | {"tag": "v1.0"}),
        ("create_tag", name | {"tag": "v1.0", "exist_ok": True}),
        ("create_tag", name | {"tag": "v0", "revision": "nowhere"}),
        ("create_branch", name | {"branch": "dev", "revision": "v1.0"}),
        ("list_repo_tree", name | {"recursive": False}),
        ("list_repo_tree", name | {"path_in_repo": "notes"}),
        ("model_info", name | {"revision": "v1.0"}),
        ("get_paths_info", name | {"paths": ["README.md", "notes", "none"]}),
        ("delete_tag", name | {"tag": "v1.0"}),
    )
    assert error(told[1]) == ("HfHubHTTPError", 409)
    assert error(told[3]) == ("RevisionNotFoundError", 404)
    assert told[5] == [ATTRIBUTES, "README.md", "curve.png", "model.safetensors", "notes"]
    assert told[6] == ["notes/text.txt"]
    assert told[7] == oid
    assert told[8] == ["README.md", "notes"]
    assert loopback_hub.tags("org/model") == {}
    assert loopback_hub.commits("org/model", "dev")[0].oid == oid


def test_collections(loopback_hub):
    collection = ("create_collection", {"title": "BILMA", "namespace": "org", "exists_ok": True})
    ask(loopback_hub, create(), collection, collection)
    (slug,) = loopback_hub.store.collections
    item = {"collection_slug": slug, "item_id": "org/model", "item_type": "model"}
    told = ask(
        loopback_hub,
        ("add_collection_item", item),
        ("add_collection_item", item),
        ("add_collection_item", item | {"exists_ok": True}),
        ("add_collection_item", item | {"item_id": "org/none"}),
        ("get_collection", {"collection_slug": slug}),
    )
    assert error(told[1]) == ("HfHubHTTPError", 409)
    assert error(told[3]) == ("RepositoryNotFoundError", 404)
    assert "org/model" in told[4]
    assert loopback_hub.collections() == {"BILMA": ["org/model"]}


# What it refuses


def test_who_may_write_and_read(loopback_hub, folder):
    ask(loopback_hub, create("org/secret", private=True), create())
    info = ("model_info", {"repo_id": "org/secret"})
    assert error(ask(loopback_hub, create("org/new"), user="eva")[0]) == ("HfHubHTTPError", 403)
    assert error(ask(loopback_hub, upload(folder), user="eva")[0]) == ("HfHubHTTPError", 403)
    assert error(ask(loopback_hub, info, user="eva")[0]) == ("RepositoryNotFoundError", 404)
    assert error(ask(loopback_hub, info, user=None)[0]) == ("RepositoryNotFoundError", 401)
    assert ask(loopback_hub, info, user="leo") == [loopback_hub.commits("org/secret")[0].oid]
    loopback_hub.tokens["mallory"] = "hf_nobody"
    assert error(ask(loopback_hub, info, user="mallory")[0]) == ("HfHubHTTPError", 401)
    assert set(loopback_hub.store.repositories) == {"org/secret", "org/model"}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ("license: mine", "license"),
        ("language: español", "language"),
        ("tags: [1, 2]", "tags"),
        ("- a list", "mapping"),
        ("model-index: [{name: m}]", "model-index"),
    ],
)
def test_a_card_that_is_not_as_documented_stops_the_push(loopback_hub, folder, metadata, reason):
    (folder / "README.md").write_text(f"---\n{metadata}\n---\n")
    (told,) = ask(loopback_hub, create(), upload(folder))[1:]
    assert told["error"] == "ValueError"
    assert reason in told["message"]
    assert count(loopback_hub, "preupload") == 0


def test_what_is_missing_is_told_apart(loopback_hub, folder):
    ask(loopback_hub, create(), upload(folder))
    told = ask(
        loopback_hub,
        ("hf_hub_download", {"repo_id": "org/model", "filename": "none.txt"}),
        ("hf_hub_download", {"repo_id": "org/model", "filename": "README.md", "revision": "none"}),
        ("hf_hub_download", {"repo_id": "org/none", "filename": "README.md"}),
        ("list_repo_tree", {"repo_id": "org/model", "path_in_repo": "none"}),
    )
    found = [name for name, _ in map(error, told)]
    missing = "RemoteEntryNotFoundError"
    assert found == [missing, "RevisionNotFoundError", "RepositoryNotFoundError", missing]


def test_a_hub_that_has_stopped_answers_no_more():
    with LoopbackHub() as hub:
        pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(hub.endpoint)


def test_an_error_in_the_server_itself_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), LoopbackHub() as hub:
        hub.faults.before("whoami", lambda: 1 / 0)
        ask(hub, ("whoami", {}))


# What goes wrong


@pytest.mark.parametrize(
    ("xet", "steps"),
    [(False, ("preupload", "lfs_batch", "lfs_put", "lfs_verify")), (True, ("xet_token", "xet_xorb", "commit"))],
    ids=["lfs", "xet"],
)
def test_what_clients_try_again_is_one_commit(loopback_hub, folder, xet, steps):
    (folder / "curve.png").unlink()
    loopback_hub.faults.answer(steps[0], 503, Retry_After="0")
    loopback_hub.faults.answer(steps[1], 500)
    loopback_hub.faults.cut_midway(steps[1 if xet else 2])
    if not xet:
        loopback_hub.faults.cut(steps[3])
    oid = ask(loopback_hub, create(), upload(folder), xet=xet)[1]
    assert oid == loopback_hub.commits("org/model")[0].oid
    assert len(loopback_hub.commits("org/model")) == 2
    assert pushed(loopback_hub) == contents(folder)
    failed = [request.step for request in loopback_hub.requests if request.status in (None, 500, 503)]
    assert sorted(failed) == sorted([steps[0], steps[1], steps[1]] if xet else steps)


def test_a_commit_refused_for_ever_leaves_the_tip_and_a_rerun_sends_no_blob_again(loopback_hub, folder):
    loopback_hub.faults.answer("commit", 500, times=FOR_EVER, only="org/model")
    told = ask(loopback_hub, create(), upload(folder), create("org/other"), upload(folder, "org/other"))
    assert error(told[1]) == ("HfHubHTTPError", 500)
    assert [commit.author for commit in loopback_hub.commits("org/model")] == ["system"]
    assert pushed(loopback_hub, "org/other") == contents(folder)
    loopback_hub.faults.clear()
    before = count(loopback_hub, "lfs_put")
    ask(loopback_hub, upload(folder))
    assert pushed(loopback_hub) == contents(folder)
    assert count(loopback_hub, "lfs_put") == before


@pytest.mark.parametrize(("step", "fault"), [("xet_xorb", "answer"), ("xet_shard", "cut"), ("xet_token", "answer")])
def test_a_storage_that_fails_for_ever_leaves_the_tip_and_a_rerun_heals(loopback_hub, folder, step, fault):
    getattr(loopback_hub.faults, fault)(step, times=FOR_EVER)
    told = ask(loopback_hub, create(), upload(folder), xet=True)
    assert error(told[1]) == ("ConnectionError", None)
    assert pushed(loopback_hub) == {}
    loopback_hub.faults.clear()
    ask(loopback_hub, upload(folder), xet=True)
    assert pushed(loopback_hub) == contents(folder)


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_an_answer_that_is_lost_hides_a_commit_that_was_made(loopback_hub, folder, xet):
    """Over LFS the client fails though it succeeded; over Xet it tries again, and meets its own commit."""
    ask(loopback_hub, create())
    parent = loopback_hub.commits("org/model")[0].oid
    loopback_hub.faults.lose_answer("commit")
    (told,) = ask(loopback_hub, upload(folder, parent_commit=parent), xet=xet)
    assert error(told) == (("HfHubHTTPError", 412) if xet else ("RemoteProtocolError", None))
    made = loopback_hub.commits("org/model")[0]
    assert made.author == "ana"
    assert pushed(loopback_hub) == contents(folder)
    assert ask(loopback_hub, upload(folder), xet=xet) == [made.oid]


def test_a_push_in_between_makes_the_parent_stale(loopback_hub, folder):
    ask(loopback_hub, create())
    parent = loopback_hub.commits("org/model")[0].oid
    loopback_hub.faults.before("commit", lambda: loopback_hub.commit("org/model", {"leo.txt": b"primero"}))
    (told,) = ask(loopback_hub, upload(folder, parent_commit=parent))
    assert error(told) == ("HfHubHTTPError", 412)
    assert pushed(loopback_hub) == {"leo.txt": b"primero"}
    assert [commit.author for commit in loopback_hub.commits("org/model")] == ["leo", "system"]


@pytest.mark.parametrize(("xet", "step"), [(False, "lfs_put"), (True, "xet_xorb"), (True, "xet_shard")])
def test_a_client_killed_in_the_upload_leaves_nothing_and_a_rerun_heals(loopback_hub, folder, xet, step):
    ask(loopback_hub, create())
    client: list[subprocess.Popen] = []
    loopback_hub.faults.before(step, lambda: client[0].send_signal(signal.SIGKILL))
    command = [sys.executable, "-c", CLIENT, json.dumps([upload(folder)])]
    client.append(subprocess.Popen(command, env=loopback_hub.environment(loopback_hub.tokens["ana"], xet=xet)))
    assert client[0].wait(timeout=60) == -signal.SIGKILL
    assert pushed(loopback_hub) == {}
    ask(loopback_hub, upload(folder), xet=xet)
    assert pushed(loopback_hub) == contents(folder)
    assert len(loopback_hub.commits("org/model")) == 2


def test_a_download_that_is_cut_goes_on_where_it_was(loopback_hub, folder, tmp_path):
    """The client writes what it got to the disk every 10 MB."""
    (folder / "model.safetensors").write_bytes(os.urandom(1_000_000) * 24)
    ask(loopback_hub, create(), upload(folder))
    loopback_hub.faults.cut_midway("lfs_get")
    name = {"repo_id": "org/model", "filename": "model.safetensors", "local_dir": str(tmp_path / "pulled")}
    ask(loopback_hub, ("hf_hub_download", name))
    assert (tmp_path / "pulled" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert [request.status for request in loopback_hub.requests if request.step == "lfs_get"] == [None, 206]


def test_the_log_tells_every_request(loopback_hub):
    ask(loopback_hub, ("whoami", {}))
    (request,) = loopback_hub.requests
    assert (request.method, request.path, request.step, request.status) == ("GET", "/api/whoami-v2", "whoami", 200)
    assert request.authorized
    assert not re.search("hf_", repr(request))
