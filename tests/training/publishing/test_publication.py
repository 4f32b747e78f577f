import json

import pytest

from training.common.errors import InputError
from training.publishing.publication import open_publication


def folder(tmp_path, **config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.mark.parametrize(
    ("architecture", "repo_id", "pipeline_tag"),
    [
        ("BilmaForMaskedLM", "org/bilma-mx", "fill-mask"),
        ("BilmaForSequenceClassification", "org/bilma-mx-emoji", "text-classification"),
    ],
)
def test_the_repository_follows_from_region_and_task(tmp_path, architecture, repo_id, pipeline_tag):
    config = {"architectures": [architecture], "region": "mx", "id2label": {"0": "😍", "1": "😭"}}
    publication = open_publication(folder(tmp_path, **config), "org", "v1.0")
    assert (publication.repo_id, publication.pipeline_tag) == (repo_id, pipeline_tag)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["BertForMaskedLM"], "region": "mx"}, "holds BertForMaskedLM"),
        ({"architectures": ["BilmaForMaskedLM"]}, "names no region"),
        ({"architectures": ["BilmaForMaskedLM"], "region": "all"}, "is of all regions"),
        ({"architectures": ["BilmaForMaskedLM"], "region": 5}, "two-letter"),
        (
            {"architectures": ["BilmaForSequenceClassification"], "region": "mx", "id2label": {"0": "😍", "1": "NEG"}},
            "a classifier with the label NEG; published are those of Emoji-15",
        ),
        ({"architectures": ["BilmaForSequenceClassification"], "region": "mx"}, "no labels"),
    ],
)
def test_what_is_not_published_is_said(tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        open_publication(folder(tmp_path, **config), "org", None)


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(InputError, match="no config.json"):
        open_publication(tmp_path, "org", None)


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_configuration_that_is_none_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="config.json"):
        open_publication(tmp_path, "org", None)
