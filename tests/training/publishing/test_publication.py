"""Which repositories a folder becomes, and which folders become none."""

import json

import pytest
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.training.publishing.trained_folder import PHRASE, REGIONS
from training.common.errors import InputError
from training.publishing.publication import open_publications


def open_folder(tmp_path, **config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    return list(open_publications(tmp_path, "org", "v1.0", tmp_path / "home"))


@pytest.mark.parametrize(
    ("architecture", "region", "repo_id", "pipeline_tag"),
    [
        ("BilmaForMaskedLM", "mx", "org/bilma-mx", "fill-mask"),
        ("BilmaForSequenceClassification", "mx", "org/bilma-mx-emoji", "text-classification"),
        ("BilmaForSequenceClassification", "all", "org/bilma-emoji", "text-classification"),
    ],
)
def test_the_repository_follows_from_region_and_task(tmp_path, architecture, region, repo_id, pipeline_tag):
    [one] = open_folder(tmp_path, architectures=[architecture], region=region, id2label={"0": "😍", "1": "😭"})
    assert (one.repo_id, one.pipeline_tag, one.folder) == (repo_id, pipeline_tag, one.trained)


@pytest.mark.parametrize(
    ("trained_on", "region_tokens", "name", "regions"),
    [
        (None, True, "bilma-emoji", ("ar", "mx")),
        (None, False, "bilma-emoji", ()),
        ("mx", True, "bilma-mx-emoji", ("mx",)),
        ("mx", False, "bilma-mx-emoji", ()),
    ],
)
def test_a_classifier_is_of_the_region_of_its_texts(tmp_path, trained_on, region_tokens, name, regions):
    (tmp_path / "training_args.json").write_text(json.dumps({"region": trained_on}))
    config = {
        "regions": ["ar", "mx"],
        "region": None,
        "region_tokens": region_tokens,
        "id2label": {"0": "😍", "1": "😭"},
    }
    [one] = open_folder(tmp_path, architectures=["BilmaForSequenceClassification"], **config)
    assert (one.name, one.regions) == (name, regions)


def test_a_body_becomes_itself_and_one_plain_model_per_region(publications, made):
    assert [name for name in publications if "emoji" not in name] == ["bilma", *(f"bilma-{code}" for code in REGIONS)]
    body = BilmaForMaskedLM.from_pretrained(made / "bilma", dtype=torch.float32).eval()
    tokenizer = load_tokenizer(made / "bilma")
    for region in REGIONS:
        own = publications[f"bilma-{region}"]
        assert (own.region, own.regions, own.trained) == (region, (), made / "bilma")
        plain = BilmaForMaskedLM.from_pretrained(own.folder, dtype=torch.float32).eval()
        with torch.no_grad():
            behind_token = body(**tokenizer(f"[{region.upper()}] {PHRASE}", return_tensors="pt")).logits[0, -2]
            alone = plain(**load_tokenizer(own.folder)(PHRASE, return_tensors="pt")).logits[0, -2]
        assert torch.allclose(alone, behind_token[: len(alone)], atol=0.2)  # rounded to bf16
        assert BilmaForMaskedLM.from_pretrained(own.folder, dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["BertForMaskedLM"], "region": "mx"}, "BertForMaskedLM"),
        ({"architectures": ["BilmaForMaskedLM"]}, "--region"),
        ({"architectures": ["BilmaForMaskedLM"], "region": "all"}, "--region"),
        ({"architectures": ["BilmaForMaskedLM"], "region": 5}, "two-letter"),
        (
            {"architectures": ["BilmaForSequenceClassification"], "region": "mx", "id2label": {"0": "😍", "1": "NEG"}},
            "the label NEG",
        ),
        ({"architectures": ["BilmaForSequenceClassification"], "region": "mx"}, "no labels"),
    ],
)
def test_what_is_not_published(tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        open_folder(tmp_path, **config)


def test_a_name_that_the_hub_does_not_take(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BilmaForMaskedLM"], "region": "mx"}))
    with pytest.raises(InputError, match="Repo id"):
        list(open_publications(tmp_path, "no/org", None, tmp_path))


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(InputError, match="no config.json"):
        list(open_publications(tmp_path, "org", None, tmp_path))


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_configuration_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="config.json"):
        list(open_publications(tmp_path, "org", None, tmp_path))
