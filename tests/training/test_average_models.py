import pytest
import torch

from modeling_bilma import BilmaForMaskedLM
from tests.conftest import tiny_config
from training import average_models
from training.common.errors import InputError


@pytest.fixture
def folders(tmp_path, tokenizer):
    folders = [tmp_path / "a", tmp_path / "b"]
    for seed, folder in enumerate(folders):
        torch.manual_seed(seed)
        BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer), tie_word_embeddings=True)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folders


def average(monkeypatch, output_dir, *models):
    monkeypatch.setattr(
        "sys.argv", ["average_models.py", "--models", *map(str, models), "--output_dir", str(output_dir)]
    )
    average_models.main()


def test_the_mean_of_two_models(folders, tmp_path, monkeypatch):
    average(monkeypatch, tmp_path / "mean", *folders)
    first, second, mean = (
        BilmaForMaskedLM.from_pretrained(path).state_dict() for path in (*folders, tmp_path / "mean")
    )
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (first[name] + second[name]) / 2)
    weights, settings = (tmp_path / "mean" / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == settings.stat().st_mode


def test_models_of_different_sizes_and_existing_folders_are_refused(folders, tmp_path, monkeypatch):
    BilmaForMaskedLM(tiny_config(vocab_size=50)).save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="not the architecture"):
        average(monkeypatch, tmp_path / "mean", folders[0], tmp_path / "other")
    with pytest.raises(InputError, match="exists already"):
        average(monkeypatch, folders[1], *folders)
    with pytest.raises(InputError, match="two or more"):
        average(monkeypatch, tmp_path / "mean", folders[0])
