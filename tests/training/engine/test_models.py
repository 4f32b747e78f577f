import os

import pytest
import torch
from safetensors.torch import load_file

from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from training.engine.models import open_whole, save_model


def test_a_model_is_saved_in_bf16_and_opened_in_fp32(tmp_path):
    model = BilmaForMaskedLM(tiny_config(sparse_prediction=True))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_model(model, tmp_path)
    assert model.config.sparse_prediction
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert {weight.dtype for weight in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    opened = open_whole(BilmaForMaskedLM, str(tmp_path))
    assert not opened.config.sparse_prediction
    for name, weight in opened.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, before[name].bfloat16().float())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_saved_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        save_model(BilmaForMaskedLM(tiny_config()), tmp_path)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        path.name: mode for path in tmp_path.iterdir()
    }
