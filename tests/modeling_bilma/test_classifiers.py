"""Classifiers: pooling, losses over several batches, and no more states computed than are pooled."""

import pytest
import torch

from modeling_bilma import BilmaForSequenceClassification
from tests.modeling_bilma.models import IMPLEMENTATIONS, close, tiny, two_texts

CLASSIFIERS = [
    ("single_label_classification", 2, torch.tensor([0, 1, 1, 0])),
    ("regression", 1, torch.tensor([0.0, 0.5, 1.0, 2.0])),
    ("regression", 2, torch.rand(4, 2)),
    ("multi_label_classification", 3, torch.tensor([[1.0, 0.0, 1.0]] * 4)),
]


@pytest.mark.parametrize(("problem_type", "num_labels", "labels"), CLASSIFIERS)
def test_accumulated_batches_give_the_gradient_of_one(problem_type, num_labels, labels):
    """As Trainer accumulates: it passes how many label values there are in all, and adds up the gradients."""
    ids = torch.randint(5, 100, (4, 12))
    settings = {"num_labels": num_labels, "problem_type": problem_type, "hidden_dropout_prob": 0}
    whole, parts = (tiny(BilmaForSequenceClassification, **settings) for _ in range(2))
    whole(ids, labels=labels).loss.backward()
    for rows in ([0], [1, 2, 3]):
        parts(ids[rows], labels=labels[rows], num_items_in_batch=torch.tensor(labels.numel())).loss.backward()
    for a, b in zip(parts.parameters(), whole.parameters(), strict=True):
        close(a.grad, b.grad)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_pooling_leaves_padding_out(pooling):
    model = tiny(BilmaForSequenceClassification, pooling=pooling, num_labels=4)
    ids, mask = two_texts()
    close(model(ids, attention_mask=mask).logits[1], model(ids[1:, :7]).logits[0])
    states = model.bilma(ids[1:, :7]).last_hidden_state
    expected = {"cls": states[:, 0], "mean": states.mean(1), "max": states.amax(1)}[pooling]
    head = model.classifier
    close(model(ids[1:, :7]).logits, head.out_proj(head.dense_2(head.dense_1(expected).relu()).relu()))


@pytest.mark.parametrize("pooling", ["cls", "mask"])
@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[:2])
@torch.no_grad()
def test_a_classifier_of_one_state_computes_no_other_in_the_last_layer(implementation, attend_to_padding, pooling):
    changes = {"attend_to_padding": attend_to_padding, "pooling": pooling, "num_labels": 4}
    model = tiny(BilmaForSequenceClassification, implementation, **changes)
    ids, right = two_texts()
    embeds = model.get_input_embeddings()(ids)
    computed = []
    model.bilma.layers[-1].register_forward_hook(lambda *call: computed.append(call[-1].shape[1]))
    for mask in (None, right, right.flip(1)):  # padding on either side
        for inputs in ({"input_ids": ids}, {"inputs_embeds": embeds}):
            given = {"attention_mask": mask, **inputs}
            close(model(**given).logits, model(**given, output_hidden_states=True).logits)
    assert set(computed[::2]) == {1} and min(computed[1::2]) >= 12


def test_a_classifier_of_one_state_has_the_gradient_of_all():
    gradients = []
    for every in (False, True):
        model = tiny(BilmaForSequenceClassification, pooling="cls", num_labels=4, hidden_dropout_prob=0).train()
        ids, mask = two_texts()
        model(ids, attention_mask=mask, labels=torch.tensor([1, 3]), output_hidden_states=every).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, all_states in zip(*gradients, strict=True):
        close(one, all_states)


@pytest.mark.parametrize("pooling", ["cls", "mask"])
@torch.no_grad()
def test_a_compiled_classifier_gives_the_same_numbers(pooling):
    torch.compiler.reset()  # of what other tests compiled, which counts against a limit
    model = tiny(BilmaForSequenceClassification, pooling=pooling, num_labels=4)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    ids, mask = two_texts()
    for inputs in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": mask}):
        close(compiled(**inputs).logits, model(**inputs).logits)
