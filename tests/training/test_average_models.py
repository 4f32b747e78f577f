import pytest
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer
from tests.conftest import tiny_config
from tests.training.conftest import run_main
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


def test_the_mean_of_two_models(folders, tmp_path):
    run_main(average_models, output_dir=tmp_path / "mean", models=folders)
    first, second, mean = (
        BilmaForMaskedLM.from_pretrained(path).state_dict() for path in (*folders, tmp_path / "mean")
    )
    for name, weight in mean.items():
        torch.testing.assert_close(weight, (first[name] + second[name]) / 2)
    weights, settings = (tmp_path / "mean" / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == settings.stat().st_mode


def test_models_of_different_sizes_and_existing_folders_are_refused(folders, tmp_path, tokenizer):
    config = tiny_config(vocab_size=len(tokenizer), num_hidden_layers=1, tie_word_embeddings=True)
    BilmaForMaskedLM(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="not the architecture"):
        run_main(average_models, output_dir=tmp_path / "mean", models=[folders[0], tmp_path / "other"])
    with pytest.raises(InputError, match="exists already"):
        run_main(average_models, output_dir=folders[1], models=folders)
    with pytest.raises(InputError, match="two or more"):
        run_main(average_models, output_dir=tmp_path / "mean", models=folders[0])


def test_models_that_only_look_alike_are_refused(folders, tmp_path, tokenizer):
    config = tiny_config(vocab_size=len(tokenizer), tie_word_embeddings=True)
    config.num_attention_heads, config.head_dim = config.num_attention_heads * 2, config.head_dim // 2
    BilmaForMaskedLM(config).save_pretrained(folders[1])
    with pytest.raises(InputError, match="b: num_attention_heads differs"):
        run_main(average_models, output_dir=tmp_path / "mean", models=folders)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    build_tokenizer([*tokens[:-1], "otro"]).save_pretrained(folders[1])
    with pytest.raises(InputError, match="b: its vocabulary is not that of"):
        run_main(average_models, output_dir=tmp_path / "mean", models=folders)
    assert not (tmp_path / "mean").exists()
