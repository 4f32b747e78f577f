"""A vocabulary, a folder that acts as the Hub, and conversions that are refused."""

from unittest.mock import Mock

import pytest
from huggingface_hub.errors import RemoteEntryNotFoundError

from modeling_bilma import convert_keras
from tests.modeling_bilma.keras.keras_files import VOCABULARY


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that acts as a repository of the Hub: files in it can be downloaded."""
    folder = tmp_path / "hub"
    folder.mkdir()

    def download(repository, filename):
        assert repository == "guillermoruiz/bilma_MX"
        if not (folder / filename).exists():
            raise RemoteEntryNotFoundError("no such file", response=Mock(headers={}))
        return str(folder / filename)

    monkeypatch.setattr(convert_keras, "hf_hub_download", download)
    return folder


@pytest.fixture
def refused(tmp_path, vocab, capsys):
    """`refused(*words)`: converting `m.h5` gives one line that holds the words, status 2, and writes nothing."""

    def refused(*words, weights=None, vocab=vocab, region="mx", extra=()):
        arguments = ["--weights", str(weights or tmp_path / "m.h5"), "--region", region]
        arguments += ["--output_dir", str(tmp_path / "out"), *extra]
        if vocab is not None:
            arguments += ["--vocab", str(vocab)]
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        assert convert_keras.main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        for word in words:
            assert str(word) in captured.err
        assert sorted(tmp_path.rglob("*")) == before

    return refused
