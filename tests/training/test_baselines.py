import json
import sys

import numpy as np
import pytest

pytest.importorskip("gensim")
pytest.importorskip("sklearn")

from training import baselines
from training.common.errors import InputError
from training.finetuning import baselines as baseline_methods
from training.finetuning.baselines import METHODS
from training.finetuning.guesses import GUESSES_FILE, read_guesses
from training.texts.synthetic import generate_texts


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Run the script on texts whose first word decides the label; returns its output folder."""
    texts = generate_texts("mx", 300)
    words = ("bueno", "malo", "bueno")
    records = [
        {"text": f"{words[n % 3]} {text}", "label": "PNP"[n % 3], "region": ("mx", "ar")[n % 2]}
        for n, text in enumerate(texts)
    ]
    (tmp_path / "opinions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "more.txt").write_text("\n".join(generate_texts("mx", 200, seed=1)))

    def compare(*argv, name="out"):
        flags = ["--task", "sentiment", "--train_file", tmp_path / "opinions.jsonl", "--output_dir", tmp_path / name]
        flags += ["--vector_size", 16, "--fasttext_epochs", 3, *argv]
        monkeypatch.setattr(sys, "argv", ["baselines.py", *map(str, flags)])
        baselines.main()
        return tmp_path / name

    return compare


def read(out, method):
    return json.loads((out / method / "metrics.json").read_text())


def test_every_method_writes_the_metrics_of_the_same_texts(compare, tmp_path):
    out = compare("--embedding_file", tmp_path / "more.txt")
    assert {path.name for path in out.iterdir()} == set(METHODS)
    assert {path.name for folder in out.iterdir() for path in folder.iterdir()} == {"metrics.json", GUESSES_FILE}
    results = {method: read(out, method) for method in METHODS}
    assert len({result["texts"]["test"]["fingerprint"] for result in results.values()}) == 1
    labels = results["majority"]["texts"]["test"]["labels"]
    share = labels["P"] / sum(labels.values())
    assert results["majority"]["test"]["accuracy"] == pytest.approx(share)
    assert results["majority"]["mean"] == {part: results["majority"][part] for part in ("validation", "test")}
    for method in ("char_tfidf", "word_tfidf", "tfidf", "regional_tfidf"):
        assert results[method]["test"]["accuracy"] > max(share, 0.9)
    assert results["pooled_tfidf"]["test"] == results["tfidf"]["test"]


def test_pooled_texts_are_those_of_all_regions_and_the_test_texts_those_of_one(compare, monkeypatch):
    learnt_from = {}

    def spy(features, labels, class_weights):
        learnt_from[len(learnt_from)] = len(labels["train"])
        assert features["train"].shape[0] == len(labels["train"])
        return {part: np.zeros_like(right) for part, right in labels.items()}

    monkeypatch.setattr(baseline_methods, "linear", spy)
    out = compare("--region", "mx", "--test_fraction", 0.2)
    char, word, both, pooled, fasttext = learnt_from.values()  # of one region, so without regional_tfidf
    assert char == word == both == fasttext < 150 < pooled
    metrics = read(out, "pooled_tfidf")
    assert metrics["texts"]["test"] == read(out, "tfidf")["texts"]["test"]


def test_words_are_tagged_by_a_conditional_random_field(compare, tmp_path, capsys):
    names = [text.split()[-1] for text in generate_texts("mx", 200)]
    lines = [f"en O\nNueva B-LOC\nYork I-LOC\ncon O\nÁna{name} B-PER\n{name} O\n" for name in names]
    (tmp_path / "tagged.conll").write_text("\n".join(lines), encoding="utf-8")
    out = compare("--task", "tokens", "--train_file", tmp_path / "tagged.conll", "--test_fraction", 0.2)
    assert {path.name for path in out.iterdir()} == {"majority", "crf"}
    assert read(out, "majority")["test"] == {"precision": 0, "recall": 0, "f1": 0}
    assert read(out, "crf")["test"]["f1"] > 0.9
    assert capsys.readouterr().out.splitlines()[0].endswith("left out: none")


def test_vectors_come_from_the_training_texts_and_the_further_ones_outside_the_test(tmp_path, compare, monkeypatch):
    monkeypatch.setattr(baseline_methods, "is_test", lambda hash_, fraction: hash_ % 2 == 0)
    args = baselines.BaselineArguments(
        task="x", output_dir="x", embedding_file=[str(tmp_path / "more.txt")], train_file=["x"]
    )
    texts = list(baseline_methods.EmbeddingTexts(args, ["uno dos"]))
    assert texts[0] == ["uno", "dos"]
    assert 50 < len(texts) < 151


@pytest.fixture
def measured(monkeypatch):
    """The methods that were measured; without their work."""
    measured = []

    def predict_nothing(args, own, pooled):
        def predict(seed):
            measured.append(seed)
            return {name: np.zeros(len(part), int) for name, part in own.parts().items()}

        return {"majority": predict}

    monkeypatch.setattr(baselines, "methods_of_texts", predict_nothing)
    return measured


def test_further_texts_are_read_once_before_the_methods_and_what_is_left_out_is_said(
    compare, tmp_path, measured, capsys
):
    with pytest.raises(InputError, match=r"nope\.txt: no such file"):
        compare("--embedding_file", tmp_path / "nope.txt")
    (tmp_path / "other.jsonl").write_text('{"text": "uno"}\n{"tweet": "dos"}\n')
    with pytest.raises(InputError, match="other.jsonl, line 2: no column 'text'"):
        compare("--embedding_file", tmp_path / "other.jsonl")
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(InputError, match="blank.txt: no usable text"):
        compare("--embedding_file", tmp_path / "blank.txt")
    assert not measured
    (tmp_path / "gaps.txt").write_text("uno\n\ndos\n" + "x" * 2**20 + "y\n")
    compare("--embedding_file", tmp_path / "gaps.txt", "--seeds", 1, 2)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("--embedding_file")]
    assert said == ["--embedding_file: 2 texts; left out: 1 empty, 1 over 1 MB"]
    assert measured == [1]


def test_texts_left_out_are_counted(compare, measured, capsys):
    compare("--region", "MX")
    assert "; left out: 150 of other regions" in capsys.readouterr().out


def test_output_folders_by_other_names(compare, tmp_path, measured, monkeypatch):
    """The folder one is in, and a link to a folder, which stays one."""
    (tmp_path / "here").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "here")
        compare("--output_dir", ".")
    (tmp_path / "linked").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "linked")
    compare(name="link")
    assert (tmp_path / "link").is_symlink()
    for name in ("here", "linked"):
        assert (tmp_path / name / "majority" / "metrics.json").exists()


def test_fasttext_vectors_do_not_change_from_run_to_run():
    args = baselines.BaselineArguments(task="x", output_dir="x", vector_size=8, fasttext_epochs=2)
    texts = {part: ["hola que tal", "que tal", "adios", ""] for part in ("train", "test")}
    first, again, other = (baseline_methods.fasttext(args, texts, seed)["test"] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (4, 8)


def test_seeds_and_folds(compare):
    """Every text is guessed once, by a method that did not learn from it; only fastText depends on the seed."""
    out = compare("--seeds", 3, 4, "--folds", 3)
    guesses = {method: read_guesses(out / method / GUESSES_FILE) for method in METHODS}
    assert len({found["fingerprint"] for found in guesses.values()}) == 1
    assert set(guesses["fasttext"]["by_seed"]) == {"3", "4"}
    assert set(guesses["tfidf"]["by_seed"]) == {"3"}
    found = guesses["tfidf"]
    assert (len(found["right"]), found["folds"], found["authors"]) == (300, 3, None)
    hits = np.array(found["by_seed"]["3"]) == np.array(found["right"])
    crossed = read(out, "tfidf")["cross_validation"]
    assert crossed["by_seed"]["3"]["accuracy"] == hits.mean() > 0.9
    assert crossed["texts"] == 300
    assert len(read(out, "fasttext")["seeds"]) == 2


def test_a_region_with_few_texts_gets_the_commonest_label():
    texts = {part: ["bueno uno", "malo dos"] * 40 + ["otro tres"] for part in ("train", "validation", "test")}
    labels = {part: np.array([0, 1] * 40 + [1]) for part in texts}
    labels["train"][:1] = 1  # the commonest one is 1
    regions = {part: np.array(["mx"] * 80 + ["uy"]) for part in texts}
    predicted = baseline_methods.regional_tfidf(texts, labels, regions, "none")["test"]
    assert list(predicted[-3:]) == [0, 1, 1]


def test_what_is_there_is_replaced_when_that_is_meant(compare):
    before = read(compare(), "fasttext")["test"]
    with pytest.raises(InputError, match="or --overwrite to replace what it holds"):
        compare("--seeds", 1)
    out = compare("--seeds", 1, "--overwrite")
    assert read(out, "fasttext")["seeds"][0]["seed"] == 1
    assert read(compare("--overwrite"), "fasttext")["test"] == before


def test_nothing_is_overwritten_and_wrong_flags_are_named(compare, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for flags in ((), ("--overwrite",)):
        with pytest.raises(InputError, match="out exists already"):
            compare(*flags)
    with pytest.raises(InputError, match="--vector_size 0 is not 1 or more"):
        compare("--vector_size", 0, name="other")
    for flag in ("--validation_file", "--test_file"):
        with pytest.raises(InputError, match="--test_file are for --task tokens: name the parts in a column split"):
            compare(flag, tmp_path / "opinions.jsonl", name="other")
    assert not (tmp_path / "other").exists()
