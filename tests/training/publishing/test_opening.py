"""Models opened in a clean process: whole ones, broken ones, and answers that are not those of the evaluation."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from training.common.errors import InputError
from training.publishing.opening import (
    check_answers,
    check_opening,
    check_report,
    measured_answers,
    open_in_clean_process,
)

PHRASES = ["vamos a comer [MASK]", "el [MASK] subio de precio"]
SECRET = "hf_" + "x" * 30


def change_weights(tree, change):
    weights = load_file(tree / "model.safetensors")
    change(weights)
    save_file(weights, tree / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.slow
def test_the_trees_of_the_family_open_and_answer_as_measured(trees, publications, results):
    printed = check_opening([(trees[name], publications[name]) for name in trees], results)
    assert [len(text.splitlines()) for text in printed] == [3, 1, 1, 1]
    assert all(eval(line) for text in printed for line in text.splitlines())
    results["completions"]["phrases"][0]["by_model"][2]["answers"][0]["probability"] -= 0.5
    with pytest.raises(InputError, match="bilma-mx: gives .* completions.json says"):
        check_opening([(trees["bilma-mx"], publications["bilma-mx"])], results)


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
        {"folder": str(tree), "pipeline_tag": "fill-mask", "texts": PHRASES, "top_k": 3, "code": "print('hola')"}
        for tree in broken.values()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", SECRET)
        reports = open_in_clean_process(questions)
    return dict(zip(broken, reports, strict=True)) | {"layer": layer}


@pytest.mark.slow
def test_a_whole_model_is_reported_whole(opened):
    check_report("bilma-mx", opened["whole"], tied=True)
    assert [len(answers) for answers in opened["whole"]["answers"]] == [3, 3]
    assert opened["whole"]["printed"] == "hola"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lacks", "weights and code do not fit: {layer}"),
        ("nan", "{layer} contains a value that is not finite"),
        # It is the folder's code that is run, without a token and without the package.
        ("code", r"does not open in a clean process: RuntimeError: \[None, None\]"),
    ],
)
def test_a_broken_model_is_reported_with_what_is_broken(opened, name, message):
    with pytest.raises(InputError, match=message.format(layer=opened["layer"])):
        check_report("bilma-mx", opened[name], tied=True)


@pytest.mark.slow
def test_a_process_that_dies(tree):
    (tree / "modeling_bilma.py").write_text("import os\nos._exit(3)\n")
    question = {"folder": str(tree), "pipeline_tag": "fill-mask", "texts": ["a [MASK]"], "top_k": 3, "code": ""}
    with pytest.raises(InputError, match="the process that opened it ended with status 3"):
        open_in_clean_process([question])


@pytest.mark.slow
def test_a_head_that_is_not_tied_as_the_configuration_says(opened):
    with pytest.raises(InputError, match="tie_word_embeddings=False"):
        check_report("bilma-mx", opened["whole"], tied=False)


@pytest.mark.slow
def test_probabilities_that_do_not_sum_to_one(opened):
    with pytest.raises(InputError, match="sum to nan"):
        check_report("bilma-mx", opened["whole"] | {"sums": [float("nan"), 1.0]}, tied=True)


@pytest.mark.parametrize(
    ("answers", "measured", "message"),
    [
        ({"a": [("[UNK]", 0.5)], "b": [("no", 0.5)]}, {}, r"answers \[UNK\] to 'a'"),
        ({"a": [("no", 0.5)], "b": [("no", 0.5)]}, {}, "the same answers to every text"),
        ({"a": [("no", 0.5)], "b": [("si", 0.5)]}, {"a": ("no", 0.53)}, "completions.json says 0.530"),
        ({"a": [("no", 0.5)], "b": [("si", 0.5)]}, {"a": ("pues", 0.5)}, "gives 'pues' the probability 0.000"),
    ],
)
def test_implausible_answers(answers, measured, message):
    with pytest.raises(InputError, match=message):
        check_answers("bilma-mx", ["[UNK]", "[PAD]"], answers, measured)


def test_the_answers_in_the_results(publications, results):
    measured = measured_answers(publications["bilma-mx"], results)
    assert list(measured) == ["vamos a comer [MASK]"]
    assert measured != measured_answers(publications["bilma-ar"], results)
    assert measured_answers(publications["bilma-mx-emoji"], results) == {}
