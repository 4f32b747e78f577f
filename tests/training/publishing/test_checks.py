"""Checks of the files of a tree: each finds something that must not be published."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT
from training.common.errors import InputError
from training.publishing.checks import (
    DATASET_FILES,
    MODEL_FILES,
    check_card,
    check_dataset,
    check_names,
    check_no_pickle,
    check_no_secrets,
    check_pictures,
    check_sizes,
    check_space,
    check_tree,
    empty_section,
)

SECRET = "hf_" + "x" * 30


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_trees_of_the_family_pass_every_check(trees, publications):
    for name, tree in trees.items():
        check_tree(tree, publications[name])


def test_the_regional_tests_pass_every_check(tmp_path):
    check_dataset(shutil.copytree(ROOT / "regional_tests", tmp_path / "tests"))


@pytest.mark.parametrize("broken", [None, "sdk: gradio", "no page", "weights.pt"])
def test_a_static_space(tmp_path, broken):
    sdk = broken if broken == "sdk: gradio" else "sdk: static"
    (tmp_path / "README.md").write_text(f"---\ntitle: BILMA\n{sdk}\n---\n")
    (tmp_path / "library.js").write_text("const home = '/home/web_user';")
    if broken != "no page":
        (tmp_path / "index.html").write_text("<p>")
    if broken == "weights.pt":
        (tmp_path / broken).write_text("")
    if broken is None:
        return check_space(tmp_path)
    with pytest.raises(InputError, match="static Space|weights.pt"):
        check_space(tmp_path)


@pytest.mark.parametrize(
    "name", ["tweets.jsonl", "tweets.txt.gz", "train.csv", ".env", "results/tweets.json", "model.bin", "a/config.json"]
)
def test_only_known_files(tree, name):
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text("{}")
    with pytest.raises(InputError, match=f"bilma-mx/{name}: not a file that is published"):
        check_names(tree, MODEL_FILES)


def test_a_data_set_holds_no_weights(tmp_path):
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(InputError, match="model.safetensors"):
        check_names(tmp_path, DATASET_FILES)


def test_no_link_out_of_the_tree(tree):
    (tree / "LICENSE").unlink()
    (tree / "LICENSE").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="LICENSE: not a file that is published"):
        check_names(tree, MODEL_FILES)


@pytest.mark.parametrize("new_zip", [True, False])
def test_no_pickle_under_any_name(tree, new_zip):
    torch.save({"weight": torch.ones(2)}, tree / "picture.png", _use_new_zipfile_serialization=new_zip)
    with pytest.raises(InputError, match="picture.png: a pickle or a zip"):
        check_no_pickle(tree)


def test_a_png_is_a_picture(tree):
    check_pictures(tree)
    (tree / "picture.png").write_text("not to be published")
    with pytest.raises(InputError, match="bilma-mx/picture.png: not a PNG picture"):
        check_pictures(tree)


@pytest.mark.parametrize(
    "path",
    [
        "/home/ana/tweets/mx.jsonl",
        "/Users/ana/mx.csv",
        "/tmp/run",
        "~/corpora",
        "C:\\Users\\ana",
        "file:///etc/passwd",
        "/mnt/data",
    ],
)
def test_no_local_path(tree, path):
    edit(tree / "training_args.json", train_file=[path])
    with pytest.raises(InputError, match="training_args.json: contains a local path"):
        check_no_secrets(tree)


@pytest.mark.parametrize(
    "harmless", ["https://example.org/home/page", "mx.jsonl", "either/or", "s/n", "a: \\d+", "docs/tmp/x", "~ 3"]
)
def test_what_only_looks_like_a_path_passes(tree, harmless):
    edit(tree / "training_args.json", train_file=[harmless])
    check_no_secrets(tree)


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 18,
        "sk-" + "a1" * 20,
        "AKIA" + "A1" * 8,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_is_found_and_not_printed(tree, secret):
    with (tree / "modeling_bilma.py").open("a") as code:
        code.write(f"# {secret}\n")
    with pytest.raises(InputError, match="modeling_bilma.py: contains an access token") as refused:
        check_no_secrets(tree)
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 7}, r"the weights have \d+ tokens and config.json 7"),
        ({"pad_token_id": 1}, "pad_token_id is 1 in config.json and 0 in the tokenizer"),
        ({"max_position_embeddings": 41}, "the tokenizer allows 40 tokens and the model 41"),
    ],
)
def test_weights_tokenizer_and_configuration_fit(tree, changes, message):
    edit(tree / "config.json", **changes)
    with pytest.raises(InputError, match=message):
        check_sizes(tree)


def test_a_tokenizer_with_more_tokens_than_the_weights(tree):
    name = "bilma.embeddings.word_embeddings.weight"
    weights = load_file(tree / "model.safetensors")
    save_file(weights | {name: weights[name][:30].clone()}, tree / "model.safetensors", metadata={"format": "pt"})
    edit(tree / "config.json", vocab_size=30)
    with pytest.raises(InputError, match=r"the tokenizer has \d+ tokens and the weights 30"):
        check_sizes(tree)


def test_weights_that_are_not_safetensors(tree):
    (tree / "model.safetensors").write_bytes(b"\x80\x02 not weights")
    with pytest.raises(InputError, match="bilma-mx/model.safetensors: cannot be read"):
        check_sizes(tree)


def test_a_tokenizer_that_does_not_open(tree):
    (tree / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="bilma-mx: its tokenizer does not open"):
        check_sizes(tree)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: other\n", "", "license"),
        ("pipeline_tag: fill-mask", "pipeline_tag: text-classification", "text-classification"),
        ("language: es\n", "language: [es\n", "metadata cannot be read"),
        ("## Citation", "TODO\n## Citation", "'TODO'"),
        ("## Citation", "{{ name }}\n## Citation", "'{{'"),
        ("## Citation", "| es | None |\n## Citation", "'None'"),
        ("## Citation", "### Nothing\n\n## Citation", "'Nothing' is empty"),
        ("](LICENSE)", "](LICENCE)", "links to LICENCE"),
        ("](results)", "](figures)", "links to figures"),
    ],
)
def test_the_card_is_complete(tree, publications, old, new, message):
    card = (tree / "README.md").read_text()
    assert old in card
    (tree / "README.md").write_text(card.replace(old, new))
    with pytest.raises(InputError, match=message):
        check_card(tree, publications["bilma-mx"])


@pytest.mark.parametrize(
    ("markdown", "title"),
    [
        ("# A\n\n## B\ntext\n", None),
        ("# A\ntext\n## B\n\n## C\ntext\n", "B"),
        ("# A\ntext\n## B\n", "B"),
        ("# A\ntext\n### B\n\n## C\ntext\n", "B"),
        ("# A\n```python\n# no heading\n```\n", None),
        ("# A\n<!-- only a comment -->\n", "A"),
    ],
)
def test_empty_sections(markdown, title):
    assert empty_section(markdown) == title


def test_results_that_the_hub_cannot_read(tree, publications):
    (tree / ".eval_results" / "bilma-regional-tests.yaml").write_text("- value: 1\n")
    with pytest.raises(InputError, match="bilma-regional-tests.yaml: not in the format that the Hub reads"):
        check_tree(tree, publications["bilma-mx"])
