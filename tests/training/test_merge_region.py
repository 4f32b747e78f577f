import json

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import PARTS, add_regions, merge_parts
from tests.conftest import tiny_config
from tests.training.conftest import run_main
from training import merge_region


@pytest.fixture(scope="module")
def regional(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bilma"
    torch.manual_seed(0)
    body = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer), tie_word_embeddings=True))
    model, with_regions = add_regions(body, tokenizer, ["ar", "mx"])
    for name in PARTS:
        torch.nn.init.normal_(model.get_parameter(name))
    model.to(torch.bfloat16).save_pretrained(folder)
    with_regions.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("region", "saved"), [("mx", "mx"), ("MX", "mx"), ("none", None)])
def test_the_folder_is_a_plain_model(regional, tokenizer, tmp_path, region, saved):
    plain = run_main(merge_region, model=regional, region=region, output_dir=tmp_path / "plain")
    assert {"modeling_bilma.py", "configuration_bilma.py", "tokenizer.json"} <= {file.name for file in plain.iterdir()}
    config = json.loads((plain / "config.json").read_text())
    assert (config.get("region"), config.get("regions"), config["dtype"]) == (saved, None, "bfloat16")
    model = AutoModelForMaskedLM.from_pretrained(plain, trust_remote_code=True)
    expected = merge_parts(BilmaForMaskedLM.from_pretrained(regional), saved).state_dict()
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in model.state_dict().items())
    plain_tokenizer = AutoTokenizer.from_pretrained(plain)
    tokenizer.backend_tokenizer.no_truncation()  # a state that other tests may have left
    assert plain_tokenizer.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_what_cannot_be_merged_is_one_line(regional, family, tmp_path, refusal):
    def refused(**flags) -> str:
        settings = {"model": regional, "region": "mx", "output_dir": tmp_path / "out"} | flags
        return refusal(merge_region, lambda: run_main(merge_region, **settings))

    assert "it is plain already" in refused(model=family / "bilma-mx")
    assert "no part for the region pe: it has ar, mx" in refused(region="pe")
    assert "exists already" in refused(output_dir=regional)
    assert not (tmp_path / "out").exists()
