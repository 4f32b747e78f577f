"""The numbers of a model, however its texts are laid out, and its losses and gradients."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from modeling_bilma import BilmaForSequenceClassification, BilmaForTokenClassification, BilmaModel
from tests.modeling_bilma.models import IMPLEMENTATIONS, close, tiny, two_texts


def test_forward_equals_the_published_equations():
    """Against the equations written out in numpy from the model's own weights."""
    model = tiny(num_hidden_layers=1)
    ids = torch.randint(5, 100, (1, 6))
    w = {name: value.detach().numpy().astype(np.float64) for name, value in model.state_dict().items()}

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]

    layer = "bilma.layers.0"
    x = w["bilma.embeddings.word_embeddings.weight"][ids[0]] * 32**0.5 + model.bilma.embeddings.sinusoids[:6].numpy()
    q, k, v = (dense(x, f"{layer}.attention.{n}_proj").reshape(6, 2, 16).transpose(1, 0, 2) for n in ("q", "k", "v"))
    scores = np.exp(q @ k.transpose(0, 2, 1) / 16**0.5)
    context = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(6, 32)
    x = norm(x + dense(context, f"{layer}.attention.o_proj"), f"{layer}.attention_norm")
    up = dense(x, f"{layer}.mlp.up_proj")
    gelu = up * 0.5 * (1 + np.vectorize(math.erf)(up / 2**0.5))
    x = norm(x + dense(gelu, f"{layer}.mlp.down_proj"), f"{layer}.mlp_norm")
    np.testing.assert_allclose(model(ids).logits[0].detach().numpy(), dense(x, "decoder"), atol=1e-5)


def test_shapes_and_losses():
    ids, mask = two_texts()
    masked = tiny()(ids, attention_mask=mask, labels=ids)
    assert masked.logits.shape == (2, 12, 100)
    assert masked.loss.item() == pytest.approx(math.log(100), rel=0.1)
    texts = tiny(BilmaForSequenceClassification, num_labels=15)(ids, attention_mask=mask, labels=torch.tensor([3, 14]))
    assert texts.logits.shape == (2, 15)
    assert texts.loss.item() == pytest.approx(math.log(15), rel=0.1)
    labels = torch.full_like(ids, -100)
    labels[0, 3] = 1
    tokens = tiny(BilmaForTokenClassification, num_labels=3)(ids, attention_mask=mask, labels=labels)
    assert tokens.logits.shape == (2, 12, 3)
    expected = nn.functional.cross_entropy(tokens.logits[:1, 3], torch.tensor([1]))
    torch.testing.assert_close(tokens.loss, expected)


@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[1:])
@torch.no_grad()  # flex attention has no backward on CPU
def test_implementations_agree(implementation, attend_to_padding):
    ids, mask = two_texts()
    eager, other = (
        tiny(implementation=name, attend_to_padding=attend_to_padding)(ids, attention_mask=mask).logits
        for name in ("eager", implementation)
    )
    close(other[mask.bool()], eager[mask.bool()])


@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@torch.no_grad()
def test_padding_does_not_change_a_text(implementation, attend_to_padding):
    model = tiny(implementation=implementation, attend_to_padding=attend_to_padding)
    ids, mask = two_texts()
    close(model(ids, attention_mask=mask).logits[1, :7], model(ids[1:, :7]).logits[0])


def test_attending_to_padding_is_padding_to_every_position():
    """The published numbers: the text padded to all 40 positions in a model that masks nothing."""
    ids, _ = two_texts()
    padded = nn.functional.pad(ids[1:, :7], (0, 33))
    expected = tiny()(padded).logits[:, :7]
    close(tiny(attend_to_padding=True)(ids[1:, :7]).logits, expected)


def test_attending_to_padding_ignores_what_stands_behind_the_mask():
    ids, mask = two_texts()
    junk = torch.where(mask.bool(), ids, 77)
    model = tiny(attend_to_padding=True)
    close(model(junk, attention_mask=mask).logits[1, :7], model(ids, attention_mask=mask).logits[1, :7])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@torch.no_grad()
def test_packed_rows_equal_the_texts_one_by_one(implementation):
    model = tiny(implementation=implementation)
    ids, _ = two_texts()
    row = torch.cat([ids[0], ids[1, :7], ids[0, :5]])[None]
    positions = torch.cat([torch.arange(12), torch.arange(7), torch.arange(5)])[None]
    packed = model(row, position_ids=positions).logits[0]
    for part, text in zip(packed.split([12, 7, 5]), (ids[0], ids[1, :7], ids[0, :5]), strict=True):
        close(part, model(text[None]).logits[0])


def test_packed_rows_give_the_gradients_of_the_texts_one_by_one():
    ids, _ = two_texts()
    texts = [ids[0], ids[1, :7]]
    packed, single = tiny(), tiny()
    positions = torch.cat([torch.arange(12), torch.arange(7)])[None]
    packed(torch.cat(texts)[None], position_ids=positions, labels=torch.cat(texts)[None]).loss.backward()
    for text in texts:
        single(text[None], labels=text[None], num_items_in_batch=19).loss.backward()
    for a, b in zip(packed.parameters(), single.parameters(), strict=True):
        close(a.grad, b.grad)


def test_unpacked_positions_may_be_given():
    ids, _ = two_texts()
    close(tiny()(ids, position_ids=torch.arange(12)[None]).logits, tiny()(ids).logits)


@pytest.mark.parametrize("attend_to_padding", [False, True])
def test_inputs_embeds_equal_input_ids(attend_to_padding):
    model = tiny(attend_to_padding=attend_to_padding)
    ids, mask = two_texts()
    embeds = model.get_input_embeddings()(ids)
    close(model(inputs_embeds=embeds, attention_mask=mask).logits, model(ids, attention_mask=mask).logits)


@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_sparse_prediction_gives_the_same_loss_and_gradients(implementation, attend_to_padding):
    ids, mask = two_texts()
    labels = torch.full_like(ids, -100)
    labels[0, [2, 5]], labels[1, 1] = ids[0, [2, 5]], ids[1, 1]
    dense, sparse = (
        tiny(implementation=implementation, attend_to_padding=attend_to_padding, sparse_prediction=flag)
        for flag in (False, True)
    )
    expected, found = (model(ids, attention_mask=mask, labels=labels) for model in (dense, sparse))
    assert found.logits.shape == (3, 100)
    close(found.logits, expected.logits[labels != -100])
    close(found.loss, expected.loss)
    expected.loss.backward()
    found.loss.backward()
    for a, b in zip(sparse.parameters(), dense.parameters(), strict=True):
        close(a.grad, b.grad)
    assert sparse(ids).logits.shape == (2, 12, 100), "without labels every position has logits"


@torch.no_grad()
@pytest.mark.parametrize("attend_to_padding", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_only_the_states_asked_for(implementation, attend_to_padding):
    model = tiny(BilmaModel, implementation, attend_to_padding=attend_to_padding)
    ids, mask = two_texts()
    positions = torch.tensor([[4, 0, 11], [6, 6, 1]])
    every = model(ids, attention_mask=mask).last_hidden_state
    some = model(ids, attention_mask=mask, output_positions=positions).last_hidden_state
    close(some, every.gather(1, positions[..., None].expand(-1, -1, 32)))


def test_sparse_prediction_still_gives_every_state_on_request():
    ids, mask = two_texts()
    outputs = tiny(sparse_prediction=True)(ids, attention_mask=mask, labels=ids, output_hidden_states=True)
    assert [state.shape for state in outputs.hidden_states] == [(2, 12, 32)] * 3


def test_a_batch_without_labels_costs_nothing():
    ids, _ = two_texts()
    loss = tiny(sparse_prediction=True)(ids, labels=torch.full_like(ids, -100), num_items_in_batch=4).loss
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("attend_to_padding", [False, True])
def test_hidden_states_and_attentions(attend_to_padding):
    model = tiny(implementation="eager", attend_to_padding=attend_to_padding)
    ids, mask = two_texts()
    outputs = model(ids, attention_mask=mask, output_hidden_states=True, output_attentions=True)
    assert [state.shape for state in outputs.hidden_states] == [(2, 12, 32)] * 3
    keys = 40 if attend_to_padding else 12
    assert [weights.shape for weights in outputs.attentions] == [(2, 2, 12, keys)] * 2
    close(outputs.attentions[0].sum(-1), torch.ones(2, 2, 12))
    if not attend_to_padding:
        assert outputs.attentions[0][1, :, :, 7:].max() == 0
    close(model.decoder(outputs.hidden_states[-1]), outputs.logits)


def test_return_dict_false_gives_a_tuple():
    ids, _ = two_texts()
    assert isinstance(tiny()(ids, return_dict=False), tuple)
    assert isinstance(tiny(BilmaModel)(ids, return_dict=False), tuple)


@pytest.mark.parametrize("attend_to_padding", [False, True])
def test_too_long_an_input_is_refused_with_the_way_out(attend_to_padding):
    model = tiny(attend_to_padding=attend_to_padding)
    with pytest.raises(ValueError, match="41 tokens, more than the 40 positions.*truncation=True"):
        model(torch.ones(1, 41, dtype=torch.long))


def test_a_packed_row_may_be_longer_than_the_position_table():
    model = tiny()
    row = torch.randint(5, 100, (1, 60))
    positions = torch.cat([torch.arange(30), torch.arange(30)])[None]
    assert model(row, position_ids=positions).logits.shape == (1, 60, 100)
    with pytest.raises(ValueError, match="60 tokens, more than the 40"):
        model(row, position_ids=torch.arange(60)[None])


def test_inputs_that_contradict_each_other_are_refused():
    ids, _ = two_texts()
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        tiny()()
    with pytest.raises(ValueError, match="cannot take packed rows"):
        tiny(attend_to_padding=True)(ids, position_ids=torch.zeros_like(ids))


@pytest.mark.parametrize("attend_to_padding", [False, True])
def test_gradient_checkpointing_changes_no_gradient(attend_to_padding):
    ids, mask = two_texts()
    plain, checkpointed = (tiny(attend_to_padding=attend_to_padding, hidden_dropout_prob=0).train() for _ in range(2))
    checkpointed.gradient_checkpointing_enable()
    for model in (plain, checkpointed):
        model(ids, attention_mask=mask, labels=ids).loss.backward()
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        close(a.grad, b.grad)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_gives_the_same_numbers(backend):
    model = tiny(sparse_prediction=True)
    compiled = torch.compile(model, backend=backend)
    ids, _ = two_texts()
    positions = torch.cat([torch.arange(7), torch.arange(5)]).expand(2, -1)
    with torch.no_grad():
        close(compiled(ids).logits, model(ids).logits)
        close(compiled(ids, position_ids=positions).logits, model(ids, position_ids=positions).logits)
        close(compiled(ids, labels=ids).loss, model(ids, labels=ids).loss)
