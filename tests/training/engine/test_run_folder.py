import pytest

from training.engine.run_folder import WORK_DIR, changed_file, put_in_place, remove_work_dir

BEFORE = [["a.txt", "1"], ["b.txt", "2"]]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ([["a.txt", "1"], ["b.txt", "3"]], "b.txt has changed"),
        ([["a.txt", "1"]], "b.txt is gone"),
        ([["a.txt", "1"], ["ab.txt", "9"], ["b.txt", "2"]], "ab.txt is new"),
        ([["b.txt", "2"], ["a.txt", "1"]], "b.txt is at another position in the list"),
        ([*BEFORE, ["b.txt", "2"]], "the number of files has changed"),
    ],
)
def test_the_file_that_changed_is_named(now, said):
    assert changed_file(BEFORE, now) == said


def test_what_is_left_of_a_removed_working_folder_is_removed(tmp_path):
    (tmp_path / ".unfinished_run.removed").mkdir()
    (tmp_path / "unfinished_run" / "best").mkdir(parents=True)
    remove_work_dir(tmp_path / "unfinished_run")
    assert list(tmp_path.iterdir()) == []


def test_records_of_the_model_that_is_replaced_go_with_it(tmp_path):
    finished = tmp_path / WORK_DIR / "best"
    finished.mkdir(parents=True)
    for name in ("config.json", "loss_curve.png"):
        (finished / name).write_text("new")
    for name in ("config.json", "loss_curve.png", "test_guesses.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    put_in_place(finished, tmp_path)
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {"config.json": "new", "loss_curve.png": "new", "notes.txt": "old"}
