"""A small family, its publications and trees, and clients of a Hub in this process."""

import json
import shutil

import pytest
from huggingface_hub import HfApi

from training.publishing.card import render_card
from training.publishing.publication import open_publications
from training.publishing.tree import build_tree

PRINTED = "['tacos', 'pizza']"


@pytest.fixture
def api(loopback_hub, online):
    return HfApi(endpoint=loopback_hub.endpoint, token=loopback_hub.tokens["ana"])


@pytest.fixture
def results(made):
    return {path.stem: json.loads(path.read_text()) for path in (made / "results").glob("*.json")}


@pytest.fixture(scope="session")
def publications(made, tmp_path_factory):
    """By name: the body, both regional models and the classifier."""
    home = tmp_path_factory.mktemp("merged")
    folders = (made / "bilma", made / "bilma-mx-emoji")
    return {one.name: one for folder in folders for one in open_publications(folder, "org", "v1.0", home)}


@pytest.fixture(scope="session")
def trees(publications, made, tmp_path_factory):
    """Their trees by name, with cards whose output is made up; tests that change one take a copy of it."""
    home = tmp_path_factory.mktemp("trees")
    results = {path.stem: json.loads(path.read_text()) for path in (made / "results").glob("*.json")}
    for name, publication in publications.items():
        build_tree(publication, made / "results", results, home / name)
        (home / name / "README.md").write_text(render_card(publication, results, PRINTED, None), encoding="utf-8")
    return {name: home / name for name in publications}


@pytest.fixture
def tree(trees, tmp_path):
    """A copy of the tree of bilma-mx, to be broken."""
    return shutil.copytree(trees["bilma-mx"], tmp_path / "bilma-mx")
