import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.common.errors import InputError
from training.publishing import checks
from training.publishing.checks import (
    check_answers,
    check_card,
    check_names,
    check_no_pickle,
    check_no_secrets,
    check_opening,
    check_pictures,
    check_report,
    check_sizes,
    check_tree,
    empty_section,
    open_in_clean_process,
)

PHRASES = ["vamos a comer [MASK]", "el [MASK] subio de precio"]
SECRET = "hf_" + "x" * 30


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(tree, change):
    weights = load_file(tree / "model.safetensors")
    change(weights)
    save_file(weights, tree / "model.safetensors", metadata={"format": "pt"})


def test_the_trees_of_the_family_pass_every_check(trees, publications, results):
    for name, tree in trees.items():
        check_tree(tree, publications[name])
    check_opening([(trees[name], publications[name]) for name in trees], results)


@pytest.mark.parametrize(
    "name", ["tweets.jsonl", "tweets.txt.gz", "train.csv", ".env", "results/tweets.json", "model.bin", "a/config.json"]
)
def test_only_known_files(tree, name):
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text("{}")
    with pytest.raises(InputError, match=f"bilma-mx/{name}: not a file that is published"):
        check_names(tree)


def test_no_link_out_of_the_tree(tree):
    (tree / "LICENSE").unlink()
    (tree / "LICENSE").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="LICENSE: not a file that is published"):
        check_names(tree)


@pytest.mark.parametrize("new_zip", [True, False])
def test_no_pickle_under_any_name(tree, new_zip):
    torch.save({"weight": torch.ones(2)}, tree / "loss_curve.png", _use_new_zipfile_serialization=new_zip)
    with pytest.raises(InputError, match="loss_curve.png: a pickle or a zip"):
        check_no_pickle(tree)


def test_what_is_called_a_picture_is_one(tree):
    check_pictures(tree)
    (tree / "loss_curve.png").write_text("not to be published")
    with pytest.raises(InputError, match="bilma-mx/loss_curve.png: not a PNG picture"):
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
def test_no_path_of_a_machine(tree, path):
    edit(tree / "training_args.json", train_file=[path])
    with pytest.raises(InputError, match="training_args.json: holds a path of a machine"):
        check_no_secrets(tree)


@pytest.mark.parametrize(
    "harmless", ["https://example.org/home/page", "mx.jsonl", "either/or", "s/n", "a: \\d+", "docs/tmp/x", "~ 3"]
)
def test_what_is_no_path_passes(tree, harmless):
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
def test_no_token_and_it_is_not_repeated(tree, secret):
    with (tree / "modeling_bilma.py").open("a") as code:
        code.write(f"# {secret}\n")
    with pytest.raises(InputError, match="modeling_bilma.py: holds an access token") as refused:
        check_no_secrets(tree)
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 7}, r"the weights have \d+ tokens and config.json 7"),
        ({"pad_token_id": 1}, "pad_token_id is 1 in config.json and 0 in the tokenizer"),
        ({"max_position_embeddings": 41}, "the tokenizer takes 40 tokens and the model 41"),
    ],
)
def test_weights_tokenizer_and_configuration_fit(tree, changes, message):
    edit(tree / "config.json", **changes)
    with pytest.raises(InputError, match=message):
        check_sizes(tree)


def test_a_tokenizer_with_more_tokens_than_the_weights(tree):
    name = "bilma.embeddings.word_embeddings.weight"
    change_weights(tree, lambda weights: weights.update({name: weights[name][:300].clone()}))
    edit(tree / "config.json", vocab_size=300)
    with pytest.raises(InputError, match=r"the tokenizer has \d+ tokens and the weights 300"):
        check_sizes(tree)


def test_weights_that_are_none(tree):
    (tree / "model.safetensors").write_bytes(b"\x80\x02 not weights")
    with pytest.raises(InputError, match="bilma-mx/model.safetensors: cannot be read"):
        check_sizes(tree)


def test_a_tokenizer_that_is_none(tree):
    (tree / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="bilma-mx: its tokenizer does not open"):
        check_sizes(tree)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: mit\n", "", "its metadata lack license"),
        ("pipeline_tag: fill-mask", "pipeline_tag: text-classification", "says text-classification"),
        ("language: es\n", "language: [es\n", "README.md: its metadata cannot be read"),
        ("## English", "TODO\n## English", "unfinished, it says 'TODO'"),
        ("## English", "{{ name }}\n## English", "unfinished, it says '{{'"),
        ("## English", "| es | None |\n## English", "unfinished, it says 'None'"),
        ("## English", "### Nothing\n\n## English", "the section 'Nothing' is empty"),
        ("](LICENSE)", "](LICENCE)", "links to LICENCE, which is not in the repository"),
        ("](loss_curve.png)", "](loss.png)", "links to loss.png"),
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


def test_results_for_the_hub_that_it_cannot_read(tree, publications):
    (tree / ".eval_results" / "bilma-benchmark.yaml").write_text("- value: 1\n")
    with pytest.raises(InputError, match="bilma-benchmark.yaml: not as the Hub reads results"):
        check_tree(tree, publications["bilma-mx"])


@pytest.fixture(scope="module")
def opened(trees, tmp_path_factory):
    """What the clean process reports of broken trees, by what is broken; all in one process."""
    home = tmp_path_factory.mktemp("broken")
    broken = {name: shutil.copytree(trees["bilma-mx"], home / name) for name in ("whole", "lacks", "nan", "code")}
    weights = load_file(broken["lacks"] / "model.safetensors")
    layer = next(name for name, tensor in weights.items() if "layers.0" in name and tensor.ndim == 2)
    change_weights(broken["lacks"], lambda weights: weights.pop(layer))
    change_weights(broken["nan"], lambda weights: weights[layer].fill_(float("nan")))
    (broken["code"] / "modeling_bilma.py").write_text(
        "import os, sys\nraise RuntimeError([os.environ.get('HF_TOKEN'), sys.modules['modeling_bilma']])\n"
    )
    questions = [
        {"folder": str(tree), "pipeline_tag": "fill-mask", "texts": PHRASES, "top_k": 3} for tree in broken.values()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", SECRET)
        reports = open_in_clean_process(questions)
    return dict(zip(broken, reports, strict=True)) | {"layer": layer}


def test_a_whole_model_is_reported_whole(opened):
    check_report("bilma-mx", opened["whole"], tied=True)
    assert [len(answers) for answers in opened["whole"]["answers"]] == [3, 3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lacks", "weights and code do not fit: {layer}"),
        ("nan", "{layer} holds a value that is no number"),
        # It is the folder's code that is run, without a token and without the package.
        ("code", r"does not open in a clean process: RuntimeError: \[None, None\]"),
    ],
)
def test_a_broken_model_is_told_by_what_is_broken(opened, name, message):
    with pytest.raises(InputError, match=message.format(layer=opened["layer"])):
        check_report("bilma-mx", opened[name], tied=True)


def test_a_process_that_dies_is_told(tree):
    (tree / "modeling_bilma.py").write_text("import os\nos._exit(3)\n")
    question = {"folder": str(tree), "pipeline_tag": "fill-mask", "texts": ["a [MASK]"], "top_k": 3}
    with pytest.raises(InputError, match="bilma-mx: the process that opened it ended with status 3"):
        open_in_clean_process([question])


def test_a_head_that_is_not_tied_as_the_configuration_says(opened):
    with pytest.raises(InputError, match="tie_word_embeddings=False"):
        check_report("bilma-mx", opened["whole"], tied=False)


def test_probabilities_that_are_none(opened):
    with pytest.raises(InputError, match="sum to nan"):
        check_report("bilma-mx", opened["whole"] | {"sums": [float("nan"), 1.0]}, tied=True)


@pytest.mark.parametrize(
    ("answers", "measured", "message"),
    [
        ({"a": [("[UNK]", 0.5)], "b": [("no", 0.5)]}, {}, r"answers \[UNK\] to 'a'"),
        ({"a": [("no", 0.5)], "b": [("no", 0.5)]}, {}, "the same answers to every text"),
        ({"a": [("no", 0.5)], "b": [("si", 0.5)]}, {"a": ("no", 0.51)}, "completions.json says 0.510"),
        ({"a": [("no", 0.5)], "b": [("si", 0.5)]}, {"a": ("pues", 0.5)}, "gives 'pues' the probability 0.000"),
    ],
)
def test_answers_that_are_not_sane(answers, measured, message):
    with pytest.raises(InputError, match=message):
        check_answers("bilma-mx", ["[UNK]", "[PAD]"], answers, measured)


def test_what_the_results_say_of_a_model(publications, results):
    measured = checks.measured_answers(publications["bilma-mx"], results)
    assert "vamos a comer [MASK]" in measured
    assert measured != checks.measured_answers(publications["bilma-ar"], results)
    assert checks.measured_answers(publications["bilma-mx-emoji"], results) == {}
