import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from tests.conftest import tiny_config
from training.pretraining.flops import training_flops


def test_flops_are_those_that_torch_counts():
    config = tiny_config(num_hidden_layers=3, attn_implementation="eager")
    model = BilmaForMaskedLM(config)
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(5, 100, (2, 11)))
    # Every position scored; the forward pass is a third of a step.
    assert training_flops(config, [11, 11], [11, 11]) == 3 * counter.get_total_flops()


def test_only_what_is_scored_counts():
    config = tiny_config(num_hidden_layers=1)
    with_one, with_two, with_none = (training_flops(config, [20], [scored]) for scored in (1, 2, 0))
    assert with_two - with_one == with_one - with_none > 0
    assert with_none == 6 * 20 * 2 * 32 * 32  # keys and values
    assert training_flops(config, [20, 20], [1, 1]) == pytest.approx(2 * with_one)


def test_operations_of_the_published_model_follow_from_its_weights():
    """Two forward and four backward for each weight that a token meets, and the attention of 20 tokens."""
    layer = 4 * 512 * 2048 + 2 * 512 * 512 + 2 * 20 * 2048
    assert training_flops(BilmaConfig(), [20], [20]) == 20 * 6 * (2 * layer + 512 * BilmaConfig().vocab_size)
