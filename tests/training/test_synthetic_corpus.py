import json

import pytest

from tests.training.conftest import run_main
from training import synthetic_corpus
from training.texts.synthetic import available_regions, generate_texts


def test_the_files_of_regions_and_how_they_were_made(tmp_path, capsys):
    out = run_main(synthetic_corpus, output_dir=tmp_path / "corpora" / "synthetic", regions=["mx", "ar"], num_texts=50)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "ar.jsonl", "mx.jsonl"]
    lines = (out / "mx.jsonl").read_text(encoding="utf-8").splitlines()
    assert "\\u" not in "".join(lines)
    expected = [{"text": text, "region": "mx", "source": "synthetic"} for text in generate_texts("mx", 50)]
    assert [json.loads(line) for line in lines] == expected
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "synthetic" in readme and "--regions mx ar --num_texts 50 --seed 0" in readme


def test_all_regions_are_the_default(tmp_path):
    run_main(synthetic_corpus, output_dir=tmp_path, num_texts=3)
    assert sorted(path.stem for path in tmp_path.glob("*.jsonl")) == available_regions()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--regions", "mx", "xx"], "unknown region 'xx'; there are: ar "),
        (["--num_texts", "many"], "--num_texts"),
        (["--num_texts", "0"], "--num_texts 0 is not 1 or more"),
        (["--output_dir", "taken"], "taken"),
    ],
)
def test_wrong_input_is_refused_and_nothing_written(tmp_path, monkeypatch, refusal, flags, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    assert message in refusal(
        synthetic_corpus, lambda: run_main(synthetic_corpus, *flags, output_dir=tmp_path / "out")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_nothing_of_the_users_is_replaced(tmp_path, refusal):
    (tmp_path / "mx.jsonl").write_text("mine")
    make = lambda: run_main(synthetic_corpus, output_dir=tmp_path, regions=["mx"], num_texts=3)  # noqa: E731
    assert "mx.jsonl exists and is not of this script" in refusal(synthetic_corpus, make)
    assert (tmp_path / "mx.jsonl").read_text() == "mine"
    (tmp_path / "mx.jsonl").rename(tmp_path / "README.md")
    assert "README.md exists and is not of this script" in refusal(synthetic_corpus, make)
    (tmp_path / "README.md").unlink()
    make()
    make()
