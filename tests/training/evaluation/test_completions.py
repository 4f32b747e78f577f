import pytest

from training.common.errors import InputError
from training.evaluation import published
from training.evaluation.completions import as_text, completion_table, read_phrases
from training.evaluation.models import open_folders


def test_phrases_of_a_file(tmp_path):
    path = tmp_path / "phrases.txt"
    path.write_text("vamos a [MASK]\n\n  [MASK] en la mañana\nvamos a [MASK]\n", encoding="utf-8")
    assert read_phrases(str(path)) == ["vamos a [MASK]", "[MASK] en la mañana"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"vamos a comer\n", "holds [MASK] 0 times"), (b"\n", "no phrase in this file"), (b"\xff", "invalid start byte")],
)
def test_phrases_that_cannot_be_asked(tmp_path, content, message):
    path = tmp_path / "phrases.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        read_phrases(str(path))


def test_a_file_of_phrases_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="nowhere.txt"):
        read_phrases(str(tmp_path / "nowhere.txt"))


def test_the_published_phrases():
    phrases = read_phrases(None)
    assert len(phrases) == 5
    assert published.completions()["vamos a comer [MASK]"]["mx"][0] == "tacos"


def test_words_with_probabilities(family):
    folders = open_folders([str(family / "bilma-mx"), str(family / "bilma-ar")])
    (entry,) = completion_table(folders, ["vamos a [MASK]"], top_k=3)
    assert [column["model"] for column in entry["by_model"]] == ["bilma-mx", "bilma-ar"]
    for column in entry["by_model"]:
        probabilities = [answer["probability"] for answer in column["answers"]]
        assert len(probabilities) == 3
        assert 1 > probabilities[0] >= probabilities[1] >= probabilities[2] > 0
    lines = as_text({"phrases": [entry]}).splitlines()
    assert lines[0] == "vamos a [MASK]"
    assert lines[1].split() == ["bilma-mx", "bilma-ar"]
    assert len(lines) == 5
