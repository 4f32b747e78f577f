import json
import shutil

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.conftest import TEXTS
from tests.training.conftest import TEST_FRACTION
from training.common.errors import InputError
from training.evaluation.models import (
    check_lengths,
    check_masked_models,
    check_own_corpora,
    check_same_vocabulary,
    check_unseen,
    open_folder,
    open_folders,
)
from training.texts.corpus import open_corpora

CPU = torch.device("cpu")


@pytest.fixture
def corpora(family):
    return open_corpora([family / "corpora"], "text")


@pytest.fixture
def copy(family, tmp_path):
    """A copy of a model to spoil."""
    return shutil.copytree(family / "bilma-mx", tmp_path / "bilma-mx")


def test_what_a_folder_says(family):
    folders = open_folders([str(family / "bilma-mx"), str(family / "bilma-ar") + "/"])
    assert [folder.name for folder in folders] == ["bilma-mx", "bilma-ar"]
    assert [folder.region for folder in folders] == ["mx", "ar"]
    assert folders[0].longest == 40
    assert folders[0].fingerprint != folders[1].fingerprint
    assert folders[0].facts() == {"name": "bilma-mx", "region": "mx", "fingerprint": folders[0].fingerprint}
    check_same_vocabulary(folders)
    check_masked_models(folders, 10)


def test_what_is_no_model_folder(tmp_path, copy):
    with pytest.raises(InputError, match="nowhere: not a model folder"):
        open_folder(tmp_path / "nowhere")
    (copy / "config.json").write_text("{}")
    with pytest.raises(InputError):
        open_folder(copy)


def test_two_models_of_one_name(family, copy):
    with pytest.raises(InputError, match="two models have the name bilma-mx"):
        open_folders([str(family / "bilma-mx"), str(copy)])


def test_a_model_that_is_not_whole(family, copy):
    with pytest.raises(InputError, match="not a whole model of kind SequenceClassification: it lacks classifier"):
        open_folder(copy).open(AutoModelForSequenceClassification, CPU)
    (copy / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError):
        open_folder(copy).open(AutoModelForMaskedLM, CPU)


def test_a_damaged_weights_file_is_one_line(copy):
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError):
        open_folder(copy).open(AutoModelForMaskedLM, CPU)


def test_different_vocabularies(family, copy):
    build_tokenizer(train_vocabulary(TEXTS)).save_pretrained(copy)
    folders = [open_folder(family / "bilma-ar"), open_folder(copy)]
    with pytest.raises(InputError, match="bilma-ar and bilma-mx have different vocabularies.*--per_word"):
        check_same_vocabulary(folders)


def test_a_tokenizer_without_a_mask(family):
    folder = open_folder(family / "bilma-ar")
    folder.tokenizer.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        check_masked_models([folder], 10)


def test_more_completions_than_tokens(family):
    with pytest.raises(InputError, match="--top_k 10000 is more than the .* tokens of bilma-ar"):
        check_masked_models([open_folder(family / "bilma-ar")], 10_000)


def test_texts_longer_than_the_model(family):
    with pytest.raises(InputError, match="--max_length 41 is more than the 40 positions of bilma-mx"):
        check_lengths([open_folder(family / "bilma-mx")], 41)


def test_texts_that_a_model_has_seen(family, corpora, copy):
    check_unseen(open_folder(copy), corpora, TEST_FRACTION)
    with pytest.raises(InputError, match="bilma-mx was trained on mx.jsonl with only 0.2 .* --test_fraction 0.2"):
        check_unseen(open_folder(copy), corpora, 0.3)
    settings = json.loads((copy / "training_args.json").read_text())
    del settings["test_fraction"]  # of a time before there was a test part
    (copy / "training_args.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="with only 0 of the texts"):
        check_unseen(open_folder(copy), corpora, TEST_FRACTION)


def test_texts_are_recognised_among_others_and_by_their_groups(copy, corpora):
    metrics = json.loads((copy / "metrics.json").read_text())
    digests = [digest.hex() for corpus in corpora.values() for _, digest in corpus.sources]
    metrics["corpus"] |= {"fingerprint": "of both files", "sha256": digests}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    check_unseen(open_folder(copy), corpora, TEST_FRACTION)
    with pytest.raises(InputError, match="with only 0.2 of the texts held out"):
        check_unseen(open_folder(copy), corpora, 0.3)
    settings = json.loads((copy / "training_args.json").read_text())
    (copy / "training_args.json").write_text(json.dumps(settings | {"group_column": "author"}))
    with pytest.raises(InputError, match="with --group_column author, which decided its test part"):
        check_unseen(open_folder(copy), corpora, TEST_FRACTION)


def test_a_model_that_does_not_say_what_it_has_seen(copy, corpora):
    (copy / "metrics.json").unlink()
    check_unseen(open_folder(copy), corpora, 1)


def test_a_region_without_a_corpus(family, corpora):
    folders = [open_folder(family / "bilma-mx"), open_folder(family / "bilma-ar")]
    check_own_corpora(folders, corpora)
    with pytest.raises(InputError, match="bilma-ar is of region ar, and there are texts of mx only.*ar.jsonl.gz"):
        check_own_corpora(folders, ["mx"])
