"""The trees of the small family, and clients of a Hub in this process."""

import shutil

import pytest
from huggingface_hub import HfApi

from tests.training.conftest import REGIONS
from training.evaluation.results import read_results
from training.publishing.publication import open_publication
from training.publishing.tree import build_tree


@pytest.fixture
def api(loopback_hub, online):
    return HfApi(endpoint=loopback_hub.endpoint, token=loopback_hub.tokens["ana"])


@pytest.fixture(scope="session")
def publications(family, evaluated_family):
    """What is published of the small family, by name: two regions and a classifier."""
    folders = (*(family / f"bilma-{region}" for region in REGIONS), evaluated_family / "bilma-mx-emoji")
    return {folder.name: open_publication(folder, "org", "v1.0") for folder in folders}


@pytest.fixture(scope="session")
def results(evaluated_family):
    return read_results(evaluated_family / "results")


@pytest.fixture(scope="session")
def trees(publications, results, evaluated_family, tmp_path_factory):
    """The trees of these publications, by name; tests that change one take a copy of it."""
    home = tmp_path_factory.mktemp("trees")
    for name, publication in publications.items():
        build_tree(publication, evaluated_family / "results", results, home / name)
    return {name: home / name for name in publications}


@pytest.fixture
def tree(trees, tmp_path):
    """A copy of the tree of bilma-mx, to be broken."""
    return shutil.copytree(trees["bilma-mx"], tmp_path / "bilma-mx")
