import csv
import os
import sys

import pytest

from modeling_bilma import BilmaForSequenceClassification
from tests.conftest import TEXTS, tiny_config
from training import predict
from training.common.errors import INTERRUPTED, InputError, run
from training.common.locks import only_run_in


@pytest.fixture
def answer(tmp_path, tokenizer, monkeypatch):
    """Run the script in this process on a tiny classifier; returns the rows of its output."""
    config = tiny_config(vocab_size=len(tokenizer), id2label={0: "N", 1: "P"})
    BilmaForSequenceClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "opinión"), *enumerate([*TEXTS, ""])])

    def answer(*argv, name="out.csv"):
        flags = ["--model", tmp_path / "model", "--input", tmp_path / "in.csv", "--output", tmp_path / name]
        flags += ["--text_column", "opinión", "--max_length", 12, *argv]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, flags)])
        predict.main()
        return list(csv.DictReader((tmp_path / name).open()))

    return answer


def test_a_file_comes_back_with_its_answers(answer, capsys):
    rows = answer()
    assert [row["opinión"] for row in rows] == [*TEXTS, ""]
    assert all(row["label"] in "NP" and float(row["score"]) >= 0.5 for row in rows[:-1])
    assert (rows[-1]["label"], rows[-1]["score"]) == ("", "")
    report = capsys.readouterr().err.splitlines()[-1]
    assert "7 rows" in report and "1 without text" in report and " cut" in report


def test_an_output_that_another_run_writes_is_refused(answer, tmp_path):
    with only_run_in(tmp_path / "out.csv"), pytest.raises(InputError, match="another run writes there"):
        answer()
    assert not (tmp_path / "out.csv").exists()


def test_a_run_is_continued_with_its_own_flags_only(answer, tmp_path, monkeypatch):
    whole = answer(name="whole.csv")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("training.inference.annotation.join_parts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        answer()
    with pytest.raises(InputError, match="all_scores was False and is now True"):
        answer("--resume", "--all_scores")
    assert answer("--resume", "--texts_per_batch", 3) == whole


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
def test_the_advice_after_an_interruption_is_followed(answer, monkeypatch, capsys, flags):
    whole = answer(name="whole.csv")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("training.inference.annotation.join_parts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run(lambda: answer(*flags))
    assert stop.value.code == INTERRUPTED
    instead = " in place of --overwrite" if flags else ""
    line = f"predict.py: interrupted: continue with the same command and --resume{instead}"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert answer("--resume") == whole


def test_paths_that_cannot_be_read_or_written_are_named(answer, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder").mkdir()
    long = tmp_path / ("x" * 300 + ".csv")
    for flags, message in (
        (("--input", tmp_path / "pipe.csv"), "pipe.csv: a pipe or device, not a file"),
        (("--input", tmp_path / "folder"), "folder: a folder: give a file"),
        (("--input", tmp_path / "gone.csv"), "gone.csv: no such file"),
        (("--input", long), "File name too long"),
        (("--output", long), "File name too long"),
        (("--output", tmp_path / ("x" * 250 + ".csv")), "File name too long"),
        (("--output", tmp_path / "out.csv.gz"), "out.csv.gz: the output is not compressed: leave out .gz"),
    ):
        with pytest.raises(InputError, match=message):
            answer(*flags)


def test_wrong_flags_are_named(answer, tmp_path):
    for flags, message in (
        (("--top_k", 0), "--top_k 0 is not 1 or more"),
        (("--threshold", 1), "--threshold 1.0 is not between"),
        (("--threshold", 0.9), "--threshold means nothing for this BilmaForSequenceClassification"),
        (("--model", "/nowhere/model"), "/nowhere/model: no such folder, and no model of the Hub"),
        (("--input", "-", "--resume"), "--resume needs a file"),
        (("--output", tmp_path / "in.csv", "--overwrite"), "is the input"),
        (("--output", tmp_path / "out.txt"), "unknown format"),
    ):
        with pytest.raises(InputError, match=message):
            answer(*flags)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "in.csv"}
