"""What a script ends with: one line and a status, whatever the libraries make of a full disk."""

import errno
import io
import os
import shutil
import sys
from functools import partial

import pytest
from huggingface_hub.constants import HF_HOME
from safetensors import SafetensorError

from training.common.errors import INTERRUPTED, UNREAD, InputError, as_write_error, resumable, run


def raising(error):
    def main():
        raise error

    return main


def caused_by(error, cause):
    error.__cause__ = cause
    return error


FULL = os.strerror(errno.ENOSPC)
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS), "/cache/bilma")


@pytest.fixture
def ends(monkeypatch, capsys):
    """`ends(main)`: the status that a script ends with, and the lines that it says."""

    def ends(main):
        monkeypatch.setattr(sys, "argv", ["script.py"])
        with pytest.raises(SystemExit) as stop:
            run(main)
        return stop.value.code, capsys.readouterr().err.splitlines()

    return ends


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("mend it"), 2, "script.py: error: mend it"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (OSError(errno.ENOSPC, FULL, "/out/x"), 2, f"{FULL}: '/out/x'"),
        (READ_ONLY, 2, "/cache/bilma"),
        (SafetensorError(f"I/O error: {FULL} (os error 28)"), 2, FULL),  # of Rust
        (Exception(f"{FULL} (os error 28)"), 2, FULL),  # of tokenizers
        (OSError(errno.EROFS, "Read-only file system", f"{HF_HOME}/modules"), 2, "set HF_HOME"),
        (shutil.Error([("a", "b", f"{FULL}: 'b'"), ("c", "d", "e")]), 2, f"error: {FULL}: 'b': make room"),
        (OSError("100 requested and 7 written"), 2, "could not be finished"),  # of numpy
        (RuntimeError("[enforce fail at inline_container.cc:672]"), 2, "could not be finished"),  # of torch
        (caused_by(RuntimeError("a worker died"), READ_ONLY), 2, "/cache/bilma"),
    ],
)
def test_the_user_gets_one_line(ends, error, status, words):
    found, (line,) = ends(raising(error))
    assert found == status
    assert words in line


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), ValueError("a mistake"), RuntimeError()])
def test_a_mistake_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run(raising(error))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_output_onto_a_full_disk_is_an_error(ends, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, (line,) = ends(lambda: print("answers"))
    assert (status, FULL in line) == (2, True)


def test_a_reader_that_has_gone_is_no_error(ends, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert ends(lambda: print("answers")) == (UNREAD, [])


def test_a_checkpoint_that_does_not_fit_is_named_with_the_room_there_is(tmp_path):
    line = rf"step-1 could not be written .*{FULL}.* MiB free.*: make room"
    with pytest.raises(InputError, match=line), as_write_error(tmp_path / "step-1"):
        raise OSError(errno.ENOSPC, FULL)
    with pytest.raises(RuntimeError, match="a mistake"), as_write_error(tmp_path / "step-1"):
        raise RuntimeError("a mistake")


def test_bars_of_libraries_stay_out_of_logs(ends, monkeypatch):
    called = []
    monkeypatch.setattr("transformers.utils.logging.disable_progress_bar", lambda: called.append(True))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    ends(lambda: None)
    assert called


@pytest.mark.parametrize("is_begun", [True, False])
@pytest.mark.parametrize(
    ("error", "otherwise"),
    [
        (KeyboardInterrupt, "run the same command again"),
        (partial(OSError, errno.ENOSPC, FULL), "run the same command again"),
        (partial(InputError, f"step-1: {FULL}"), FULL),
        (partial(InputError, "mend it"), None),
    ],
)
def test_what_can_be_resumed_says_so(ends, error, otherwise, is_begun):
    def main():
        with resumable(lambda: is_begun):
            raise error()

    _, (line,) = ends(main)
    advice = "continue with the same command and --resume" if is_begun and otherwise else otherwise or "mend it"
    assert line.endswith(advice)


def test_a_run_is_not_both_resumed_and_overwritten(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "--overwrite"])
    with pytest.raises(KeyboardInterrupt) as interruption, resumable(lambda: True):
        raise KeyboardInterrupt
    assert interruption.value.__notes__ == ["continue with the same command and --resume in place of --overwrite"]
