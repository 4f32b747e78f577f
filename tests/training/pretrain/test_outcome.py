"""What a run leaves: a model, its scores and its records."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from modeling_bilma import BilmaConfig, BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS, build_tokenizer, load_tokenizer
from tests.training.conftest import write_texts
from tests.training.pretrain.conftest import FINISHED, WORDS
from training import pretrain
from training.common.provenance import weights_fingerprint
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.synthetic import generate_texts
from training.texts.token_cache import hashes_of, load_tokens


def test_the_output_folder_holds_the_model_and_its_results(train, texts, capsys):
    out = train("--max_steps", 40, "--learning_rate", 5e-3, "--eval_steps", 0.25)
    assert {path.name for path in out.iterdir()} == FINISHED
    metrics = json.loads((out / "metrics.json").read_text())
    validation, training = metrics["validation"], metrics["training"]
    evaluations = [point for point in metrics["history"] if "eval_loss" in point]
    assert [point["step"] for point in evaluations] == [10, 20, 30, 40]
    assert validation["loss"] == min(point["eval_loss"] for point in evaluations) < evaluations[0]["eval_loss"]
    assert validation["perplexity"] == pytest.approx(np.exp(validation["loss"]))
    best = min(evaluations, key=lambda point: point["eval_loss"])["step"]
    assert f", at step {best} of 40, " in capsys.readouterr().out.splitlines()[-1]
    assert validation["scored_tokens"] > 30
    assert training["texts_kept_for_testing"] > 10
    assert (
        training["texts"] + validation["texts"] + training["texts_kept_for_testing"]
        == metrics["corpus"]["texts"]
        == 400
    )
    assert (training["steps"], metrics["region"], metrics["corpus"]["names"]) == (40, "mx", ["mx.jsonl"])
    assert set(metrics["versions"]) >= {"torch", "transformers", "modeling_bilma"}
    args = json.loads((out / "training_args.json").read_text())
    assert args["learning_rate"] == 5e-3
    assert not [path for path in FINISHED if path.endswith("json") and str(texts.parent) in (out / path).read_text()]


def test_the_model_in_the_folder_has_the_accuracy_in_its_metrics(train):
    """Computed again from the saved folder alone, with dense logits, one text in a row."""
    out = train("--max_steps", 20, "--learning_rate", 5e-3)
    metrics = json.loads((out / "metrics.json").read_text())["validation"]
    assert {weight.dtype for weight in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    model = BilmaForMaskedLM.from_pretrained(out, dtype=torch.float32).eval()
    assert not model.config.sparse_prediction
    assert model.config.region == "mx"
    data = pretrain_validation(out)
    loss = correct = scored = 0
    for micro in data:
        labels = micro.pop("labels")
        with torch.no_grad():
            logits = model(**micro).logits
        there = labels != -100
        loss += torch.nn.functional.cross_entropy(logits[there], labels[there], reduction="sum").item()
        correct += int((logits.argmax(-1) == labels)[there].sum())
        scored += int(there.sum())
    assert scored == metrics["scored_tokens"]
    assert correct / scored == pytest.approx(metrics["masked_accuracy"], abs=1e-6)
    assert loss / scored == pytest.approx(metrics["loss"], rel=1e-3)


def pretrain_validation(out):
    tokenizer = load_tokenizer(out)
    corpus = Corpus(files=(write_texts(out.parent / "again.jsonl", generate_texts("mx", 400)),))
    tokens, _ = load_tokens(corpus, tokenizer, 32, out.parent / "cache")
    hashes = hashes_of(tokens)
    held_out = np.flatnonzero(hashes < int(0.05 * 2**63))
    steps = MaskedSteps(tokens, held_out, tokenizer, 32, 16384, seed=0, shuffle=False)
    return [micro for number in range(steps.steps_per_epoch) for micro in steps[number].micro_batches]


@pytest.mark.slow
def test_two_runs_give_the_same_weights(train):
    first, second = (load_file(train(name=name) / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = load_file(train("--seed", 1, name="c") / "model.safetensors")
    assert not torch.equal(first[WORDS], other[WORDS])


def test_the_tokenizer_cuts_where_the_model_ends(train):
    out = train()
    fill = pipeline("fill-mask", model=str(out), trust_remote_code=True)
    assert fill.tokenizer.model_max_length == 40
    assert len(fill("[MASK] " + "hola " * 100, top_k=2, tokenizer_kwargs={"truncation": True})) == 2


def test_bf16(train):
    metrics = json.loads((train("--mixed_precision", "bf16") / "metrics.json").read_text())
    assert metrics["machine"]["mixed_precision"] == "bf16"
    assert np.isfinite(metrics["validation"]["loss"])


def test_decay_is_for_matrices_only(train):
    args = pretrain.PretrainArguments(region="mx", output_dir="x", weight_decay=0.3)
    model = BilmaForMaskedLM(BilmaConfig(vocab_size=50, hidden_size=32, head_dim=16))
    decayed, plain = pretrain.make_optimizer(args, model).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0)
    assert {p.ndim for p in decayed["params"]} == {2} and {p.ndim for p in plain["params"]} == {1}


def test_continuing_from_another_model(train, refused, tmp_path):
    base = train(name="base")
    as_base = ("--init_from", base, "--config_overrides", "")
    out = train(*as_base, "--region", "uy", "--max_steps", 1, "--learning_rate", 1e-9, name="uy")
    assert (out / "tokenizer.json").read_text() == (base / "tokenizer.json").read_text()
    a, b = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert json.loads((out / "config.json").read_text())["region"] == "uy"
    assert json.loads((out / "metrics.json").read_text())["base_fingerprint"] == weights_fingerprint(base)
    build_tokenizer([*SPECIAL_TOKENS, "otro"]).save_pretrained(tmp_path / "tokenizer")
    message = refused(*as_base, "--tokenizer", tmp_path / "tokenizer", name="misfit")
    assert "does not fit the model" in message
    assert "no tokenizer could be opened" in refused("--init_from", tmp_path / "cache", name="none")
    assert "is for a new model" in refused("--init_from", base, name="sizes")
    classifier = BilmaForSequenceClassification(BilmaForMaskedLM.from_pretrained(base).config)
    classifier.save_pretrained(tmp_path / "classifier")
    load_tokenizer(base).save_pretrained(tmp_path / "classifier")
    message = refused("--init_from", tmp_path / "classifier", "--config_overrides", "", name="headless")
    assert "not a whole BilmaForMaskedLM: it lacks decoder.bias" in message


def test_the_published_recipe_trains_a_model_that_attends_to_its_padding(train):
    config = json.loads((train("--recipe", "published", "--max_steps", 2) / "config.json").read_text())
    assert (config["attend_to_padding"], config["tie_word_embeddings"]) == (True, False)


def test_a_validation_file_keeps_its_texts_out_of_training(train, texts, tmp_path):
    some = tmp_path / "validation.jsonl"
    some.write_text("".join(texts.read_text().splitlines(keepends=True)[:30]))
    metrics = json.loads((train("--validation_file", some, "--test_fraction", 0) / "metrics.json").read_text())
    assert (metrics["validation"]["texts"], metrics["training"]["texts"]) == (30, 370)


def test_tensorboard_on_request(train):
    logs = train("--report_to", "tensorboard") / "logs"
    assert [path for path in logs.rglob("*") if "tfevents" in path.name]
    assert not (train("--report_to", "none", name="none") / "logs").exists()


@pytest.mark.slow
def test_a_base_that_training_makes_worse_is_kept(train, capsys):
    base = train("--max_steps", 20, "--learning_rate", 5e-3, name="base")
    flags = ("--init_from", base, "--config_overrides", "", "--learning_rate", 0.5, "--warmup_ratio", 0)
    metrics = json.loads((train(*flags) / "metrics.json").read_text())
    evaluated = [point["step"] for point in metrics["history"] if "eval_loss" in point]
    assert (metrics["validation"]["step"], evaluated) == (0, [0, 3, 6])
    assert "no evaluation was better than the model of --init_from" in capsys.readouterr().out
    a, b = (load_file(folder / "model.safetensors") for folder in (base, base.parent / "out"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_validation_masks_do_not_depend_on_the_share_masked_in_training(train):
    few, many = (train("--mlm_probability", share, name=f"masks-{share}") for share in (0.1, 0.5))
    scored = [json.loads((out / "metrics.json").read_text())["validation"]["scored_tokens"] for out in (few, many)]
    assert scored[0] == scored[1]
