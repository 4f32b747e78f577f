from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks import memorisation
from benchmarks.memorisation import MemorisationArguments, Text, find_names, guess
from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer
from tests.conftest import tiny_config
from tests.training.conftest import run_main, write_texts
from tests.training.exporting.conftest import save_regional
from training.common.errors import InputError

TOKENS = ["[PAD]", "[UNK]", "[START]", "[END]", "[MASK]", "vi", "a", "jua", "##nes", "ayer", "casa", "hoy"]


@pytest.fixture
def names_tokenizer():
    return build_tokenizer(TOKENS)


def found(tokenizer, text, counts, allowed):
    ids = [0, *tokenizer(text)["input_ids"]]  # the first stands for the token of a region
    args = MemorisationArguments(model="", corpora=[])
    pieces = np.array([token.startswith("##") for token in TOKENS])
    return find_names(args, [Text(text, ids, "ana")], pieces, Counter(counts), allowed, tokenizer)


def test_a_name_is_a_capitalised_word_in_mid_text_that_few_texts_hold(names_tokenizer):
    juanes = (TOKENS.index("jua"), TOKENS.index("##nes"))
    (name,) = found(names_tokenizer, "Vi a Juanes ayer", {juanes: 2}, range(1, 3))
    assert (name.word, name.position) == (juanes, 4)
    assert name.ids[[4, 5]].tolist() == [names_tokenizer.mask_token_id] * 2
    assert found(names_tokenizer, "Vi a Juanes ayer", {juanes: 3}, range(1, 3)) == []
    assert found(names_tokenizer, "vi a juanes ayer", {juanes: 2}, range(1, 3)) == []
    assert found(names_tokenizer, "Juanes ayer", {juanes: 2}, range(1, 3)) == []


def test_a_model_that_knows_the_name_is_right(names_tokenizer):
    model = BilmaForMaskedLM(tiny_config(vocab_size=len(TOKENS))).eval()
    (name,) = found(names_tokenizer, "vi a Casa hoy", {}, range(1))
    with torch.no_grad():
        model.decoder.bias[TOKENS.index("casa")] = 50
    ((right, log_probability),) = guess(model, [name], names_tokenizer)
    assert right == 1
    assert log_probability == pytest.approx(0, abs=1e-3)


def test_texts_without_rare_names_are_refused(tokenizer, tmp_path):
    model = save_regional(tokenizer, tmp_path / "model")
    corpora = write_texts(tmp_path / "mx.jsonl", [f"vamos a comer tacos {number}" for number in range(60)])
    with pytest.raises(InputError, match="no rare name"):
        run_main(memorisation, model=model, corpora=corpora, output_dir=tmp_path / "results", test_fraction=0.3)
