import torch
from torch import nn

from training.finetuning.soup import greedy_soup


def layer(weight: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, weight)
    return made


def closeness(model: nn.Linear) -> float:
    return -abs(model.weight.item() - 1.0)


def test_what_lowers_the_score_of_the_average_stays_out():
    layers = [layer(2.5), layer(0.4), layer(1.2)]
    soup, members = greedy_soup(layers, [closeness(made) for made in layers], closeness)
    assert members == [2, 1]
    assert soup is layers[2]
    torch.testing.assert_close(soup.weight.item(), 0.8)


def test_the_best_one_alone_keeps_its_weights():
    layers = [layer(9.0), layer(1.0)]
    soup, members = greedy_soup(layers, [closeness(made) for made in layers], closeness)
    assert (members, soup.weight.item()) == ([1], 1.0)
