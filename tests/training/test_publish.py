"""The script as a user calls it, on a Hub of the tests: whole, broken off, with wrong input."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoTokenizer

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from tests.conftest import ROOT
from tests.training.conftest import REGIONS
from training import publish as script
from training.common.errors import run
from training.publishing.tree import MANIFEST, files_of

TEXT = "vamos a comer [MASK] con @ana"
REPOS = ("org/bilma-ar", "org/bilma-mx", "org/bilma-mx-emoji")

# As somebody who has transformers, and neither this project nor a token.
VISIT = """
import sys
sys.modules["modeling_bilma"] = None  # any import of the package fails
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, pipeline

text, answers = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained("org/bilma-mx", trust_remote_code=False)
inputs, found, trusted = tokenizer(text, return_tensors="pt"), {}, {"trust_remote_code": True}
with torch.no_grad():
    for region in ("ar", "mx"):
        model = AutoModelForMaskedLM.from_pretrained(f"org/bilma-{region}", **trusted).eval()
        found[region] = model(**inputs).logits
    pinned = AutoModelForMaskedLM.from_pretrained("org/bilma-mx", revision="v1.0", **trusted).eval()
    found["v1.0"] = pinned(**inputs).logits
    found["states"] = AutoModel.from_pretrained("org/bilma-mx", **trusted).eval()(**inputs)[0]
    emoji = AutoModelForSequenceClassification.from_pretrained("org/bilma-mx-emoji", **trusted).eval()
    found["emoji"] = emoji(**inputs).logits
found["fill-mask"] = pipeline("fill-mask", model="org/bilma-mx", **trusted)(text, top_k=3)
found["label"] = pipeline("text-classification", model="org/bilma-mx-emoji", **trusted)(text)[0]["label"]
torch.save(found, answers)
"""


@pytest.fixture
def flags(family, evaluated_family):
    """What to publish of the small family: two regions and a classifier."""
    models = [*(family / f"bilma-{region}" for region in REGIONS), evaluated_family / "bilma-mx-emoji"]
    return {"models": models, "org": "org", "results": evaluated_family / "results", "tag": "v1.0"}


def command_line(flags):
    words = ["publish.py"]
    for name, value in flags.items():
        if value is not None:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return words


@pytest.fixture
def publish(flags, loopback_hub, online, monkeypatch, capsys):
    """Run the script in this process, as ana; returns its status and what it said.

    The clean process, which takes seconds, is left out: the tests that start the script as a process have it.
    """
    monkeypatch.setattr(constants, "ENDPOINT", loopback_hub.endpoint)
    monkeypatch.setattr(script, "check_opening", lambda trees, results: None)
    monkeypatch.setenv("HF_TOKEN", loopback_hub.tokens["ana"])

    def publish(**changes):
        monkeypatch.setattr(sys, "argv", command_line(flags | changes))
        with pytest.raises(SystemExit) as stop:
            run(script.main)
        said = capsys.readouterr()
        assert loopback_hub.tokens["ana"] not in said.out + said.err
        return stop.value.code, said.out + said.err

    return publish


def start(flags, hub, xet=False, **environment):
    """The script as a process of its own, as ana."""
    return subprocess.Popen(
        [sys.executable, ROOT / "training" / "publish.py", *command_line(flags)[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=hub.environment(hub.tokens["ana"], xet=xet) | {"PYTHONPATH": str(ROOT)} | environment,
    )


def contents(hub, repo_id):
    return {path: data for path, data in hub.files(repo_id).items() if path != ".gitattributes"}


def published_commits(hub, repo_id):
    if repo_id not in hub.store.repositories:
        return []
    return [commit.oid for commit in hub.commits(repo_id)][:-1]  # the first is the Hub's own


def rows(said):
    """The lines of the table: repository -> what changed."""
    cells = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("| ")]
    return {row[1]: row[3] for row in cells}


@pytest.mark.parametrize("xet", [False, True], ids=["lfs", "xet"])
def test_what_is_published_is_the_dry_run_and_opens_everywhere(
    publish, flags, loopback_hub, online, family, evaluated_family, tmp_path, xet
):
    status, said = publish(dry_run=tmp_path / "dry")
    assert (status, loopback_hub.requests) == (0, [])

    process = start(flags, loopback_hub, xet, HF_DEBUG="1")  # which logs every request
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "curl" in said
    assert loopback_hub.tokens["ana"] not in said
    assert {request.step for request in loopback_hub.requests} & {"xet_xorb", "lfs_put"} == {
        "xet_xorb" if xet else "lfs_put"
    }
    for repo_id in REPOS:
        tree = tmp_path / "dry" / repo_id.split("/")[1]
        assert contents(loopback_hub, repo_id) == {path: (tree / path).read_bytes() for path in files_of(tree)}
        (commit,) = published_commits(loopback_hub, repo_id)
        assert loopback_hub.tags(repo_id) == {"v1.0": commit}
        assert rows(said)[repo_id].startswith("created with ")
    assert loopback_hub.collections() == {"BILMA": list(REPOS)}

    before = len(loopback_hub.requests)
    status, said = publish()
    assert status == 0
    assert {rows(said)[repo_id] for repo_id in (*REPOS, "collection BILMA")} == {"nothing new"}
    assert {request.method for request in loopback_hub.requests[before:]} == {"GET"}

    visit = subprocess.run(
        [sys.executable, "-c", VISIT, TEXT, tmp_path / "answers.pt"],
        env=loopback_hub.environment(xet=xet),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert visit.returncode == 0, visit.stderr
    check_answers(torch.load(tmp_path / "answers.pt"), family, evaluated_family)


def check_answers(found, family, evaluated_family):
    """What the visitor was answered is, to the last bit, what the local folders answer."""
    inputs = AutoTokenizer.from_pretrained(family / "bilma-mx", trust_remote_code=False)(TEXT, return_tensors="pt")
    with torch.no_grad():
        for region in REGIONS:
            local = BilmaForMaskedLM.from_pretrained(family / f"bilma-{region}").eval()
            assert torch.equal(found[region], local(**inputs).logits)
        assert torch.equal(found["v1.0"], found["mx"])
        assert torch.equal(found["states"], local.bilma(**inputs)[0])
        emoji = BilmaForSequenceClassification.from_pretrained(evaluated_family / "bilma-mx-emoji").eval()
        logits = emoji(**inputs).logits
    assert torch.equal(found["emoji"], logits)
    assert found["label"] == emoji.config.id2label[logits.argmax().item()]
    mask = (inputs["input_ids"][0] == 4).nonzero().item()
    assert [answer["token"] for answer in found["fill-mask"]] == local(**inputs).logits[0, mask].topk(
        3
    ).indices.tolist()


def test_killed_in_an_upload_and_gone_on_with(publish, flags, loopback_hub):
    process = start(flags, loopback_hub, HF_DEBUG="1")
    loopback_hub.faults.before("lfs_put", lambda: os.kill(process.pid, signal.SIGKILL), times=100)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert loopback_hub.tokens["ana"] not in said
    assert [published_commits(loopback_hub, repo_id) for repo_id in REPOS] == [[], [], []]

    loopback_hub.faults.clear()
    loopback_hub.faults.answer("commit", 500, times=100, only="bilma-mx/")
    status, said = publish()
    assert status == 1
    assert "FAILED: org/bilma-mx: nothing was published: " in rows(said)["org/bilma-mx"]
    assert [len(published_commits(loopback_hub, repo_id)) for repo_id in REPOS] == [1, 0, 1]
    assert loopback_hub.collections() == {"BILMA": ["org/bilma-ar", "org/bilma-mx-emoji"]}

    loopback_hub.faults.clear()
    status, said = publish()
    assert status == 0
    assert rows(said)["org/bilma-ar"] == rows(said)["org/bilma-mx-emoji"] == "nothing new"
    assert rows(said)["org/bilma-mx"].startswith("created with ")
    assert [len(published_commits(loopback_hub, repo_id)) for repo_id in REPOS] == [1, 1, 1]
    assert set(loopback_hub.collections()["BILMA"]) == set(REPOS)


def test_a_collection_that_fails_is_a_failure_and_is_mended(publish, loopback_hub):
    loopback_hub.faults.answer("collection_create", 500)
    status, said = publish()
    assert status == 1
    assert rows(said)["collection BILMA"].startswith("FAILED: collection BILMA was not made")
    assert publish()[0] == 0


def test_everything_is_checked_before_anything_is_pushed(publish, flags, loopback_hub, tmp_path):
    *others, last = flags["models"]
    spoilt = shutil.copytree(last, tmp_path / last.name)
    settings = json.loads((spoilt / "training_args.json").read_text())
    (spoilt / "training_args.json").write_text(json.dumps(settings | {"cache_dir": "/home/ana/cache"}))
    status, said = publish(models=[*others, spoilt])
    assert status == 2
    assert "bilma-mx-emoji/training_args.json: holds a path of a machine (/home/ana)" in said
    assert not loopback_hub.store.repositories


def test_a_model_that_does_not_open_is_not_pushed(flags, loopback_hub, tmp_path):
    """A vocabulary of other words is seen only by asking the model."""
    spoilt = shutil.copytree(flags["models"][1], tmp_path / "bilma-mx")
    content = json.loads((spoilt / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    words = [word for word in vocabulary if word.isalpha() and vocabulary[word] > 4]
    turned = dict(zip(words, (vocabulary[word] for word in reversed(words)), strict=True))
    content["model"]["vocab"] = dict(sorted((vocabulary | turned).items(), key=lambda item: item[1]))
    (spoilt / "tokenizer.json").write_text(json.dumps(content))
    process = start(flags | {"models": [spoilt]}, loopback_hub)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "and completions.json says" in said.splitlines()[-1]
    assert not loopback_hub.store.repositories


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": None}, "give --models"),
        ({"org": "no/org"}, "Repo id must"),
        ({"tag": "v1 .0"}, "--tag v1 .0: give letters and digits"),
        ({"tag": "main"}, "--tag main: that is the branch"),
        ({"results": "nowhere"}, "nowhere: no result in this folder"),
    ],
)
def test_wrong_input(publish, loopback_hub, changes, message):
    status, said = publish(**changes)
    assert status == 2
    assert message in said.splitlines()[-1]
    assert not loopback_hub.store.repositories


def test_a_region_twice(publish, flags, loopback_hub, tmp_path):
    again = shutil.copytree(flags["models"][1], tmp_path / "again")
    status, said = publish(models=[*flags["models"], again])
    assert (status, "again are both org/bilma-mx: give one of them" in said) == (2, True)


def test_a_token_that_is_not_valid(publish, loopback_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "0" * 34)
    status, said = publish()
    assert status == 2
    assert "cannot log in: the token is not valid" in said
    assert "hf_0" not in said


def test_an_organization_of_others(publish, loopback_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", loopback_hub.tokens["eva"])
    status, said = publish()
    assert status == 1
    assert all("may not write there" in rows(said)[repo_id] for repo_id in REPOS)
    assert not loopback_hub.store.repositories


def test_a_dry_run_that_would_replace_a_folder_of_the_users(publish, tmp_path):
    (tmp_path / "bilma-mx").mkdir()
    (tmp_path / "bilma-mx" / "mine.txt").write_text("mine")
    status, said = publish(dry_run=tmp_path)
    assert (status, "is not as a dry run left it" in said) == (2, True)
    assert [path.name for path in tmp_path.rglob("*")] == ["bilma-mx", "mine.txt"]


def test_private_repositories_and_collection(publish, loopback_hub):
    assert publish(private="True")[0] == 0
    assert all(repository.private for repository in loopback_hub.store.repositories.values())
    assert [collection["private"] for collection in loopback_hub.store.collections.values()] == [True]


def test_a_dry_run_lists_what_it_wrote(publish, tmp_path):
    status, said = publish(dry_run=tmp_path / "dry")
    assert status == 0
    assert {path.name for path in (tmp_path / "dry").iterdir()} == {"bilma-ar", "bilma-mx", "bilma-mx-emoji", MANIFEST}
    assert str(tmp_path / "dry" / "bilma-mx") in said
