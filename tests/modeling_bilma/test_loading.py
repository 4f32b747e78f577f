"""Weights: as they are made, saved, loaded in every way, tied, resized and rounded."""

import math

import pytest
import torch
from accelerate import init_empty_weights, load_checkpoint_and_dispatch
from safetensors.torch import load_file
from torch import nn

from modeling_bilma import (
    BilmaConfig,
    BilmaForMaskedLM,
    BilmaForSequenceClassification,
    BilmaForTokenClassification,
    BilmaModel,
)
from modeling_bilma.modeling_bilma import sinusoids
from tests.conftest import tiny_config
from tests.modeling_bilma.models import close, tiny, two_texts

HEADS = (BilmaForMaskedLM, BilmaForSequenceClassification, BilmaForTokenClassification)


def test_a_default_model_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = BilmaForMaskedLM(BilmaConfig())
    assert model.num_parameters() == 39_207_265


def test_sinusoids_follow_the_published_formula():
    table = tiny(BilmaModel).embeddings.sinusoids
    for position, dimension in [(0, 0), (0, 1), (3, 8), (39, 31), (17, 4)]:
        angle = position / 10000 ** (2 * (dimension // 2) / 32)
        expected = math.cos(angle) if dimension % 2 else math.sin(angle)
        assert table[position, dimension].item() == pytest.approx(expected, abs=1e-6)


def on_meta(config) -> BilmaForMaskedLM:
    with torch.device("meta"):
        return BilmaForMaskedLM(config)


def made_empty(config, folder):
    model = on_meta(config).to_empty(device="cpu")
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def assigned(config, folder):
    model = on_meta(config)
    model.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    return model


def made_empty_module_by_module(config, folder):
    """As FSDP does with a model on meta."""
    model = on_meta(config)
    for module in model.modules():
        module.to_empty(device="cpu", recurse=False)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model


def dispatched(config, folder, include_buffers=False):
    with init_empty_weights(include_buffers=include_buffers):
        model = BilmaForMaskedLM(config)
    return load_checkpoint_and_dispatch(model, str(folder / "model.safetensors"), device_map={"": "cpu"})


def dispatched_with_buffers(config, folder):
    return dispatched(config, folder, include_buffers=True)


def loaded_in_bf16(config, folder):
    return BilmaForMaskedLM.from_pretrained(folder, dtype=torch.bfloat16)


def moved_to_bf16(config, folder):
    return BilmaForMaskedLM.from_pretrained(folder).to(torch.bfloat16)


WAYS_UP = (made_empty, assigned, made_empty_module_by_module, dispatched, dispatched_with_buffers)


@pytest.mark.parametrize("way", [*WAYS_UP, loaded_in_bf16, moved_to_bf16], ids=lambda way: way.__name__)
@torch.no_grad()
def test_sinusoids_are_right_whatever_way_a_model_comes_up(way, tmp_path):
    model = tiny()
    model.save_pretrained(tmp_path)
    other = way(model.config, tmp_path).eval()
    table = other.bilma.embeddings.sinusoids
    assert table.dtype == torch.float32
    assert torch.equal(table, sinusoids(40, 32))
    if other.dtype == torch.float32:
        ids, mask = two_texts()
        assert torch.equal(other(ids, attention_mask=mask).logits, model(ids, attention_mask=mask).logits)


def test_initial_weights_have_the_intended_spread():
    model = BilmaForSequenceClassification(tiny_config(vocab_size=2000, hidden_size=128, num_labels=9))
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            assert module.weight.std().item() == pytest.approx(128**-0.5, rel=0.05), name
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15), name
            assert not module.bias.any(), name
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all(), name
            assert not module.bias.any(), name


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cls", HEADS)
def test_saving_and_loading_keeps_every_bit(cls, tied, tmp_path):
    model = tiny(cls, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    loaded, info = cls.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    ids, mask = two_texts()
    assert torch.equal(loaded.eval()(ids, attention_mask=mask).logits, model(ids, attention_mask=mask).logits)


def test_tied_weights_are_one_tensor():
    model = tiny(tie_word_embeddings=True)
    assert model.decoder.weight is model.get_input_embeddings().weight
    assert tiny().num_parameters() - model.num_parameters() == 100 * 32


def test_resizing_the_vocabulary_keeps_the_old_rows():
    model = tiny()
    ids, _ = two_texts()
    before = model(ids).logits
    model.resize_token_embeddings(110, mean_resizing=False)
    assert model.config.vocab_size == 110
    close(model(ids).logits[..., :100], before)
    assert model(torch.tensor([[109]])).logits.shape == (1, 1, 110)


@pytest.mark.parametrize("attend_to_padding", [False, True])
def test_bf16_is_near_fp32(attend_to_padding, tmp_path):
    ids, mask = two_texts()
    model = tiny(attend_to_padding=attend_to_padding)
    model.save_pretrained(tmp_path)
    half = BilmaForMaskedLM.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    logits = half(ids, attention_mask=mask).logits
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), model(ids, attention_mask=mask).logits, rtol=0.05, atol=0.02)
    half(ids, attention_mask=mask, labels=ids).loss.backward()
