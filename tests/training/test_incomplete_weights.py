"""Weights that were not checked out whole are one line, in every script that opens a model."""

import re
import shutil

import pytest

from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from tests.training.conftest import run_main, write_texts
from training import complete, embed, merge_region, predict

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SCRIPTS = {
    complete: {"phrases": "vamos a [MASK]"},
    embed: {"input_file": "texts.jsonl", "output_file": "vectors.npy"},
    merge_region: {"region": "mx", "output_dir": "merged"},
    predict: {"input": "texts.jsonl", "output": "answers.jsonl"},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("whole")
    BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.split(".")[-1])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: POINTER, "is a Git LFS pointer.*git lfs pull"),
        (lambda content: content[:-100], "is incomplete"),
        (lambda content: b"", "is incomplete"),
    ],
    ids=["pointer", "cut", "empty"],
)
def test_the_line_names_the_file(whole, tmp_path, monkeypatch, refusal, script, spoil, message):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "texts.jsonl", ["vamos a [MASK]"])
    weights = shutil.copytree(whole, tmp_path / "model") / "model.safetensors"
    weights.write_bytes(spoil(weights.read_bytes()))
    model = {"models" if script is complete else "model": tmp_path / "model"}
    line = refusal(script, lambda: run_main(script, **model, **SCRIPTS[script]))
    assert re.search(f"{re.escape(str(weights))} {message}", line)
    assert {path.name for path in tmp_path.iterdir()} == {"texts.jsonl", "model"}
