"""The verb as a user calls it, on a Hub of the tests: whole, broken off, interrupted, with wrong input."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants

from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.conftest import ROOT, assert_same_numbers
from tests.training.publishing.conftest import PRINTED
from tests.training.publishing.trained_folder import PHRASE, merged
from training import publish as script
from training.common.errors import run
from training.common.locks import only_run_in
from training.publishing import preparation
from training.publishing.card import card_example
from training.publishing.publication import Publication
from training.publishing.tree import MANIFEST, files_of

MODELS = ("bilma", "bilma-ar", "bilma-mx", "bilma-mx-emoji")
KEYS = {f"org/{name}": name for name in MODELS}
KEYS |= {"datasets/org/bilma-regional-tests": "bilma-regional-tests", "spaces/org/bilma-space": "bilma-space"}
REPOS = [key.removeprefix("datasets/").removeprefix("spaces/") for key in KEYS]

# Somebody who has transformers, and neither this project nor a token.
VISIT = """
import sys
sys.modules["modeling_bilma"] = None  # any import of the package fails
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

text, answers = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained("org/bilma-mx", trust_remote_code=False)
inputs, trusted = tokenizer(text, return_tensors="pt"), {"trust_remote_code": True}
with torch.no_grad():
    logits = AutoModelForMaskedLM.from_pretrained("org/bilma-mx", revision="v1.0", **trusted).eval()(**inputs).logits
    states = AutoModel.from_pretrained("org/bilma-mx", **trusted).eval()(**inputs)[0]
torch.save({"logits": logits, "states": states}, answers)
"""


@pytest.fixture
def flags(made, tmp_path):
    space = tmp_path / "page"
    space.mkdir()
    (space / "README.md").write_text("---\ntitle: BILMA\nsdk: static\n---\n")
    (space / "index.html").write_text("<!doctype html><title>BILMA</title>\n")
    return {
        "models": [made / "bilma", made / "bilma-mx-emoji"],
        "org": "org",
        "results": made / "results",
        "regional_tests": ROOT / "regional_tests",
        "space": space,
        "tag": "v1.0",
        "yes": True,
    }


def command_line(flags):
    words = ["publish.py"]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


@pytest.fixture
def publish(flags, loopback_hub, online, monkeypatch, capsys):
    """Run the verb in this process, as ana; returns its status and what it printed.

    The clean processes, which take seconds, are left out: the tests that start the verb as a process have them.
    """
    monkeypatch.setattr(constants, "ENDPOINT", loopback_hub.endpoint)
    monkeypatch.setattr(preparation, "check_opening", lambda trees, results: [PRINTED] * len(trees))
    monkeypatch.setattr(script, "read_back", lambda api, uploads, private: {})
    monkeypatch.setenv("HF_TOKEN", loopback_hub.tokens["ana"])

    def publish(**changes):
        monkeypatch.setattr(sys, "argv", command_line(flags | changes))
        with pytest.raises(SystemExit) as stop:
            run(script.main)
        printed = capsys.readouterr()
        assert loopback_hub.tokens["ana"] not in printed.out + printed.err
        return stop.value.code, printed.out + printed.err

    return publish


def start(flags, hub, xet=False, **environment):
    """The verb as a process of its own, as ana."""
    return subprocess.Popen(
        [sys.executable, ROOT / "training" / "publish.py", *command_line(flags)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=hub.environment(hub.tokens["ana"], xet=xet) | {"PYTHONPATH": str(ROOT)} | environment,
        # A background job, as a suite may be, starts with SIGINT ignored, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def contents(hub, key):
    return {path: data for path, data in hub.files(key).items() if path != ".gitattributes"}


def published_commits(hub, key):
    if key not in hub.store.repositories:
        return []
    return [commit.oid for commit in hub.commits(key)][:-1]  # the first is the Hub's own


def changed(printed):
    """The lines of the last table: repository -> what changed."""
    table = printed[printed.rindex("| repository |") :]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[2] for row in cells}


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_what_is_published_opens_everywhere(publish, flags, loopback_hub, online, monkeypatch, made, tmp_path, xet):
    process = start(flags, loopback_hub, xet, HF_DEBUG="1")  # which logs every request
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    assert "curl" in printed and loopback_hub.tokens["ana"] not in printed
    assert {request.step for request in loopback_hub.requests} & {"xet_xorb", "lfs_put"} == {
        "xet_xorb" if xet else "lfs_put"
    }
    for key, repo_id in zip(KEYS, REPOS, strict=True):
        (commit,) = published_commits(loopback_hub, key)
        assert loopback_hub.tags(key) == {"v1.0": commit}
        assert changed(printed)[repo_id].startswith("create with ")
    assert loopback_hub.collections() == {"BILMA": REPOS}

    examples = [card_example(loopback_hub.files(f"org/{name}")["README.md"].decode()) for name in MODELS]
    monkeypatch.setattr(preparation, "check_opening", lambda trees, results: [shown for _, shown in examples])
    before = len(loopback_hub.requests)
    again = changed(publish()[1])
    assert {again[name] for name in (*REPOS, "collection BILMA")} == {"nothing new"}
    assert {request.method for request in loopback_hub.requests[before:]} == {"GET"}

    visit = visitor(loopback_hub, VISIT, PHRASE, tmp_path / "answers.pt", xet=xet)
    assert visit.returncode == 0, visit.stderr
    own = merged(Publication(made, made / "bilma", "mx", "fill-mask", "bilma-mx", "org", "v1.0")).eval()
    inputs = load_tokenizer(made / "bilma")(PHRASE, return_tensors="pt")
    found = torch.load(tmp_path / "answers.pt")
    with torch.no_grad():
        assert_same_numbers(found["logits"], own(**inputs).logits)
        assert_same_numbers(found["states"], own.bilma(**inputs)[0])


@pytest.mark.slow
def test_the_code_of_every_card_prints_what_the_card_shows(flags, loopback_hub):
    process = start(flags | {"regional_tests": None, "space": None}, loopback_hub)
    printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    for name in MODELS:
        code, shown = card_example(loopback_hub.files(f"org/{name}")["README.md"].decode())
        visit = visitor(loopback_hub, code, xet=False)
        assert visit.stdout.strip() == shown, visit.stderr


def visitor(hub, code, *arguments, xet):
    return subprocess.run(
        [sys.executable, "-I", "-c", code, *map(str, arguments)],
        env=hub.environment(xet=xet),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_ended_in_an_upload_and_run_again(publish, flags, loopback_hub, xet, end):
    process = start(flags | {"models": flags["models"][1:]}, loopback_hub, xet)
    step = "xet_xorb" if xet else "lfs_put"
    loopback_hub.faults.before(step, lambda: os.kill(process.pid, end), times=100)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == (130 if end == signal.SIGINT else -end), printed
    assert loopback_hub.tokens["ana"] not in printed
    assert published_commits(loopback_hub, "org/bilma-mx-emoji") == [], printed
    loopback_hub.faults.clear()
    status, printed = publish()
    assert status == 0
    assert [len(published_commits(loopback_hub, key)) for key in KEYS] == [1] * len(KEYS)


@pytest.mark.slow
def test_interrupted_while_the_commit_was_on_its_way(publish, flags, loopback_hub):
    """The commit arrived although the client did not see it: the next run finds it and adds the tag."""
    flags = flags | {"models": None}
    process = start(flags, loopback_hub)
    loopback_hub.faults.before("commit", lambda: os.kill(process.pid, signal.SIGINT))
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    said, line = printed.splitlines()[-2:]
    assert line == "publish.py: interrupted: run the same command again"
    first = published_commits(loopback_hub, "datasets/org/bilma-regional-tests")
    status, _ = publish(models=None)
    assert status == 0
    commits = published_commits(loopback_hub, "datasets/org/bilma-regional-tests")
    assert len(commits) == 1 and first in ([], commits)
    arrived = {f"but commit {commits[0][:8]} has arrived, without the tag v1.0", "no commit has arrived so far"}
    assert said in {f"org/bilma-regional-tests: interrupted, {what}" for what in arrived}  # the Hub is asked meanwhile
    assert loopback_hub.tags("datasets/org/bilma-regional-tests") == {"v1.0": commits[0]}


def test_one_failure_does_not_stop_the_others(publish, loopback_hub):
    loopback_hub.faults.answer("commit", 500, times=100, only="bilma-mx/")
    status, printed = publish()
    assert status == 1
    assert changed(printed)["org/bilma-mx"].startswith("FAILED: org/bilma-mx: nothing was published")
    assert loopback_hub.collections() == {"BILMA": [repo_id for repo_id in REPOS if repo_id != "org/bilma-mx"]}
    loopback_hub.faults.clear()
    status, printed = publish()
    assert status == 0
    assert changed(printed).pop("org/bilma-mx").startswith("create with ")
    assert set(loopback_hub.collections()["BILMA"]) == set(REPOS)


def test_a_repository_that_answers_otherwise_is_a_failure(publish, monkeypatch):
    monkeypatch.setattr(script, "read_back", lambda api, uploads, private: {"org/bilma-ar": "prints 'x'"})
    status, printed = publish()
    assert (status, changed(printed)["org/bilma-ar"]) == (1, "FAILED: prints 'x'")


def test_a_collection_that_fails_is_a_failure_and_is_mended(publish, loopback_hub):
    loopback_hub.faults.answer("collection_create", 500)
    status, printed = publish()
    assert status == 1
    assert changed(printed)["collection BILMA"].startswith("FAILED: collection BILMA was not created")
    assert publish()[0] == 0


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2), ("", 2), (None, 2)])
def test_nothing_is_pushed_unconfirmed(publish, loopback_hub, monkeypatch, answer, status):
    """With None there is no terminal."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: answer is not None, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    ended, printed = publish(yes=None, models=None)
    assert ended == status
    assert "| org/bilma-space | space | 0.0 | create with 2 files, add tag v1.0 |" in printed
    assert bool(loopback_hub.store.repositories) == (status == 0)


def test_everything_is_checked_before_anything_is_pushed(publish, flags, loopback_hub, tmp_path):
    body, classifier = flags["models"]
    spoilt = shutil.copytree(classifier, tmp_path / classifier.name)
    settings = json.loads((spoilt / "training_args.json").read_text())
    (spoilt / "training_args.json").write_text(json.dumps(settings | {"cache_dir": "/home/ana/cache"}))
    status, printed = publish(models=[body, spoilt])
    assert status == 2
    assert "bilma-mx-emoji/training_args.json: contains a local path (/home/ana)" in printed
    assert not loopback_hub.store.repositories


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": None, "regional_tests": None, "space": None}, "give --models"),
        ({"org": "no/org"}, "Repo id must"),
        ({"tag": "v1 .0"}, "--tag v1 .0"),
        ({"tag": "main"}, "--tag main"),
        ({"results": "nowhere"}, "nowhere: no result in this folder"),
        ({"models": None, "space": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_wrong_input(publish, loopback_hub, changes, message):
    status, printed = publish(**changes)
    assert status == 2
    assert message in printed.splitlines()[-1]
    assert not loopback_hub.store.repositories


def test_a_repository_twice(publish, flags, loopback_hub, tmp_path):
    again = shutil.copytree(flags["models"][1], tmp_path / "again")
    status, printed = publish(models=[*flags["models"], again])
    assert (status, "again are both org/bilma-mx-emoji" in printed) == (2, True)


def test_a_token_that_is_not_valid(publish, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "0" * 34)
    status, printed = publish()
    assert status == 2
    assert "the token is not valid" in printed and "hf_0" not in printed


def test_an_organization_of_others(publish, loopback_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", loopback_hub.tokens["eva"])
    status, printed = publish()
    assert status == 1
    assert all("may not write there" in changed(printed)[repo_id] for repo_id in REPOS)
    assert not loopback_hub.store.repositories


def test_private_repositories_and_collection(publish, loopback_hub):
    assert publish(private=True)[0] == 0
    assert all(repository.private for repository in loopback_hub.store.repositories.values())
    assert [collection["private"] for collection in loopback_hub.store.collections.values()] == [True]


def test_a_dry_run_writes_what_is_published(publish, loopback_hub, tmp_path):
    status, printed = publish(dry_run=tmp_path / "dry")
    assert (status, loopback_hub.requests) == (0, [])
    assert {path.name for path in (tmp_path / "dry").iterdir()} == {*KEYS.values(), MANIFEST}
    assert str(tmp_path / "dry" / "bilma-mx") in printed
    tests_card = (tmp_path / "dry" / "bilma-regional-tests" / "README.md").read_text()
    assert 'load_dataset("org/bilma-regional-tests", "lexical_cloze"' in tests_card
    assert publish()[0] == 0
    for key, name in KEYS.items():
        tree = tmp_path / "dry" / name
        assert contents(loopback_hub, key) == {path: (tree / path).read_bytes() for path in files_of(tree)}


def test_a_dry_run_waits_for_no_other_one(publish, tmp_path):
    with only_run_in(tmp_path / "dry"):
        status, printed = publish(dry_run=tmp_path / "dry")
    assert (status, "another run writes there" in printed) == (2, True)
    assert not (tmp_path / "dry").exists()


def test_a_dry_run_that_would_replace_a_folder_of_the_users(publish, tmp_path):
    trees = tmp_path / "trees"
    (trees / "bilma-mx").mkdir(parents=True)
    (trees / "bilma-mx" / "mine.txt").write_text("mine")
    status, printed = publish(dry_run=trees)
    assert (status, "is not what a dry run wrote" in printed) == (2, True)
    assert [path.name for path in trees.rglob("*")] == ["bilma-mx", "mine.txt"]
