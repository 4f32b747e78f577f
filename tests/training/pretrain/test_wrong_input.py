"""Wrong flags, texts and folders: one line, and nothing of the user's is lost."""

import pytest

from training import pretrain
from training.common.errors import InputError


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
