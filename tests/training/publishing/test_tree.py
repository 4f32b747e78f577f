"""Files of a tree, where they are from, and dry runs."""

import json
import shutil
from dataclasses import replace

import pytest

from modeling_bilma.configuration_bilma import AUTO_MAP
from tests.conftest import ROOT
from tests.training.conftest import SAVED
from training.common.errors import InputError
from training.publishing.tree import (
    MANIFEST,
    build_tree,
    check_dry_run,
    copy_folder,
    digests,
    files_of,
    picture_in,
    write_dry_run,
)

ALWAYS = SAVED | {"CITATION.cff", "LICENSE", "LICENSE.code", "README.md"}
OF_MASKED_LM = {f"results/{kind}.json" for kind in ("completions", "mlm_matrix", "regional_tests")}


def test_the_files_of_every_kind_of_model(trees):
    assert set(files_of(trees["bilma"])) == ALWAYS | OF_MASKED_LM
    assert set(files_of(trees["bilma-mx"])) == ALWAYS | OF_MASKED_LM | {".eval_results/bilma-regional-tests.yaml"}
    assert set(files_of(trees["bilma-mx-emoji"])) == ALWAYS | {"results/emoji15_matrix.json"}


def test_the_weights_have_a_licence_of_their_own(trees):
    assert "research" in (trees["bilma-mx"] / "LICENSE").read_text()
    assert (trees["bilma-mx"] / "LICENSE.code").read_text() == (ROOT / "LICENSE").read_text()


@pytest.fixture
def build(made, publications, results, tmp_path):
    """Build the tree of a copy of the classifier, or of what is named, that `change` was done to."""

    def build(change=lambda folder: None, name="bilma-mx-emoji", results=results, results_dir=made / "results"):
        folder = shutil.copytree(publications[name].folder, tmp_path / "changed")
        change(folder)
        trained = folder if publications[name].trained == publications[name].folder else publications[name].trained
        build_tree(
            replace(publications[name], folder=folder, trained=trained), results_dir, results, tmp_path / "tree"
        )
        return tmp_path / "tree"

    return build


@pytest.mark.parametrize("name", ["bilma-mx", "bilma-mx-emoji"])
def test_the_same_input_gives_the_same_bytes(build, trees, name):
    written = digests(trees[name])
    del written["README.md"]
    assert digests(build(name=name)) == written


def test_weights_and_tokenizer_are_those_of_the_folder(trees, publications):
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (trees["bilma-mx"] / name).read_bytes() == (publications["bilma-mx"].folder / name).read_bytes()


def test_other_files_are_not_published(build, trees):
    """Nor do they count as weights."""

    def add_others(folder):
        (folder / "unfinished_run").mkdir()
        for name in ("tweets.jsonl", ".env", "optimizer.bin", "unfinished_run/state.pt"):
            (folder / name).write_text("not to be published")
        (folder / "model.safetensors.index.json").write_text("{}")

    assert set(files_of(build(add_others))) == set(files_of(trees["bilma-mx-emoji"])) - {"README.md"}


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
def test_a_missing_file_is_named(build, name):
    with pytest.raises(InputError, match=name):
        build(lambda folder: (folder / name).unlink())


def test_results_of_other_weights_are_refused(build):
    def train_on(folder):
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)

    with pytest.raises(InputError, match="its weights are not among those in emoji15_matrix.json"):
        build(train_on)


def test_the_picture_is_taken_where_there_is_one(build, made, tmp_path):
    with_picture = shutil.copytree(made / "results", tmp_path / "results")
    (with_picture / "figures").mkdir()
    (with_picture / "figures" / "mlm_matrix_masked_accuracy_words.png").write_bytes(b"picture")
    tree = build(name="bilma-mx", results_dir=with_picture)
    assert picture_in(tree) == "figures/mlm_matrix_masked_accuracy_words.png"


def test_a_folder_is_copied_without_what_is_hidden(tmp_path):
    for name in ("README.md", "data/a.jsonl", ".git/config", "__pycache__/a.pyc"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_text(name)
    copy_folder(tmp_path / "source", tmp_path / "tree")
    assert files_of(tmp_path / "tree") == ["README.md", "data/a.jsonl"]
    with pytest.raises(InputError, match="nowhere"):
        copy_folder(tmp_path / "nowhere", tmp_path / "other")


def test_a_dry_run_replaces_what_one_wrote_and_nothing_else(trees, tmp_path):
    folder, (name, tree) = tmp_path / "dry", next(iter(trees.items()))
    for _ in range(2):
        check_dry_run(folder, [name])
        assert list(write_dry_run(folder, [tree])) == [folder / name]
        assert digests(folder / name) == digests(tree)
    (folder / name / "README.md").write_text("edited by hand")
    with pytest.raises(InputError, match="is not what a dry run wrote"):
        check_dry_run(folder, [name])


def test_folders_and_files_of_the_users_are_left_alone(tmp_path):
    (tmp_path / "dry" / "bilma-mx").mkdir(parents=True)
    check_dry_run(tmp_path / "dry", ["bilma-ar"])
    with pytest.raises(InputError, match="bilma-mx is not what a dry run wrote"):
        check_dry_run(tmp_path / "dry", ["bilma-mx"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        check_dry_run(tmp_path / "file", ["bilma-mx"])


def test_a_dry_run_does_not_write_into_a_model(trees):
    with pytest.raises(InputError, match="bilma-mx is a model folder"):
        check_dry_run(trees["bilma-mx"], ["bilma-mx"])


@pytest.mark.parametrize("content", ["[]", "{"])
def test_a_damaged_manifest_is_named(tmp_path, content):
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
