import json

import numpy as np
import pytest
import torch
from transformers import pipeline

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.published import EMOJI_15
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.conftest import tiny_config
from tests.training.conftest import SAVED, run_main, write_texts
from training import finetune
from training.common.provenance import weights_fingerprint
from training.finetuning.guesses import GUESSES_FILE, read_guesses
from training.texts.synthetic import generate_texts

FINISHED = {*SAVED, "test_guesses.json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny pretrained model, raw texts, texts whose first word decides the label, and texts with tagged words."""
    folder = tmp_path_factory.mktemp("finetune")
    texts = generate_texts("mx", 900)
    torch.manual_seed(0)  # made before the seed of the first test is set
    tokenizer = build_tokenizer([*train_vocabulary(texts, 500), "[AR]", "[MX]"], max_length=40)
    BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).save_pretrained(folder / "bilma")
    tokenizer.save_pretrained(folder / "bilma")
    write_texts(folder / "raw.jsonl", texts)
    opinions = [f"{('bueno', 'malo')[number % 2]} {text}" for number, text in enumerate(texts[:300])]
    write_texts(folder / "foreign.jsonl", opinions, label="PN" * 150, region=["es"] * 300)
    regions = ["ar", "mx"] * 150
    write_texts(folder / "opinions.jsonl", opinions, label="PN" * 150, region=regions)
    names = [text.split()[-1] for text in texts[:200]]
    lines = [f"en O\nNueva B-LOC\nYork I-LOC\ncon O\nÁna{name} B-PER\n{name} O\n" for name in names]
    (folder / "tagged.conll").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def tune(tmp_path, folder):
    """Run the script in this process on tiny settings; returns its output folder."""

    def tune(*argv: object, name="out", file="opinions.jsonl", model=None):
        settings = {
            "model": model or folder / "bilma",
            "task": "sentiment",
            "train_file": folder / file,
            "output_dir": tmp_path / name,
            "num_train_epochs": 1,
            "max_length": 24,
            "mixed_precision": "no",
            "num_threads": 1,
        }
        return run_main(finetune, *argv, **settings)

    return tune


@pytest.fixture
def refused(tune, refusal):
    """Run the script on wrong input; returns the one line that it says."""
    return lambda *argv, **options: refusal(finetune, lambda: tune(*argv, **options))


def read(out):
    return json.loads((out / "metrics.json").read_text())


def test_emoji15_from_raw_texts_opens_as_a_pipeline_with_emoji_for_labels(tune, folder):
    out = tune("--task", "emoji15", "--seeds", 3, 4, "--class_weights", "balanced", file="raw.jsonl")
    assert {path.name for path in out.iterdir()} == FINISHED
    classify = pipeline("text-classification", model=str(out))
    answers = classify("qué rico el café", top_k=None)
    assert {answer["label"] for answer in answers} == set(EMOJI_15)
    assert list(classify.model.config.id2label.values()) == list(EMOJI_15)
    assert classify.tokenizer.model_max_length == 40
    metrics = read(out)
    assert metrics["seconds"] > 0
    assert metrics["base_fingerprint"] == weights_fingerprint(folder / "bilma")
    runs = metrics["seeds"]
    assert [run["seed"] for run in runs] == [3, 4]
    kept = max(runs, key=lambda run: run["validation"]["accuracy"])
    assert (metrics["kept_seed"], metrics["test"]) == (kept["seed"], kept["test"])
    accuracies = [run["test"]["accuracy"] for run in runs]
    assert metrics["mean"]["test"]["accuracy"] == pytest.approx(sum(accuracies) / 2)
    assert metrics["std"]["test"]["accuracy"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert metrics["texts"]["train"]["texts"] > metrics["texts"]["validation"]["texts"] > 5
    assert not [name for name in FINISHED if name.endswith("json") and str(folder) in (out / name).read_text()]


@pytest.mark.parametrize(
    "flags",
    [
        ("--pooling", "max", "--mlm_weight", 0),
        ("--pooling", "mean", "--mlm_weight", 0.3),
        ("--pooling", "mask", "--mlm_weight", 0.3),
    ],
)
def test_it_learns_and_the_saved_model_has_the_scores_of_its_metrics(tune, folder, flags):
    settings = {"num_train_epochs": 12, "patience": 12, "learning_rate": 4e-3, "texts_per_step": 16}
    out = tune(*flags, *(word for name, value in settings.items() for word in (f"--{name}", value)))
    metrics = read(out)
    assert metrics["test"]["accuracy"] > 0.9
    assert metrics["labels"] == ["N", "P"]
    classify = pipeline("text-classification", model=str(out))
    assert classify(["bueno", "malo"], batch_size=2)[0]["label"] == "P"
    history = metrics["seeds"][0]["history"]
    assert metrics["validation"]["accuracy"] == max(epoch["accuracy"] for epoch in history)
    assert BilmaForSequenceClassification.from_pretrained(out).config.pooling == flags[1]


def test_words_are_tagged_and_entities_found_in_the_users_own_text(tune):
    flags = ("--learning_rate", 4e-3, "--num_train_epochs", 30, "--patience", 30, "--mlm_weight", 0)
    out = tune("--task", "tokens", *flags, file="tagged.conll")
    metrics = read(out)
    assert metrics["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert metrics["test"]["f1"] > 0.9
    assert metrics["validation"]["f1"] == max(epoch["f1"] for epoch in metrics["seeds"][0]["history"])
    entities = {name: scores["entities"] for name, scores in metrics["test_by_class"].items()}
    texts = metrics["texts"]["test"]["texts"]
    assert (entities["LOC"], entities["PER"]) == (texts, texts)
    tag = pipeline("token-classification", model=str(out), aggregation_strategy="simple")
    text = "EN  Nueva York con ÁNAtacos tacos"
    spans = {(span["entity_group"], text[span["start"] : span["end"]]) for span in tag(text)}
    assert spans == {("LOC", "Nueva York"), ("PER", "ÁNAtacos")}


def test_texts_of_several_regions_begin_with_their_tokens_and_are_scored_by_region(tune):
    out = tune("--region_tokens", "--test_fraction", 0.2)
    pooled, plain = read(out), read(tune("--test_fraction", 0.2, name="plain"))
    assert set(pooled["test_by_region"]) == {"ar", "mx"}
    counts = [scores["texts"] for scores in pooled["test_by_region"].values()]
    assert sum(counts) == pooled["texts"]["test"]["texts"]
    assert pooled["seeds"][0]["history"][0]["loss"] != plain["seeds"][0]["history"][0]["loss"]
    assert BilmaForSequenceClassification.from_pretrained(out).config.region_tokens
    assert not BilmaForSequenceClassification.from_pretrained(out.parent / "plain").config.region_tokens


@pytest.mark.slow
def test_seeds_are_averaged_and_the_average_goes_on_with_one_region(tune):
    out = tune("--seeds", 1, 2, 3, "--soup", "--num_train_epochs", 2, "--learning_rate", 2e-3)
    metrics = read(out)
    assert metrics["validation"]["accuracy"] >= max(run["validation"]["accuracy"] for run in metrics["seeds"])
    assert set(metrics["soup_seeds"]) <= {1, 2, 3}
    guesses = read_guesses(out / GUESSES_FILE)
    assert (np.array(guesses["average"]) == np.array(guesses["right"])).mean() == metrics["test"]["accuracy"]
    frozen = ("--mlm_weight", 0, "--learning_rate", 1e-12)
    again = read(tune(*frozen, model=out, name="again"))
    assert (again["validation"], again["test"]) == (metrics["validation"], metrics["test"])


@pytest.mark.slow
def test_every_seed_guesses_the_test_texts_and_with_folds_all_texts(tune):
    out = tune("--seeds", 1, 2)
    guesses, metrics = read_guesses(out / GUESSES_FILE), read(out)
    assert list(guesses["by_seed"]) == ["1", "2"]
    for run in metrics["seeds"]:
        hits = np.array(guesses["by_seed"][str(run["seed"])]) == np.array(guesses["right"])
        assert hits.mean() == run["test"]["accuracy"]
    crossed = tune("--folds", 2, name="crossed")
    found = read_guesses(crossed / GUESSES_FILE)
    assert (len(found["right"]), found["folds"]) == (300, 2)
    hits = np.array(found["by_seed"]["0"]) == np.array(found["right"])
    assert read(crossed)["cross_validation"]["mean"]["accuracy"] == hits.mean()


def test_folds_are_cut_before_training(refused, monkeypatch):
    monkeypatch.setattr(finetune, "train_seed", lambda *_: pytest.fail("trained first"))
    assert "--folds 200: fold" in refused("--folds", 200)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_training(tune):
    first, again = (read(tune("--seeds", 5, name=name))["seeds"] for name in ("a", "b"))
    assert first == again
    assert read(tune("--seeds", 6, name="c"))["seeds"][0]["history"][0]["loss"] != first[0]["history"][0]["loss"]


def test_training_stops_after_epochs_without_gain(tune):
    run = read(tune("--learning_rate", 1e-9, "--num_train_epochs", 9, "--patience", 2))["seeds"][0]
    assert (run["best_epoch"], run["epochs"]) == (1, 3)


def test_guesses_name_the_folder_one_is_in(tune, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tune("--output_dir", ".", "--mlm_weight", 0)
    assert read_guesses(tmp_path / "here" / GUESSES_FILE)["method"] == "here"


def test_the_published_recipe(tune):
    args = json.loads((tune("--recipe", "finetune_published") / "training_args.json").read_text())
    published = {"learning_rate": 5e-6, "mlm_weight": 0.5, "validation_fraction": 0.1, "patience": 2, "pooling": "cls"}
    assert {name: args[name] for name in published} == published


def test_nothing_is_overwritten(tune, refused, folder, tmp_path):
    out = tune()
    assert "already holds a model" in refused()
    tune("--overwrite")
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    (pretrained / "config.json").write_text((folder / "bilma" / "config.json").read_text())
    assert "holds a model that is no classifier of ours" in refused("--overwrite", name="pretrained")
    (out / "config.json").unlink()
    assert "holds other files" in refused("--overwrite")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["train_seed", "finish", "put_in_place"])
def test_an_interrupted_run_leaves_no_model_and_is_begun_again(tune, monkeypatch, place):
    def die(*_):
        raise KeyboardInterrupt

    seeds = ("--seeds", 1, 2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finetune, place, die)
        tune(*seeds)
    out = tune(*seeds)
    assert {path.name for path in out.iterdir()} == FINISHED
    before = {path: path.read_bytes() for path in out.iterdir()}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finetune, place, die)
        tune(*seeds, "--overwrite", "--learning_rate", 1e-3)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    tune(*seeds, "--overwrite", "--learning_rate", 1e-3)
    assert {path.name for path in out.iterdir()} == FINISHED
    assert (out / "model.safetensors").read_bytes() != before[out / "model.safetensors"]


def test_wrong_input_is_named(refused, tmp_path):
    assert "no tokenizer could be opened" in refused(model=tmp_path)
    write_texts(tmp_path / "plain.jsonl", ["sin nada"])
    assert "exactly one kind" in refused("--task", "emoji15", "--train_file", tmp_path / "plain.jsonl")
    assert "no column 'gold'" in refused("--label_column", "gold")
    assert "--max_length 41 is more than the 40 positions" in refused("--max_length", 41)
    assert "invalid choice: 'median'" in refused("--pooling", "median")
    assert "--mlm_weight 1.0 is not from 0" in refused("--mlm_weight", 1)
    assert "two --seeds or more" in refused("--soup")
    assert "no special token [ES]" in refused("--region_tokens", file="foreign.jsonl")
    assert "--test_file are for --task tokens" in refused("--test_file", tmp_path / "plain.jsonl")
    assert "--seeds 1 1: give different numbers" in refused("--seeds", 1, 1)
    assert "--folds 1: give 2 or more" in refused("--folds", 1)
    assert "--folds is for classes of texts" in refused("--folds", 2, "--task", "tokens")
    assert "--test_fraction 0.0 is not above 0" in refused("--test_fraction", 0)
    assert not (tmp_path / "out" / "config.json").exists()
