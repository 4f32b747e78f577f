import json
import re

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import PARTS, add_regions
from tests.conftest import TEXTS, tiny_config
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
@torch.no_grad()
def test_the_folder_is_a_plain_model(regional, tokenizer, tmp_path, region, saved):
    plain = run_main(merge_region, model=regional, region=region, output_dir=tmp_path / "plain")
    assert {"modeling_bilma.py", "configuration_bilma.py", "tokenizer.json"} <= {file.name for file in plain.iterdir()}
    config = json.loads((plain / "config.json").read_text())
    assert (config.get("region"), config.get("regions"), config["dtype"]) == (saved, None, "bfloat16")
    model, whole = (
        AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval() for folder in (plain, regional)
    )
    plain_tokenizer, regional_tokenizer = (AutoTokenizer.from_pretrained(folder) for folder in (plain, regional))
    tokenizer.backend_tokenizer.no_truncation()  # a state that other tests may have left
    assert plain_tokenizer.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    token = f"[{saved.upper()}] " if saved else ""
    ids = regional_tokenizer(token + TEXTS[0], return_tensors="pt")["input_ids"]
    expected = whole(ids).logits[ids < len(tokenizer)][:, : len(tokenizer)]
    found = model(**plain_tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.02, atol=0.1)


def test_what_cannot_be_merged_is_one_line(regional, family, tmp_path, refusal):
    def refused(**flags) -> str:
        settings = {"model": regional, "region": "mx", "output_dir": tmp_path / "out"} | flags
        return refusal(merge_region, lambda: run_main(merge_region, **settings))

    assert "it is plain already" in refused(model=family / "bilma-mx")
    assert "no part for the region pe: it has ar, mx" in refused(region="pe")
    assert "exists already" in refused(output_dir=regional)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer.*git lfs pull"),
        (None, "is incomplete"),
        (b"", "is incomplete"),
    ],
)
def test_weights_that_were_not_checked_out_whole_are_one_line(regional, tmp_path, refusal, content, message):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in regional.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] if content is None else content)
    line = refusal(
        merge_region, lambda: run_main(merge_region, model=broken, region="mx", output_dir=tmp_path / "out")
    )
    assert re.search(f"{re.escape(str(weights))} {message}", line)
