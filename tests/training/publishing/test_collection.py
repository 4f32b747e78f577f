"""The collection: made once, grown, and mended by a rerun whatever breaks."""

from pathlib import Path

import pytest

from training.common.errors import InputError
from training.publishing.collection import TITLE, collect
from training.publishing.hub import MODEL, SPACE, Upload

REPO = "org/bilma-mx"
FAULTS = ("answer", "cut", "cut_midway", "lose_answer")


def model(repo_id):
    return Upload(repo_id, MODEL, Path())


def test_a_model_and_a_space_of_one_name_are_two_items(loopback_hub, api):
    api.create_repo(REPO)
    api.create_repo(REPO, repo_type="space", space_sdk="static")
    uploads = [model(REPO), Upload(REPO, SPACE, Path())]
    assert collect(api, "org", uploads, private=False).changed == "2 added"
    assert collect(api, "org", uploads, private=False).changed == "nothing new"


def test_the_collection_is_made_once_and_grows(loopback_hub, api):
    for name in ("bilma-ar", "bilma-mx"):
        api.create_repo(f"org/{name}")
    both = [model("org/bilma-ar"), model("org/bilma-mx")]
    assert collect(api, "org", [model("org/bilma-ar")], private=False).changed == "1 added"
    assert collect(api, "org", both, private=False).changed == "1 added"
    assert collect(api, "org", [model("org/bilma-mx")], private=False).changed == "nothing new"
    assert loopback_hub.collections() == {TITLE: ["org/bilma-ar", "org/bilma-mx"]}


@pytest.mark.parametrize("step", ["collection_list", "collection_create", "collection_get", "collection_item"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_collection_is_mended_by_a_rerun(loopback_hub, api, step, kind):
    api.create_repo(REPO)
    getattr(loopback_hub.faults, kind)(step)
    try:
        collect(api, "org", [model(REPO)], private=False)
    except InputError as error:
        assert str(error).startswith("collection BILMA")
        assert api.token not in str(error)
    collect(api, "org", [model(REPO)], private=False)
    assert loopback_hub.collections() == {TITLE: [REPO]}
