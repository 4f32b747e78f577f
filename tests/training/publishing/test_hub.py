"""Pushing to a loopback Hub: what arrives and what is reported, with and without a fault at every step."""

import re
import threading

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from training.common.errors import InputError
from training.publishing.hub import DATASET, MODEL, SPACE, Upload, check_login, in_one_line, plan, push
from training.publishing.tree import files_of

REPO = "org/bilma-mx"
CARD = "---\nlanguage: es\nlicense: mit\n---\n# bilma-mx\n"
SHARED_STEPS = ("info", "tree", "refs", "create", "validate", "preupload", "commit", "tag")
STEPS = {
    "lfs": (*SHARED_STEPS, "lfs_batch", "lfs_put", "lfs_verify"),
    "xet": (*SHARED_STEPS, "xet_token", "xet_xorb", "xet_shard"),
}
FAULTS = ("answer", "cut", "cut_midway", "lose_answer")


@pytest.fixture
def tree(tmp_path, loopback_hub):
    """A small card, a large file and a file in a folder.

    The large file is another one for every Hub: a Xet client remembers what it sent to which address, and the next Hub
    may be given the port of an earlier one.
    """
    folder = tmp_path / "bilma-mx"
    (folder / "results").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "model.safetensors").write_bytes(loopback_hub.tokens["ana"].encode() * 2000)
    (folder / "results" / "mlm_matrix.json").write_text("{}\n")
    return folder


@pytest.fixture
def publish(api, tree):
    """Push the tree; the messages printed on the way are in `publish.said`."""

    def publish(tag="v1.0", private=False, api=api):
        planned = plan(api, Upload(REPO, MODEL, tree), private=private, tag=tag)
        return push(api, planned, private=private, say=publish.said.append)

    publish.said = []
    return publish


def contents(hub, revision="main"):
    """What a repository holds but for the Hub's own file; None where there is no repository."""
    if REPO not in hub.store.repositories:
        return None
    return {path: data for path, data in hub.files(REPO, revision).items() if path != ".gitattributes"}


def local(tree):
    return {path: (tree / path).read_bytes() for path in files_of(tree)}


def published_commits(hub):
    return [commit.oid for commit in hub.commits(REPO)][:-1]  # the first is the Hub's own


@pytest.mark.parametrize("transport", STEPS)
def test_one_commit_with_exactly_the_tree_and_the_tag(loopback_hub, online, publish, tree, transport):
    online(transport == "xet")
    outcome = publish()
    assert contents(loopback_hub) == local(tree)
    assert published_commits(loopback_hub) == [outcome.commit]
    assert loopback_hub.tags(REPO) == {"v1.0": outcome.commit}
    assert outcome.changed == "create with 3 files, add tag v1.0"
    used = {request.step for request in loopback_hub.requests}
    assert ("xet_xorb" in used, "lfs_put" in used) == (transport == "xet", transport == "lfs")


@pytest.mark.parametrize("kind", [DATASET, SPACE])
@pytest.mark.parametrize("transport", STEPS)
def test_data_sets_and_spaces(loopback_hub, online, api, tree, transport, kind):
    online(transport == "xet")
    upload = Upload("org/other", kind, tree)
    outcome = push(api, plan(api, upload, private=False, tag="v1.0"), private=False, say=print)
    held = loopback_hub.files(f"{kind}s/org/other", "v1.0")
    assert {path: held[path] for path in files_of(tree)} == local(tree)
    assert not plan(api, upload, private=False, tag="v1.0").changes
    assert loopback_hub.tags(f"{kind}s/org/other") == {"v1.0": outcome.commit}


def test_a_plan_changes_nothing(loopback_hub, api, tree):
    planned = plan(api, Upload(REPO, MODEL, tree), private=False, tag="v1.0")
    assert str(planned) == "create with 3 files, add tag v1.0"
    assert planned.upload.megabytes == pytest.approx(sum(map(len, local(tree).values())) / 1e6)
    assert {request.method for request in loopback_hub.requests} == {"GET"}


def test_a_second_run_with_nothing_new_writes_nothing(loopback_hub, publish):
    first = publish()
    before = len(loopback_hub.requests)
    assert publish().changed == "nothing new"
    assert {request.method for request in loopback_hub.requests[before:]} == {"GET"}
    assert published_commits(loopback_hub) == [first.commit]


def test_only_what_changed_is_sent_and_what_is_gone_is_removed(loopback_hub, publish, tree):
    publish(tag=None)
    (tree / "README.md").write_text(CARD + "More.\n")
    (tree / "results" / "mlm_matrix.json").unlink()
    outcome = publish(tag="v1.1")
    assert outcome.changed == "update 1 file, remove 1 file, add tag v1.1"
    assert contents(loopback_hub) == local(tree)
    assert [request.step for request in loopback_hub.requests].count("lfs_put") == 1  # in the first run
    assert len(published_commits(loopback_hub)) == 2


def test_a_missing_tag_is_added_to_the_commit_that_is_there(loopback_hub, publish):
    first = publish(tag=None)
    outcome = publish()
    assert (outcome.commit, outcome.changed) == (first.commit, "add tag v1.0")
    assert loopback_hub.tags(REPO) == {"v1.0": first.commit}


def test_a_tag_is_never_moved(loopback_hub, publish, tree):
    first = publish()
    (tree / "README.md").write_text(CARD + "More.\n")
    with pytest.raises(InputError, match=f"the tag v1.0 names another commit, {first.commit[:8]}, and is never moved"):
        publish()
    assert published_commits(loopback_hub) == [first.commit]  # and nothing was sent beforehand
    publish(tag="v1.1")
    with pytest.raises(InputError, match="is never moved"):
        publish(tag="v1.0")


def test_private_repositories(loopback_hub, publish):
    publish(private=True)
    assert loopback_hub.store.repositories[REPO].private
    assert publish(private=True).changed == "nothing new"


def test_a_public_repository_is_not_taken_for_a_private_one(publish):
    publish()
    with pytest.raises(InputError, match="is public"):
        publish(private=True)


@pytest.mark.parametrize(
    ("transport", "step", "kind"),
    [(transport, step, kind) for transport, steps in STEPS.items() for step in steps for kind in FAULTS],
)
def test_whatever_breaks_nothing_is_half_published_and_a_rerun_heals(
    loopback_hub, online, publish, tree, api, transport, step, kind
):
    online(transport == "xet")
    getattr(loopback_hub.faults, kind)(step)
    try:
        publish()
    except InputError as error:
        message = str(error)
        assert message.startswith(REPO)
        assert "run again" in message
        assert "\n" not in message
        assert api.token not in message
        assert contents(loopback_hub) is None or not loopback_hub.tags(REPO)
    assert contents(loopback_hub) in (None, {}, local(tree))
    assert loopback_hub.faults.take(step, "") is None, "the fault was never met"
    outcome = publish()
    assert contents(loopback_hub) == local(tree)
    assert published_commits(loopback_hub) == [outcome.commit]
    assert loopback_hub.tags(REPO) == {"v1.0": outcome.commit}


@pytest.mark.parametrize("xet", [False, True])
def test_a_lost_answer_to_the_commit_is_found_out(loopback_hub, online, publish, tree, xet):
    online(xet)
    loopback_hub.faults.lose_answer("commit")
    outcome = publish()
    assert published_commits(loopback_hub) == [outcome.commit]
    assert outcome.changed == "create with 3 files, add tag v1.0"
    assert "holds all that was sent, although the response was an error" in publish.said[-1]


@pytest.mark.parametrize("xet", [False, True])
def test_a_commit_that_fails_for_ever_leaves_nothing(loopback_hub, online, publish, xet):
    online(xet)
    loopback_hub.faults.answer("commit", 500, times=100)
    with pytest.raises(InputError, match=f"{REPO}: nothing was published: .*500.*: run again"):
        publish()
    assert contents(loopback_hub) == {}


def test_an_upload_that_fails_for_ever_leaves_nothing(loopback_hub, publish):
    loopback_hub.faults.answer("lfs_put", 500, times=100)
    with pytest.raises(InputError, match="nothing was published: .*model.safetensors.*500"):
        publish()
    assert contents(loopback_hub) == {}


def test_a_hub_that_is_gone_after_the_commit_leaves_the_outcome_unknown(loopback_hub, publish, tree):
    loopback_hub.faults.before("validate", lambda: loopback_hub.faults.answer("info", 500, times=100))
    loopback_hub.faults.lose_answer("commit")
    with pytest.raises(InputError, match="cannot be read: .*run again later, which checks that first"):
        publish()
    loopback_hub.faults.clear()
    assert publish().changed == "add tag v1.0"


def test_a_tag_that_cannot_be_checked(loopback_hub, publish):
    publish(tag=None)
    loopback_hub.faults.before("refs", lambda: loopback_hub.faults.cut("refs", times=100))
    loopback_hub.faults.cut("tag")
    with pytest.raises(InputError, match="the tag v1.0 has not, or this could not be checked: .*: run again"):
        publish()
    loopback_hub.faults.clear()
    assert publish().changed == "add tag v1.0"


def test_somebody_else_pushed_in_between(loopback_hub, publish, tree):
    publish(tag=None)
    (tree / "README.md").write_text(CARD + "Ours.\n")
    leo = HfApi(endpoint=loopback_hub.endpoint, token=loopback_hub.tokens["leo"])
    theirs = CARD + "Theirs.\n"

    def push_theirs():
        leo.create_commit(REPO, [CommitOperationAdd("README.md", theirs.encode())], commit_message="Theirs")

    loopback_hub.faults.before("commit", push_theirs)
    with pytest.raises(InputError, match=f"{REPO}: somebody else pushed commit [0-9a-f]{{8}} in the meantime"):
        publish()
    assert contents(loopback_hub)["README.md"] == theirs.encode()
    assert not loopback_hub.tags(REPO)


def test_of_two_publishers_at_once_one_wins_and_the_other_fails(loopback_hub, publish, api, tree, tmp_path):
    publish(tag=None)
    together = threading.Barrier(2, timeout=20)
    loopback_hub.faults.before("commit", together.wait, times=2)
    said = {}

    def of(user):
        mine = tmp_path / user / "bilma-mx"
        mine.mkdir(parents=True)
        (mine / "README.md").write_text(CARD + user)
        own = HfApi(endpoint=loopback_hub.endpoint, token=loopback_hub.tokens[user])
        try:
            planned = plan(own, Upload(REPO, MODEL, mine), private=False, tag=None)
            said[user] = push(own, planned, private=False, say=lambda text: None).changed
        except InputError as error:
            said[user] = str(error)

    threads = [threading.Thread(target=of, args=(user,)) for user in ("ana", "leo")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [user for user, text in said.items() if text == "update 1 file, remove 2 files"]
    (loser,) = set(said) - {winner}
    assert f"{REPO}: somebody else pushed commit" in said[loser]
    assert contents(loopback_hub) == {"README.md": (CARD + winner).encode()}


@pytest.mark.parametrize(
    ("token", "message"),
    [("eva", "may not write there"), ("stranger", "the token is not valid"), (None, "the token is not valid")],
)
def test_without_write_access_the_error_says_why(loopback_hub, publish, token, message):
    token = loopback_hub.tokens.get(token, token and "hf_" + "0" * 34)
    with pytest.raises(InputError, match=message) as refused:
        publish(api=HfApi(endpoint=loopback_hub.endpoint, token=token or False))
    assert "hf_" not in str(refused.value)
    assert contents(loopback_hub) is None


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_" + "0" * 34, "the token is not valid"),
        ("hf_with\nline", "contains a character"),
        ("hf_ñandú", "contains a character"),
        (None, "no token"),
    ],
)
def test_login_is_checked_and_a_token_is_not_shown(loopback_hub, online, token, message):
    with pytest.raises(InputError, match=message) as refused:
        check_login(HfApi(endpoint=loopback_hub.endpoint, token=token))
    assert "hf_" not in str(refused.value)


def test_an_error_shows_neither_token_nor_signed_address(api):
    error = RuntimeError(f"PUT https://storage/lfs/1?Signature=abc failed with Bearer {api.token}")
    assert in_one_line(error, api) == "PUT https://storage/lfs/1 failed with Bearer <token>"


def test_what_the_hub_says_of_a_refusal_is_passed_on(loopback_hub, publish):
    """A full storage is a 403 too, of which the token is not the cause."""
    loopback_hub.faults.answer("commit", 403)
    with pytest.raises(InputError, match=r"may not write there: .* \(A fault that was switched on\.\): run again"):
        publish()


def test_a_card_that_the_hub_refuses(loopback_hub, publish, tree):
    (tree / "README.md").write_text("---\nlicense: mine\n---\n")
    with pytest.raises(InputError, match='nothing was published: Invalid metadata .*"license" must be'):
        publish()
    assert contents(loopback_hub) == {}


def test_a_file_that_the_hub_leaves_out_is_noticed(loopback_hub, publish, monkeypatch):
    add_commit = loopback_hub.store.add_commit

    def without_the_last(*arguments):
        return add_commit(*arguments[:-1], arguments[-1][:-1])

    monkeypatch.setattr(loopback_hub.store, "add_commit", without_the_last)
    with pytest.raises(InputError, match="differs from what was sent: look at its results/mlm_matrix.json"):
        publish()


@pytest.mark.parametrize(
    ("has_arrived", "can_be_read", "said"),
    [
        (True, True, "but commit .{8} has arrived, without the tag v1.0$"),
        (False, True, "no commit has arrived so far$"),
        (True, False, "and it is unknown whether the commit has arrived"),
    ],
)
def test_after_an_interruption_it_is_said_what_has_arrived(
    publish, api, loopback_hub, monkeypatch, has_arrived, can_be_read, said
):
    upload = api.upload_folder

    def interrupted(**settings):
        if has_arrived:
            upload(**settings)
        if not can_be_read:
            loopback_hub.faults.answer("info", 500, times=100)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(api, "upload_folder", interrupted)
        publish()
    (line,) = publish.said
    assert re.match(f"{REPO}: interrupted, {said}", line)
    loopback_hub.faults.clear()
    publish()
    assert loopback_hub.tags(REPO) == {"v1.0": loopback_hub.commits(REPO)[0].oid}
