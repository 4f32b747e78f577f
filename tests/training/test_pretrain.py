import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from modeling_bilma import BilmaConfig, BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.tokenization_bilma import SPECIAL_TOKENS, build_tokenizer, load_tokenizer, train_vocabulary
from tests.conftest import ROOT, TINY_OVERRIDES
from tests.training.conftest import SAVED, run_main, write_texts
from training import pretrain
from training.common.errors import InputError
from training.common.provenance import weights_fingerprint
from training.engine import checkpoints
from training.pretraining import loop
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.synthetic import generate_texts
from training.texts.token_cache import hashes_of, load_tokens

WORDS = "bilma.embeddings.word_embeddings.weight"
FINISHED = SAVED | {"loss_curve.png"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("corpus") / "mx.jsonl", generate_texts("mx", 400))


@pytest.fixture
def train(tmp_path, texts):
    """Run the script in this process on tiny settings; returns its output folder."""

    def train(*argv: object, name="out", train_file=texts):
        settings = {
            "region": "mx",
            "output_dir": tmp_path / name,
            "cache_dir": tmp_path / "cache",
            "config_overrides": TINY_OVERRIDES,
            "max_steps": 6,
            "max_length": 32,
            "texts_per_step": 32,
            "vocab_size": 400,
            "mixed_precision": "no",
            "num_threads": 1,
            "logging_steps": 2,
            "eval_steps": 3,
            "save_steps": 2,
        }
        return run_main(pretrain, *argv, **settings, **({"train_file": train_file} if train_file else {}))

    return train


@pytest.fixture
def refused(train, refusal):
    """Run the script on wrong input; returns its one-line error."""
    return lambda *argv, **options: refusal(pretrain, lambda: train(*argv, **options))


def test_the_output_folder_holds_the_model_and_its_results(train, texts):
    out = train("--max_steps", 40, "--learning_rate", 5e-3, "--eval_steps", 0.25)
    assert {path.name for path in out.iterdir()} == FINISHED
    metrics = json.loads((out / "metrics.json").read_text())
    validation, training = metrics["validation"], metrics["training"]
    evaluations = [point for point in metrics["history"] if "eval_loss" in point]
    assert [point["step"] for point in evaluations] == [10, 20, 30, 40]
    assert validation["loss"] == min(point["eval_loss"] for point in evaluations) < evaluations[0]["eval_loss"]
    assert validation["perplexity"] == pytest.approx(np.exp(validation["loss"]))
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


@pytest.mark.parametrize("die_at", [2, 4])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(train, monkeypatch, die_at):
    unbroken = load_file(train(name="unbroken") / "model.safetensors")
    save = loop.save_checkpoint

    def save_and_die(accelerator, folder, state, best, keep):
        save(accelerator, folder, state, best, keep)
        if state.step == die_at:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(name="broken")
    monkeypatch.setattr(loop, "save_checkpoint", save)
    out = train("--resume", name="broken")
    resumed = load_file(out / "model.safetensors")
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["training"]["texts_seen"] == 6 * 32
    assert [point["step"] for point in metrics["history"] if "loss" in point] == [2, 4, 6]


def test_checkpoints_by_the_step_and_by_the_clock(train, monkeypatch, refused):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)
    names = [f"step-{step:09d}" for step in range(1, 7)]
    work_dir = train("--save_steps", 100, "--save_minutes", 1e-9, "--keep_checkpoints", 4) / "unfinished_run"
    assert sorted(path.name for path in work_dir.glob("step-*")) == names[2:]
    work_dir = train("--save_steps", 3, "--save_minutes", 60, name="by_step") / "unfinished_run"
    assert sorted(path.name for path in work_dir.glob("step-*")) == [names[2], names[5]]
    assert "--keep_checkpoints 0 is not 1 or more" in refused("--keep_checkpoints", 0)
    assert "--save_minutes 0.0 is not above 0" in refused("--save_minutes", 0)
    assert "--max_bad_batches -1 is not from 0" in refused("--max_bad_batches", -1)


@pytest.fixture
def shards(tmp_path, texts):
    """The texts as three Parquet files, and a tokenizer for them: what streaming needs."""
    lines = [json.loads(line)["text"] for line in texts.read_text().splitlines()]
    for number, part in enumerate(np.array_split(lines, 3)):
        (tmp_path / "shards").mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": list(part)}), tmp_path / "shards" / f"{number}.parquet", row_group_size=50)
    build_tokenizer(train_vocabulary(lines, 400, 5)).save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "shards"


@pytest.mark.slow
def test_a_streamed_run_goes_on_as_an_unbroken_one_and_names_a_replaced_file(train, refused, shards, monkeypatch):
    flags = ("--streaming", "--tokenizer", shards.parent / "tokenizer", "--max_steps", 16)  # beyond an epoch
    out = train(*flags, name="unbroken", train_file=shards)
    unbroken, metrics = load_file(out / "model.safetensors"), json.loads((out / "metrics.json").read_text())
    assert metrics["corpus"]["texts"] == 400 and metrics["corpus"]["shards"] == 3
    assert 16 * 32 * 0.8 < metrics["training"]["texts_seen"] < 16 * 32
    save = loop.save_checkpoint

    def save_and_die(accelerator, folder, state, *others):
        save(accelerator, folder, state, *others)
        if state.step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(*flags, name="out", train_file=shards)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    kept = (shards / "1.parquet").read_bytes()
    pq.write_table(pa.table({"text": ["otro"] * 134}), shards / "1.parquet", row_group_size=50)
    assert "of the training texts 1.parquet has changed" in refused(*flags, "--resume", train_file=shards)
    (shards / "1.parquet").write_bytes(kept)
    resumed = load_file(train(*flags, "--resume", name="out", train_file=shards) / "model.safetensors")
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


@pytest.mark.slow
def test_streaming_trains_on_the_texts_and_validates_on_the_side_that_a_whole_reading_does(train, shards):
    flags = ("--tokenizer", shards.parent / "tokenizer", "--max_steps", 13)
    whole, streamed = (
        json.loads((train(*flags, *more, name=name, train_file=shards) / "metrics.json").read_text())
        for name, more in {"whole": (), "streamed": ("--streaming",)}.items()
    )
    assert streamed["validation"]["texts"] == whole["validation"]["texts"]
    assert streamed["validation"]["scored_tokens"] == whole["validation"]["scored_tokens"]
    assert streamed["training"]["texts_seen"] == whole["training"]["texts"]  # 13 streamed steps are an epoch


def test_streaming_asks_for_what_it_needs(refused, shards, texts):
    assert "--streaming needs --tokenizer or --init_from" in refused("--streaming", train_file=shards)
    flags = ("--streaming", "--tokenizer", shards.parent / "tokenizer")
    assert "mx.jsonl: --streaming reads Parquet files only" in refused(*flags)
    message = refused(*flags, "--streaming_lanes", 33, train_file=shards)
    assert "--streaming_lanes 33 is not from 1 to --texts_per_step" in message


def test_an_unfinished_run_is_neither_lost_nor_mixed_up(train, refused, monkeypatch, texts, tmp_path):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)  # as if it died in its last moment
    train()
    assert "unfinished run: continue it with --resume, or start over with --overwrite" in refused()
    for flag, value in {"seed": 1, "learning_rate": 1e-4, "max_length": 30, "validation_fraction": 0.5}.items():
        assert f"cannot resume, {flag} was" in refused("--resume", f"--{flag}", value)
    changed = tmp_path / "mx.jsonl"
    changed.write_text(texts.read_text().replace("comer", "cenar"))
    assert "of the training texts mx.jsonl has changed" in refused("--resume", train_file=changed)
    monkeypatch.undo()


@pytest.mark.slow
def test_an_interrupted_overwrite_can_be_resumed(train, monkeypatch):
    before = (train() / "model.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "finish", lambda *_: None)
        out = train("--overwrite", "--seed", 1)
    assert (out / "model.safetensors").read_bytes() == before
    train("--resume", "--seed", 1)
    assert (out / "model.safetensors").read_bytes() != before
    assert {path.name for path in out.iterdir()} == FINISHED


def test_other_files_are_left_alone(refused, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert "holds other files (thesis.txt)" in refused()
    assert "holds other files (thesis.txt)" in refused("--overwrite")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_after_wrong_input_the_same_folder_serves(train, refused, tmp_path):
    (tmp_path / "bad.txt").write_text(" ")
    assert "no usable text" in refused(train_file=tmp_path / "bad.txt")
    train()


def test_a_validation_text_without_a_mask_is_refused(refused, tmp_path):
    (tmp_path / "one.txt").write_text("hola")
    assert "no token of the validation texts is masked" in refused("--validation_file", tmp_path / "one.txt")


def test_the_tokenizer_cuts_where_the_model_ends(train):
    out = train()
    fill = pipeline("fill-mask", model=str(out), trust_remote_code=True)
    assert fill.tokenizer.model_max_length == 40
    assert len(fill("[MASK] " + "hola " * 100, top_k=2, tokenizer_kwargs={"truncation": True})) == 2


def test_bf16(train):
    metrics = json.loads((train("--mixed_precision", "bf16") / "metrics.json").read_text())
    assert metrics["machine"]["mixed_precision"] == "bf16"
    assert np.isfinite(metrics["validation"]["loss"])


def test_resuming_a_finished_run_changes_nothing(train, capsys):
    out = train()
    before = {path: path.read_bytes() for path in out.iterdir()}
    train("--resume")
    assert "train the model further, start another run with --init_from" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.iterdir()} == before


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


def test_a_checkpoint_of_another_version_is_named(train, refused, monkeypatch):
    monkeypatch.setattr(pretrain, "finish", lambda *_: None)
    for state in (train() / "unfinished_run").glob("step-*/run_state.json"):
        state.write_text("{}")
        (state.parent / checkpoints.MANIFEST).unlink()
        checkpoints.write_manifest(state.parent)
    assert "a checkpoint of another version of this code" in refused("--resume")


def test_wrong_flags_are_named(refused, tmp_path, texts):
    assert "give either --train_file or --dataset_name" in refused("--dataset_name", "org/tweets")
    assert "give --num_train_epochs or --max_steps, not both" in refused("--num_train_epochs", 1, "--max_steps", 6)
    assert "between 0 and 1" in refused("--validation_fraction", 2)
    assert "choose one of auto, no, bf16, fp16" in refused("--mixed_precision", "int8")
    assert "choose one of cosine, linear" in refused("--lr_scheduler_type", "reduce_lr_on_plateau")
    assert "--seed -1 is not from 0" in refused("--seed", -1)
    assert "--warmup_ratio 5.0 is not from 0" in refused("--warmup_ratio", 5)
    assert "and --decay_ratio go together" in refused("--lr_scheduler_type", "warmup_stable_decay")
    assert "and --decay_ratio go together" in refused("--decay_ratio", 0.5)
    stable = "--lr_scheduler_type", "warmup_stable_decay", "--decay_ratio", 0.9
    assert "add up to more than 1" in refused(*stable, "--warmup_ratio", 0.2)
    assert "this tracker is not installed" in refused("--report_to", "wandb")
    assert "--resume or --overwrite, not both" in refused("--resume", "--overwrite")
    assert "--texts_per_step 0 is not 1 or more" in refused("--texts_per_step", 0)
    assert "'hiden_size=9': not name=value" in refused("--config_overrides", "hiden_size=9")
    assert "'to_dict=3': not name=value" in refused("--config_overrides", "to_dict=3")
    assert "hidden_act='foo' is unknown" in refused("--config_overrides", "hidden_act=foo")
    assert "hidden_size=33 is odd" in refused("--config_overrides", "hidden_size=33")
    assert "--max_length 64 is more than the 40 positions" in refused("--max_length", 64)
    assert "unknown flag --learning_rat: did you mean --learning_rate" in refused("--learning_rat", 1)


def test_wrong_input_is_named_and_nothing_is_written(refused, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "uno"}\n{"text": \n')
    assert "gone.txt: no such file or folder" in refused(train_file=tmp_path / "gone.txt")
    assert "bad.jsonl, line 2: not valid JSON" in refused(train_file=bad)
    bad.write_text('{"tweet": "uno"}\n')
    assert "no column 'text'; there are: tweet" in refused(train_file=bad)
    bad.write_text('{"text": "  "}\n')
    assert "no usable text" in refused(train_file=bad)
    assert "org/tweets" in refused("--dataset_name", "org/tweets", train_file=None)
    bad.write_text('{"text": "uno dos"}\n')
    assert "is left for" in refused(train_file=bad)
    (tmp_path / "file").write_text("")
    assert "file is a file: give a folder" in refused(name="file")
    assert "file is a file, so" in refused(name="file/out")
    assert "vocab_size=10 is less than the" in refused("--vocab_size", 10)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("hola\nadios\n")
    assert "vocab.txt does not begin with the special tokens" in refused("--tokenizer", vocabulary)
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_model_in_the_way_is_kept(train, refused):
    out = train()
    before = (out / "model.safetensors").read_bytes()
    assert "already holds a model: give another --output_dir, or --overwrite" in refused("--seed", 1)
    assert (out / "model.safetensors").read_bytes() == before
    train("--overwrite", "--seed", 1)
    assert (out / "model.safetensors").read_bytes() != before


def test_a_loss_that_is_nan_stops_the_run(refused, tmp_path):
    assert "step 2: the loss is nan" in refused("--learning_rate", 1e30, "--warmup_ratio", 0)
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_region_without_published_epochs_needs_a_number():
    with pytest.raises(InputError, match="published number of epochs: give --num_train_epochs"):
        args = pretrain.PretrainArguments(region="pe", output_dir="x", train_file=["a"])
        pretrain.check_arguments(args, pretrain.get_region("pe"))


LAUNCHERS = {
    1: ["accelerate.commands.launch", "--quiet", "--cpu", "--num_processes", "1"],
    # `accelerate launch` starts several processes without a GPU only through MPI.
    2: ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
}


@pytest.mark.slow
def test_one_process_or_two_end_with_the_same_scores(texts, tmp_path):
    """As users run it: two processes share the steps, and only the first one writes."""
    scores, curves = {}, {}
    for processes, launcher in LAUNCHERS.items():
        out = tmp_path / str(processes)
        command = [sys.executable, "-m", *launcher, ROOT / "training" / "pretrain.py"]
        flags = {
            "--region": "mx",
            "--train_file": texts,
            "--output_dir": out,
            "--cache_dir": tmp_path / "cache",
            "--config_overrides": f"{TINY_OVERRIDES},hidden_dropout_prob=0",
            "--max_steps": 50,
            "--max_length": 32,
            "--logging_steps": 1,
            "--texts_per_step": 31,
            "--vocab_size": 400,
            "--mixed_precision": "no",
            "--num_threads": 1,
        }
        subprocess.run(
            list(map(str, [*command, *(word for pair in flags.items() for word in pair)])),
            check=True,
            capture_output=True,
            timeout=200,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        )
        assert {path.name for path in out.iterdir()} == FINISHED
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["machine"]["processes"] == processes
        curves[processes] = [point["loss"] for point in metrics["history"] if "loss" in point]
        scores[processes] = metrics["validation"]["loss"]
    assert len(curves[1]) == 50
    assert curves[2] == pytest.approx(curves[1], abs=1e-5)
    assert scores[2] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.slow
def test_a_killed_worker_ends_the_run(texts, tmp_path):
    """As users run it: the launcher ends with an error, and the process that is left says why in one line."""
    script = tmp_path / "pretrain.py"
    script.write_text(
        "from benchmarks.laboratory import SIGKILL, Fault, pretrain, run\n"
        "Fault('a step', 4, SIGKILL, rank=1)()\n"
        "run(pretrain.main)\n"
    )
    flags = [
        "--region",
        "mx",
        "--train_file",
        texts,
        "--output_dir",
        tmp_path / "out",
        "--cache_dir",
        tmp_path / "cache",
    ]
    flags += ["--config_overrides", TINY_OVERRIDES, "--max_length", 32, "--vocab_size", 400, "--save_steps", 2]
    ended = subprocess.run(
        [sys.executable, "-m", *LAUNCHERS[2], script, *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 1
    assert "error: another process of this run died" in ended.stderr
    assert [path.name for path in (tmp_path / "out" / "unfinished_run").glob("step-*")] == ["step-000000002"]


def test_validation_masks_do_not_depend_on_the_share_masked_in_training(train):
    few, many = (train("--mlm_probability", share, name=f"masks-{share}") for share in (0.1, 0.5))
    scored = [json.loads((out / "metrics.json").read_text())["validation"]["scored_tokens"] for out in (few, many)]
    assert scored[0] == scored[1]
