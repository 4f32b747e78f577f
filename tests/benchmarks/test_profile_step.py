import torch

from benchmarks.profile_step import shares


def test_the_operator_that_does_the_work_has_the_largest_share():
    matrix = torch.randn(400, 400)
    found = shares(lambda number: matrix @ matrix)
    assert next(iter(found["shares"])) == "aten::mm"
    assert 0.5 < found["shares"]["aten::mm"] <= sum(found["shares"].values()) <= 1.001
    assert found["milliseconds"] > 0
