import os
import subprocess
import sys

import pytest

from tests.training.conftest import run_main
from training import (
    average_models,
    baselines,
    compare_classifiers,
    evaluate_family,
    export_onnx,
    finetune,
    merge_region,
    present_family,
    pretrain,
    regional_tests,
    synthetic_corpus,
    train_tokenizer,
    train_word_vectors,
)
from training.common.errors import InputError
from training.common.locks import only_run_in

HOLDER = """
import pathlib, sys
from training.common.locks import only_run_in
with only_run_in(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path):
    """Another process that holds the lock of `tmp_path/out`."""
    command = [sys.executable, "-c", HOLDER, tmp_path / "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_second_run_is_refused_until_the_first_one_dies(other_run, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=f"process {other_run.pid} on .*, since 20"), only_run_in(out):
        pass
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(InputError, match=f"process {other_run.pid}"), only_run_in(tmp_path / "link"):
        pass
    with only_run_in(tmp_path / "other"):
        pass
    other_run.kill()
    other_run.wait()
    with only_run_in(out):
        pass


def test_a_lock_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError), only_run_in(tmp_path / "new" / "out"):
        assert [path.name for path in (tmp_path / "new").iterdir()] == [".out.lock"]
        raise KeyError
    assert list((tmp_path / "new").iterdir()) == []


def test_only_the_first_process_of_a_run_locks_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with only_run_in(tmp_path / "out"), only_run_in(tmp_path / "out"):
        assert list(tmp_path.iterdir()) == []


def test_the_lock_is_inside_where_the_folder_above_is_read_only(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)  # no mode of a folder keeps root from writing
    with only_run_in(out):
        assert [path.name for path in out.iterdir()] == [".out.lock"]


@pytest.mark.parametrize(
    ("script", "flags"),
    [
        (average_models, {"models": ["a", "b"]}),
        (baselines, {"task": "a", "train_file": "a.csv"}),
        (compare_classifiers, {"classifiers": "a", "baselines": "b"}),
        (evaluate_family, {"models": "a", "corpora": "a"}),
        (export_onnx, {"model": "a"}),
        (finetune, {"model": "a", "task": "a", "train_file": "a.csv"}),
        (merge_region, {"model": "a", "region": "mx"}),
        (present_family, {"org": "a"}),
        (pretrain, {"region": "mx", "train_file": "a.txt"}),
        (regional_tests, {"models": "a"}),
        (synthetic_corpus, {}),
        (train_tokenizer, {"train_file": "a.txt"}),
        (train_word_vectors, {"train_file": "a.txt", "tokenizer": "a"}),
    ],
)
def test_scripts_do_not_write_where_another_run_does(tmp_path, script, flags):
    with only_run_in(tmp_path / "out"), pytest.raises(InputError, match="another run writes there"):
        run_main(script, **flags, output_dir=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
