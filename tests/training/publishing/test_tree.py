import json
import shutil
from dataclasses import replace

import pytest

from modeling_bilma.configuration_bilma import AUTO_MAP
from tests.conftest import ROOT
from training.common.errors import InputError
from training.publishing.tree import MANIFEST, build_tree, check_dry_run, digests, files_of, write_dry_run

ALWAYS = {
    ".eval_results/bilma-benchmark.yaml",
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "config.json",
    "configuration_bilma.py",
    "metrics.json",
    "model.safetensors",
    "modeling_bilma.py",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_args.json",
}
OF_MASKED_LM = {
    "figures/mlm_matrix_masked_accuracy_all.png",
    "figures/similarity.png",
    "loss_curve.png",
    "results/completions.json",
    "results/mlm_matrix.json",
    "results/region_words.json",
    "results/similarity.json",
}


def test_the_files_of_a_masked_language_model_and_of_a_classifier(trees):
    assert set(files_of(trees["bilma-mx"])) == ALWAYS | OF_MASKED_LM
    of_emoji = {"figures/emoji15_accuracy.png", "results/emoji15_matrix.json"}
    assert set(files_of(trees["bilma-mx-emoji"])) == ALWAYS | of_emoji


def test_the_same_input_gives_the_same_bytes(trees, publications, results, evaluated_family, tmp_path):
    build_tree(publications["bilma-mx"], evaluated_family / "results", results, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(trees["bilma-mx"])


def test_weights_and_tokenizer_are_those_of_the_folder(trees, family):
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (trees["bilma-mx"] / name).read_bytes() == (family / "bilma-mx" / name).read_bytes()


@pytest.fixture
def build(family, publications, results, evaluated_family, tmp_path):
    """Build the tree of a copy of bilma-mx that `change` was done to."""

    def build(change=lambda folder: None, results=results, results_dir=evaluated_family / "results"):
        folder = shutil.copytree(family / "bilma-mx", tmp_path / "changed")
        change(folder)
        build_tree(replace(publications["bilma-mx"], folder=folder), results_dir, results, tmp_path / "tree")
        return tmp_path / "tree"

    return build


def test_only_what_is_meant_to_be_published_is_taken(build, trees):
    """What else lies in the folder stays there, and does not count among the weights."""

    def add_others(folder):
        (folder / "unfinished_run").mkdir()
        for name in ("tweets.jsonl", ".env", "optimizer.bin", "unfinished_run/state.pt"):
            (folder / name).write_text("not to be published")
        (folder / "model.safetensors.index.json").write_text("{}")

    assert digests(build(add_others)) == digests(trees["bilma-mx"])


def test_the_code_is_the_present_one_and_the_configuration_names_it(build):
    def age(folder):
        (folder / "modeling_bilma.py").write_text("raise RuntimeError('old')")
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {name: f"other/repo--{value}" for name, value in AUTO_MAP.items()}
        (folder / "config.json").write_text(json.dumps(config))

    tree = build(age)
    package = ROOT / "modeling_bilma" / "modeling_bilma.py"
    assert (tree / "modeling_bilma.py").read_bytes() == package.read_bytes()
    assert json.loads((tree / "config.json").read_text())["auto_map"] == AUTO_MAP


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "metrics.json", "training_args.json"])
def test_a_file_that_is_missing_is_said(build, name):
    with pytest.raises(InputError, match=f"{name}: no such file"):
        build(lambda folder: (folder / name).unlink())


def test_results_of_other_weights_are_refused(build):
    def train_on(folder):
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)

    with pytest.raises(InputError, match="its weights are none of those in mlm_matrix.json"):
        build(train_on)


def test_results_and_pictures_that_are_missing_are_said(build, results, evaluated_family, tmp_path):
    with pytest.raises(InputError, match="mlm_matrix"):
        build(results={kind: result for kind, result in results.items() if kind != "mlm_matrix"})
    shutil.rmtree(tmp_path / "changed")
    without = shutil.copytree(evaluated_family / "results", tmp_path / "results")
    (without / "figures" / "similarity.png").unlink()
    with pytest.raises(InputError, match="similarity.png: no such file: draw it with"):
        build(results_dir=without)


def test_a_dry_run_replaces_what_one_wrote_and_nothing_else(trees, tmp_path):
    folder, (name, tree) = tmp_path / "dry", next(iter(trees.items()))
    for _ in range(2):
        check_dry_run(folder, [name])
        assert list(write_dry_run(folder, [tree])) == [folder / name]
        assert digests(folder / name) == digests(tree)
    (folder / name / "README.md").write_text("edited by hand")
    with pytest.raises(InputError, match="is not as a dry run left it"):
        check_dry_run(folder, [name])


def test_folders_and_files_of_the_users_are_left_alone(tmp_path):
    (tmp_path / "dry" / "bilma-mx").mkdir(parents=True)
    check_dry_run(tmp_path / "dry", ["bilma-ar"])
    with pytest.raises(InputError, match="bilma-mx is not as a dry run left it"):
        check_dry_run(tmp_path / "dry", ["bilma-mx"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_dry_run(tmp_path / "file", ["bilma-mx"])


def test_a_dry_run_does_not_write_into_a_model(trees):
    with pytest.raises(InputError, match="bilma-mx is a model folder"):
        check_dry_run(trees["bilma-mx"], ["bilma-mx"])


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_spoilt_record_of_dry_runs_is_named(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=MANIFEST):
        check_dry_run(tmp_path, ["bilma-mx"])


def test_a_dry_run_that_breaks_off_leaves_no_half_tree(trees, tmp_path, monkeypatch):
    def no_space(source, target, **options):
        (target / "README.md").write_text("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copytree", no_space)
    with pytest.raises(InputError, match="no space left"):
        list(write_dry_run(tmp_path / "dry", [trees["bilma-mx"]]))
    assert not (tmp_path / "dry" / "bilma-mx").exists()
    assert not list((tmp_path / "dry").iterdir())
