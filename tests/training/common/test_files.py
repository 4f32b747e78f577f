import os

import pytest

from training.common.files import read_json, replace_file, replace_folder, write_json


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    return tmp_path / "model"


def test_a_new_folder_takes_the_place_of_the_old_one(folder):
    with replace_folder(folder) as beside:
        (beside / "new").write_text("new")
        assert [file.name for file in folder.iterdir()] == ["old"]
    assert [file.name for file in folder.iterdir()] == ["new"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_mode_that_the_umask_gives(folder, umask, mode):
    before = os.umask(umask)
    try:
        with replace_folder(folder) as beside:
            (beside / "onnx").mkdir()
            for name in ("new", "onnx/new"):  # as safetensors does it
                os.close(os.open(beside / name, os.O_CREAT, 0o600))
    finally:
        os.umask(before)
    assert [(folder / name).stat().st_mode & 0o777 for name in ("new", "onnx/new")] == [mode, mode]


def test_the_old_folder_stays_when_writing_fails(folder):
    with pytest.raises(OSError, match="disk full"), replace_folder(folder) as beside:
        (beside / "new").write_text("half")
        raise OSError("disk full")
    assert [file.name for file in folder.iterdir()] == ["old"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_run_killed_between_the_two_renames_loses_nothing(folder):
    folder.rename(folder.with_name(".model.replaced"))
    with pytest.raises(OSError, match="again"), replace_folder(folder):
        raise OSError("again")
    assert [file.name for file in folder.iterdir()] == ["old"]
    assert list(folder.parent.iterdir()) == [folder]


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "facts.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"new": float("nan")})
    with pytest.raises(OSError, match="disk full"), replace_file(path) as beside:
        beside.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == '{\n "old": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_names_that_are_not_utf8_do_not_stop_a_record(tmp_path):
    write_json(tmp_path / "record.json", {"names": [os.fsdecode(b"caf\xe9.csv")]})
    assert read_json(tmp_path / "record.json") == {"names": [os.fsdecode(b"caf\xe9.csv")]}
