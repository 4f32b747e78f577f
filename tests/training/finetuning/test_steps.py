import numpy as np
import pytest
import torch

from training.finetuning.steps import LabelledSteps
from training.texts.batches import IGNORED, batches_by_length

LABELS = np.arange(50) % 3


@pytest.fixture
def ids():
    random = np.random.default_rng(0)
    return [[2, *random.integers(5, 60, length), 3] for length in random.integers(1, 20, 50)]


@pytest.fixture
def make_steps(ids, tokenizer):
    def make_steps(texts_per_step=8, **settings):
        return LabelledSteps(ids, LABELS, tokenizer, texts_per_step, **settings)

    return make_steps


def rows(batch):
    """The texts of a batch with their labels."""
    inputs = batch.inputs
    pairs = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    texts = [tuple(row[mask.bool()].tolist()) for row, mask in pairs]
    return list(zip(texts, inputs["labels"].tolist(), strict=True))


def test_every_text_is_in_one_batch_and_the_longest_come_first():
    lengths = [3, 9, 1, 7, 7]
    batches = batches_by_length(lengths, 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 0], [2]]


def test_an_epoch_has_every_text_once_in_another_order_each_time(make_steps, ids):
    steps = make_steps()
    epochs = [[row for step in range(7) for row in rows(steps[first + step])] for first in (0, 7)]
    expected = sorted((tuple(map(int, text)), int(label)) for text, label in zip(ids, LABELS, strict=True))
    assert steps.steps_per_epoch == 7
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected


def test_a_step_is_a_function_of_seed_and_number(make_steps):
    assert rows(make_steps(seed=1)[9]) == rows(make_steps(seed=1)[9]) != rows(make_steps(seed=2)[9])


def test_texts_of_a_step_are_of_like_length(make_steps):
    steps = make_steps()
    padding = sum(int((steps[step].inputs["attention_mask"] == 0).sum()) for step in range(7))
    texts = sum(int(steps[step].inputs["attention_mask"].sum()) for step in range(7))
    assert padding < texts / 5


@pytest.mark.parametrize("mlm_probability", [0.0, 0.4])
def test_processes_share_a_step(make_steps, mlm_probability):
    whole = make_steps(mlm_probability=mlm_probability)[3]
    shares = [make_steps(mlm_probability=mlm_probability, process=p, num_processes=3)[3] for p in range(3)]
    assert sorted(row for share in shares for row in rows(share)) == sorted(rows(whole))
    assert all(torch.equal(share.labels_of_step, whole.inputs["labels"]) for share in shares)
    assert {share.scored_tokens for share in shares} == {whole.scored_tokens}
    if mlm_probability:
        scored = sum(int((share.inputs["mlm_labels"] != IGNORED).sum()) for share in shares)
        assert scored == whole.scored_tokens > 0


def test_a_process_without_a_text_scores_nothing(make_steps):
    share = make_steps(texts_per_step=2, mlm_probability=0.4, process=2, num_processes=3)[0]
    assert share.inputs["input_ids"].shape[0] == 1
    assert share.inputs["labels"].tolist() == [IGNORED]
    assert (share.inputs["mlm_labels"] == IGNORED).all()
    assert share.scored_tokens > 0
