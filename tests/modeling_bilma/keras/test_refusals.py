"""Files, vocabularies, Hub ids and folders that cannot be converted: one line, and nothing is written."""

from unittest.mock import Mock

import h5py
import numpy as np
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError

from modeling_bilma import convert_keras, keras_weights
from modeling_bilma.convert_keras import convert
from modeling_bilma.keras_weights import read_keras_file
from tests.modeling_bilma.keras import keras_files
from tests.modeling_bilma.keras.keras_files import (
    POSITIONS,
    VOCABULARY,
    D,
    H,
    K,
    V,
    check_mlm,
    full_layout,
    hub_layout,
    write_h5,
)

ANSWER = Mock(headers={})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda whole: b"a text", "m.h5 is not an HDF5 file"),
        (lambda whole: whole[: len(whole) // 50], "m.h5 is damaged or truncated"),
        (lambda whole: whole[: len(whole) // 2], "m.h5 is damaged or truncated"),
        (lambda whole: whole[: len(whole) * 99 // 100], "m.h5 is damaged or truncated"),
    ],
    ids=["text", "2 %", "50 %", "99 %"],
)
def test_a_file_that_is_no_whole_hdf5(refused, tmp_path, change, line):
    file = tmp_path / "m.h5"
    refused("m.h5 does not exist")
    file.write_bytes(change(write_h5(file, full_layout()).read_bytes()))
    refused(line)


@pytest.mark.parametrize(
    ("tensor", "line"),
    [
        (("layers/dense/vars/0", np.ones((2, 3), np.float32)), "is not a BILMA model"),
        (("table", np.array([1, 2])), "table is of type int64"),
    ],
)
def test_hdf5_of_something_else(refused, tmp_path, tensor, line):
    write_h5(tmp_path / "m.h5", dict([tensor]), model_config=None)
    refused(line)


@pytest.mark.parametrize("layout", [full_layout, hub_layout])
def test_each_missing_tensor_is_named(refused, tmp_path, layout):
    for name in layout():
        tensors = layout()
        del tensors[name]
        with pytest.raises(ValueError, match="missing tensor") as error:
            keras_weights.assign_weights(read_keras_file(write_h5(tmp_path / "m.h5", tensors)))
        known_absent = "embeddings" if name.endswith("embeddings:0") else name.removesuffix(":0")
        assert known_absent in str(error.value) or "word embedding" in str(error.value)
    del tensors[next(iter(tensors))]
    write_h5(tmp_path / "m.h5", tensors)
    refused("missing tensor")


def test_each_misshapen_tensor_is_named(tmp_path):
    for name, values in full_layout(classification=True).items():
        tensors = full_layout(classification=True)
        tensors[name] = np.ones((*values.shape[:-1], values.shape[-1] + 1), np.float32)
        with pytest.raises(ValueError, match="tensor"):
            keras_weights.assign_weights(read_keras_file(write_h5(tmp_path / "m.h5", tensors)))


def test_misshapen_tensors_with_both_shapes(refused, tmp_path):
    tensors = full_layout()
    name = "model_weights/encoder_5/encoder_5/encoder_block_10/multi_head_attention_1/key/kernel"
    tensors[f"{name}:0"] = np.ones((D, K, H), np.float32)
    write_h5(tmp_path / "m.h5", tensors)
    refused(f"misshapen tensor {name} ({D}, {K}, {H}), expected ({D}, {H}, {K})")


@pytest.mark.parametrize("extra", ["lstm/lstm/recurrent:0", "dense_99/dense_99/kernel:0", "ex_3/ex_3/bias:0"])
def test_extra_tensors_are_named(refused, tmp_path, extra):
    write_h5(tmp_path / "m.h5", {**full_layout(), f"model_weights/{extra}": np.ones((D, 5), np.float32)})
    refused("tensor", extra.rpartition("/")[0])


def test_tensors_without_values(refused, tmp_path, vocab):
    tensors = full_layout()
    name = "model_weights/dense_37/dense_37/kernel:0"
    tensors[name] = np.full((D, V), np.nan, np.float32)
    write_h5(tmp_path / "m.h5", tensors)
    refused(name, "not finite")
    del tensors[name]
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file.create_dataset(name, (D, V), "float32")  # never written: HDF5 would read zeros
    refused(name, "was not written completely")
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file.create_dataset(name, (D, V), "float32", external=[(str(vocab), 0, D * V * 4)])
    refused(name, "was not written completely")


def test_links_out_of_the_file_are_not_followed(refused, tmp_path):
    tensors = full_layout()
    name = "model_weights/dense_37/dense_37/kernel:0"
    write_h5(tmp_path / "other.h5", {name: tensors.pop(name)}, model_config=None)
    with h5py.File(write_h5(tmp_path / "m.h5", tensors), "a") as file:
        file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), name)
    refused(f"missing tensor {name.removesuffix(':0')}")


@pytest.mark.parametrize("description", ["{", "[]", "null", '{"config": {"layers": [7]}}', "[" * 100_000])
def test_model_config_without_an_input_length(refused, tmp_path, vocab, description):
    write_h5(tmp_path / "m.h5", full_layout(), model_config=None)
    with h5py.File(tmp_path / "m.h5", "a") as file:
        file.attrs.create("model_config", description[:60_000])
    refused("names no input length", "--max_positions")
    convert(str(tmp_path / "m.h5"), "mx", tmp_path / "out", vocab, max_positions=POSITIONS)
    check_mlm(tmp_path / "out", full_layout())


@pytest.mark.parametrize(("tokens", "line"), [(V - 2, "59 tokens"), (V + 1, "62 tokens")])
def test_vocabulary_of_the_wrong_length(refused, tmp_path, vocab, tokens, line):
    vocab.write_text("\n".join([*VOCABULARY, "x1", "x2"][:tokens]), encoding="utf-8")
    write_h5(tmp_path / "m.h5", full_layout())
    refused(line, "61 rows")


def test_vocabulary_without_special_tokens(refused, tmp_path, vocab):
    vocab.write_text("\n".join(reversed(VOCABULARY)), encoding="utf-8")
    write_h5(tmp_path / "m.h5", full_layout())
    refused("does not begin with the special tokens")


def test_missing_vocabulary(refused, tmp_path):
    write_h5(tmp_path / "m.h5", full_layout())
    refused("--vocab", vocab=None)
    refused("none.txt", vocab=tmp_path / "none.txt")


def test_bad_region(refused, tmp_path):
    write_h5(tmp_path / "m.h5", full_layout())
    refused("'pt'", "ar, cl, co, es, mx, us, uy, ve", region="pt")


def test_sizes_that_do_not_make_a_model(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_files, "D", 7)
    write_h5(tmp_path / "m.h5", full_layout())
    refused("hidden_size=7 is odd")


def test_h5py_missing(refused, tmp_path, monkeypatch):
    write_h5(tmp_path / "m.h5", full_layout())
    monkeypatch.setattr(keras_weights, "h5py", None)
    refused(".[convert]")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RepositoryNotFoundError("401\n\nlong", response=ANSWER), "it needs a token"),
        (GatedRepoError("403\n\nlong", response=ANSWER), "needs a token"),
        (LocalEntryNotFoundError("offline"), "cannot be reached"),
        (RemoteEntryNotFoundError("404", response=ANSWER), "has no tf_model.h5"),
        (HfHubHTTPError("500\nserver", response=ANSWER), "cannot be downloaded: 500 server"),
    ],
)
def test_hub_id_that_cannot_be_downloaded(refused, monkeypatch, error, words):
    def download(repository, filename):
        raise error

    monkeypatch.setattr(convert_keras, "hf_hub_download", download)
    refused("org/name", words, weights="org/name")


def test_invalid_hub_id(refused):
    refused("neither a file nor a Hub id", weights="a b/c")


@pytest.mark.parametrize(
    ("published", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"weights": "AR"}', "region='ar'"),
        ('{"weights": "FR"}', "'FR'"),
        ('{"embedding_dim": 512}', "hidden_size=512"),
        ('{"add_head": 15}', "add_head=15"),
        ('{"seq_max_length": 0}', "max_position_embeddings=0"),
    ],
)
def test_published_config_that_does_not_fit(refused, hub, published, words):
    write_h5(hub / "tf_model.h5", hub_layout(), model_config=None)
    (hub / "config.json").write_text(published)
    refused(words, weights="guillermoruiz/bilma_MX")


def test_pooling_that_was_not_checked_is_refused(refused, hub):
    write_h5(hub / "tf_model.h5", full_layout(classification=True))
    (hub / "config.json").write_text('{"pooling": "mean"}')
    refused("pooling='mean'", weights="guillermoruiz/bilma_MX")


def test_an_mlm_folder_needs_two_models(refused, tmp_path):
    write_h5(tmp_path / "m.h5", full_layout())
    extra = ("--output_mlm_dir", str(tmp_path / "mlm"))
    refused("omit --output_mlm_dir", extra=extra)


def test_a_used_folder_is_kept_without_overwrite(refused, tmp_path, vocab):
    write_h5(tmp_path / "m.h5", full_layout())
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused("is not empty")
    refused("something other than a model", extra=["--overwrite"])
    (out / "config.json").write_text("{}")
    convert(str(tmp_path / "m.h5"), "mx", out, vocab, overwrite=True)
    check_mlm(out, full_layout())
    assert not (out / "notes.txt").exists()


def test_no_output_over_an_input_or_the_other_output(refused, tmp_path):
    write_h5(tmp_path / "m.h5", full_layout(classification=True))
    inside = ("--output_mlm_dir", str(tmp_path / "out" / "mlm"))
    same = ("--output_mlm_dir", str(tmp_path / "out" / "..." / ".." / ".." / "out"))
    refused("is inside, the output folder", extra=inside)
    refused("is inside, the output folder", extra=same)
    over = ("--output_dir", str(tmp_path), "--overwrite")
    refused("is inside, the output folder", extra=over)


@pytest.mark.parametrize("error", [OSError, SafetensorError])  # of this program, and of the library for weights
def test_a_failure_while_writing_leaves_nothing(refused, tmp_path, monkeypatch, error):
    write_h5(tmp_path / "m.h5", full_layout(classification=True))

    def full_disk(*_):
        raise error("No space left on device")

    monkeypatch.setattr(convert_keras, "_card", full_disk)
    refused("No space left", extra=("--output_mlm_dir", str(tmp_path / "mlm")))
