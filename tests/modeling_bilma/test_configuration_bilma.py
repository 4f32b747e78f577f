import pytest
from huggingface_hub.errors import StrictDataclassError

from modeling_bilma import BilmaConfig
from tests.conftest import tiny_config


def test_defaults_are_the_published_model():
    config = BilmaConfig()
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (29025, 512, 2)
    assert (config.num_attention_heads, config.head_dim, config.intermediate_size) == (4, 512, 512)
    assert (config.max_position_embeddings, config.layer_norm_eps) == (280, 1e-6)


def test_survives_saving(tmp_path):
    tiny_config(region="mx", attend_to_padding=True, pooling="max").save_pretrained(tmp_path)
    loaded = BilmaConfig.from_pretrained(tmp_path)
    assert (loaded.region, loaded.attend_to_padding, loaded.pooling) == ("mx", True, "max")
    assert loaded.hidden_size == 32


def test_the_map_names_every_auto_class():
    assert set(tiny_config().auto_map) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForMaskedLM",
        "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    }


def test_a_map_from_the_hub_is_kept():
    assert BilmaConfig(auto_map={"AutoConfig": "org/x--y.Z"}).auto_map == {"AutoConfig": "org/x--y.Z"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_size": 33}, "hidden_size=33 is odd"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0 must be at least 1"),
        ({"attend_to_padding": True, "pad_token_id": None}, "needs a pad_token_id"),
        ({"pooling": "sum"}, "pooling"),
        ({"hidden_size": "big"}, "hidden_size"),
        ({"hidden_act": "foo"}, "hidden_act='foo' is unknown"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(StrictDataclassError, match=message):
        tiny_config(**wrong)


def test_dropout_may_be_the_integer_zero():
    assert tiny_config(hidden_dropout_prob=0).hidden_dropout_prob == 0
