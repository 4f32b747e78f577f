"""Scripts without a terminal, and on a disk that is full: a log without bars, one line, and nothing half-written."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import TINY_OVERRIDES
from tests.training.conftest import REGIONS, TEST_FRACTION, run_main, save_body, write_texts
from tests.training.test_compare_classifiers import write_guesses
from training import (
    average_models,
    baselines,
    compare_classifiers,
    embed,
    evaluate_family,
    finetune,
    merge_region,
    predict,
    pretrain,
    synthetic_corpus,
    train_tokenizer,
    train_word_vectors,
)
from training.common.errors import run
from training.texts.synthetic import generate_texts

ROOM = 2048  # bytes that a file may have where the disk is full
WORK_FOLDERS = {"unfinished_run", ".out.parquet.parts"}


@pytest.fixture(scope="module")
def home(family, tmp_path_factory):
    """Labelled texts, a body with regional parts, and guesses of a classifier and a baseline."""
    home = tmp_path_factory.mktemp("home")
    texts = generate_texts("mx", 300)
    write_texts(home / "opinions.jsonl", texts, label=["NP"[number % 2] for number in range(len(texts))])
    save_body(family, home / "body")
    for name in ("bilma", "baselines/tfidf", "baselines/majority"):
        write_guesses(home / name, Path(name).name, (0.9,))
    return home


def flags_of(script, family, home):
    mx, corpus, opinions = family / "bilma-mx", family / "corpora" / "mx.jsonl", home / "opinions.jsonl"
    models = [family / f"bilma-{region}" for region in REGIONS]
    reading = {"train_file": corpus, "tokenizer": family / "tokenizer", "cache_dir": home / "cache", "max_length": 24}
    training = {"num_train_epochs": 1, "max_length": 24, "mixed_precision": "no", "test_fraction": TEST_FRACTION}
    evaluation = {"max_length": 24, "mask_draws": 1, "resamples": 100, "test_fraction": TEST_FRACTION}
    return {
        average_models: {"models": models},
        baselines: {"task": "opinion", "train_file": opinions, "test_fraction": 0.5, "fasttext_epochs": 1},
        compare_classifiers: {"classifiers": home / "bilma", "baselines": home / "baselines", "resamples": 100},
        embed: {"model": mx, "input_file": opinions, "max_length": 24},
        evaluate_family: {"models": models, "corpora": family / "corpora", **evaluation},
        finetune: {"model": mx, "task": "opinion", "train_file": opinions, **training},
        merge_region: {"model": home / "body", "region": "mx"},
        predict: {"model": mx, "input": opinions, "max_length": 24},
        pretrain: {**reading, **training, "region": "mx", "config_overrides": TINY_OVERRIDES},
        synthetic_corpus: {"regions": "mx", "num_texts": 100},
        train_tokenizer: {"train_file": corpus, "vocab_size": 300},
        train_word_vectors: {**reading, "size": 16, "workers": 1},
    }[script]


@pytest.fixture
def start(family, home, tmp_path, capfd):
    """`start(script, folder)`: run a script as a user does; its status, and what it wrote for people."""

    def start(script, folder, **flags):
        output = {predict: {"output": folder / "out.parquet"}, embed: {"output_file": folder / "out.parquet"}}
        flags = flags_of(script, family, home) | output.get(script, {"output_dir": folder / "out"}) | flags
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(lambda: run_main(script, **flags))
        return stop.value.code, "".join(capfd.readouterr())

    return start


@contextmanager
def full_disk() -> Iterator[None]:
    """For files that grow over `ROOM`; unlike one of a small disk, this limit needs no rights.

    It ends with the block, since pytest itself may write into a long file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        average_models,
        baselines,
        compare_classifiers,
        embed,
        evaluate_family,
        finetune,
        merge_region,
        predict,
        pretrain,
        synthetic_corpus,
        train_tokenizer,
        train_word_vectors,
    ],
    ids=lambda script: script.__name__.removeprefix("training."),
)
def test_a_log_has_no_bars_and_a_full_disk_leaves_nothing_half_written(start, script, tmp_path):
    status, log = start(script, tmp_path / "whole")
    assert (status, "\r" in log) == (0, False)
    with full_disk():
        status, log = start(script, tmp_path / "full")
    assert status == 2
    assert log.count(": error: ") == 1
    assert "Traceback" not in log
    left = [path for path in (tmp_path / "full").rglob("*") if path.is_file() and not WORK_FOLDERS & {*path.parts}]
    assert [path for path in left if path.stat().st_size >= ROOM or path.suffix == ".writing"] == []
    assert not (tmp_path / "full" / "out" / "config.json").exists()
    for path in left:
        if path.suffix == ".json":
            json.loads(path.read_text())


def test_a_cache_that_cannot_be_written_is_named(start, tmp_path):
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "cache", tmp_path / "file" / "cache"):
        with full_disk():
            status, log = start(train_word_vectors, tmp_path, cache_dir=cache)
        assert (status, f"{cache}: " in log, "--cache_dir" in log) == (2, True, True)
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "cache"}


def test_a_cache_folder_is_made(start, tmp_path):
    status, _ = start(train_word_vectors, tmp_path, cache_dir=tmp_path / "no" / "such" / "folder")
    assert status == 0
