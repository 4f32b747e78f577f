"""Texts, and the script on tiny settings."""

import pytest

from tests.conftest import TINY_OVERRIDES
from tests.training.conftest import SAVED, run_main, write_texts
from training import pretrain
from training.pretraining import loop
from training.texts.synthetic import generate_texts

WORDS = "bilma.embeddings.word_embeddings.weight"
FINISHED = SAVED | {"loss_curve.png"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("corpus") / "mx.jsonl", generate_texts("mx", 400))


@pytest.fixture
def train(tmp_path, texts):
    """Run the script in this process on tiny settings; returns its output folder."""

    def train(*argv: object, name="out", train_file=texts):
        settings = {
            "region": "mx",
            "output_dir": tmp_path / name,
            "cache_dir": tmp_path / "cache",
            "config_overrides": TINY_OVERRIDES,
            "max_steps": 6,
            "max_length": 32,
            "texts_per_step": 32,
            "vocab_size": 400,
            "mixed_precision": "no",
            "num_threads": 1,
            "logging_steps": 2,
            "eval_steps": 3,
            "save_steps": 2,
        }
        return run_main(pretrain, *argv, **settings, **({"train_file": train_file} if train_file else {}))

    return train


@pytest.fixture
def refused(train, refusal):
    """Run the script on wrong input; returns its one-line error."""
    return lambda *argv, **options: refusal(pretrain, lambda: train(*argv, **options))


@pytest.fixture
def train_until(train, monkeypatch):
    """`train_until(step, ...)`: a run that dies when the checkpoint of a step is written."""
    save = loop.save_checkpoint

    def train_until(step, *argv, **options):
        def save_and_die(accelerator, folder, state, *others):
            save(accelerator, folder, state, *others)
            if state.step == step:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(loop, "save_checkpoint", save_and_die)
            train(*argv, **options)

    return train_until
