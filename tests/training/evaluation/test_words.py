import pytest

from training.evaluation.words import is_word


@pytest.mark.parametrize("token", ["_", "url", "usr", "htag", ",", "¿", "…", "\ufe0f", "0", "##7", "½"])
def test_tokens_that_are_no_words(token):
    assert not is_word(token)


@pytest.mark.parametrize("token", ["hola", "😍", "##ndo", "covid19"])
def test_words(token):
    assert is_word(token)
