from itertools import chain

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from training.evaluation.masked_texts import mask_tokens, read_test_texts
from training.evaluation.models import open_folder
from training.evaluation.predictions import Predictions, predict, rank_of
from training.texts.batches import batches_by_tokens
from training.texts.corpus import open_corpora


@pytest.fixture(scope="module")
def folder(family):
    return open_folder(family / "bilma-mx")


@pytest.fixture(scope="module")
def masked(family, folder):
    corpus = open_corpora([family / "corpora" / "mx.jsonl"], "text")["mx"]
    return mask_tokens(read_test_texts("mx", corpus, 0.2, 20), folder.tokenizer, 32, 0.15, 2, 0)


@pytest.fixture(scope="module")
def model(folder):
    return folder.open(AutoModelForMaskedLM, torch.device("cpu"))


def one_by_one(model, masked) -> Predictions:
    """The same by a plain loop: a row at a time, dense logits, sorted."""
    guess, rank, log_probability = [], [], []
    if hasattr(model.config, "sparse_prediction"):
        model.config.sparse_prediction = False
    for row in masked.rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor(row.input_ids)[None]).logits[0]
        for position, target in zip(row.positions, row.targets, strict=True):
            order = logits[position].argsort(descending=True, stable=True).tolist()
            guess.append(order[0])
            rank.append(order.index(target))
            log_probability.append(torch.log_softmax(logits[position], -1)[target].item())
    return Predictions(np.array(guess), np.array(rank), np.array(log_probability))


@pytest.mark.parametrize("tokens_per_batch", [1, 200, 100_000])
def test_predictions_are_those_of_a_plain_loop(model, masked, tokens_per_batch):
    expected = one_by_one(model, masked)
    found = predict(model, masked, 0, tokens_per_batch, "")
    assert (found.guess == expected.guess).all()
    assert (found.rank == expected.rank).all()
    np.testing.assert_allclose(found.log_probability, expected.log_probability, atol=1e-5)
    assert 0 < (found.rank == 0).mean() < 1  # it has learnt something
    assert np.exp(found.mean_log_probabilities).sum() < 1  # a mean of logarithms is at most the logarithm of the mean


def test_a_model_of_another_kind_gives_dense_logits(masked, folder):
    config = BertConfig(
        vocab_size=len(folder.tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    bert = BertForMaskedLM(config).eval()
    expected = one_by_one(bert, masked)
    found = predict(bert, masked, 0, 300, "")
    assert (found.guess == expected.guess).all()
    np.testing.assert_allclose(found.log_probability, expected.log_probability, atol=1e-5)


def test_a_model_that_attends_to_its_padding(masked, folder, model):
    folder.config.attend_to_padding = True
    try:
        padded = AutoModelForMaskedLM.from_config(folder.config, trust_remote_code=True).eval()
    finally:
        folder.config.attend_to_padding = False
    expected = one_by_one(padded, masked)
    np.testing.assert_allclose(
        predict(padded, masked, 0, 300, "").log_probability, expected.log_probability, atol=1e-5
    )


def test_batches_are_bounded_and_whole():
    lengths = [5, 3, 9, 3, 4]
    found = list(batches_by_tokens(lengths, 10))
    assert sorted(chain(*found)) == [0, 1, 2, 3, 4]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 10 for batch in found)


def test_of_equal_scores_the_lower_id_comes_first():
    scores = torch.tensor([[1.0, 2, 2, 2]]).repeat(4, 1)
    targets = torch.arange(4)
    assert rank_of(scores, targets, scores.gather(1, targets[:, None])).tolist() == [3, 0, 1, 2]
