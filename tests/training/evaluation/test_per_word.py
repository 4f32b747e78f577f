import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from tests.conftest import tiny_config
from training.common.errors import InputError
from training.evaluation.masked_texts import TestTexts
from training.evaluation.models import ModelFolder, open_folder
from training.evaluation.per_word import mask_words, token_places, word_predictions, word_spans
from training.evaluation.predictions import Predictions
from training.texts.corpus import Corpus
from training.texts.synthetic import generate_texts

TEXTS = generate_texts("mx", 60)


def foreign_tokenizer(pre_tokenizer, kind, trainer, **settings) -> PreTrainedTokenizerFast:
    """A cased tokenizer as other families have it."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pipeline = Tokenizer(kind)
    pipeline.pre_tokenizer = pre_tokenizer
    pipeline.train_from_iterator(TEXTS, trainer(special_tokens=special, show_progress=False, **settings))
    pipeline.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=pipeline, pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64
    )


@pytest.fixture(scope="module")
def byte_level() -> PreTrainedTokenizerFast:
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=True, trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return foreign_tokenizer(pieces, models.BPE(), trainers.BpeTrainer, vocab_size=400, initial_alphabet=alphabet)


@pytest.fixture(scope="module")
def sentence_pieces() -> PreTrainedTokenizerFast:
    kind = models.BPE(unk_token="<unk>")
    return foreign_tokenizer(pre_tokenizers.Metaspace(), kind, trainers.BpeTrainer, vocab_size=400)


@pytest.fixture
def folders(tokenizer, byte_level, sentence_pieces, tmp_path):
    kinds = {"bilma": tokenizer, "bytes": byte_level, "pieces": sentence_pieces}
    return [ModelFolder(tmp_path, name, tiny_config(), kind) for name, kind in kinds.items()]


def as_test(*texts) -> TestTexts:
    return TestTexts("mx", Corpus(), list(texts), list(range(len(texts))), [None] * len(texts))


def words_of(text):
    return [text[start:end] for start, end in word_spans(text)]


def test_words_are_runs_of_letters_outside_of_placeholders():
    text = "¡Qué onda, güey! @ana_42 vio #Viernes y https://t.co/abc a las 10:30 jajaja"
    assert words_of(text) == ["Qué", "onda", "güey", "vio", "y", "a", "las", "jajaja"]


@pytest.mark.parametrize("text", ["¡Qué onda, mano!", "Estoy en la ciudad", "vamos  a comer tacos"])
def test_every_tokenizer_finds_the_tokens_of_a_word(folders, text):
    """What a model reads outside of a hidden word is the text without it."""
    spans = word_spans(text)
    for folder in folders:
        ids, places = token_places(text, spans, folder, 64)
        assert all(len(place) for place in places)
        assert not set(np.concatenate(places)) & {0, len(ids) - 1}  # the special tokens at the ends
        assert len(set(np.concatenate(places))) == sum(map(len, places))  # no token is of two words


def is_spelled(text, folder, max_length=64):
    return [len(place) > 0 for place in token_places(text, word_spans(text), folder, max_length)[1]]


def test_a_word_that_is_unknown_is_left_out(folders):
    assert is_spelled("hola \u3042\u3044 ya", folders[0]) == [True, False, True]


def test_a_word_that_is_cut_off_is_left_out(folders):
    text = "Vamos a comer tacos"
    for folder in folders:
        for max_length in range(3, 20):
            ids, places = token_places(text, word_spans(text), folder, max_length)
            whole, complete = token_places(text, word_spans(text), folder, 64)
            for place, all_tokens in zip(places, complete, strict=True):
                assert len(place) in (0, len(all_tokens))
            assert len(ids) == min(max_length, len(whole))


def test_a_word_that_is_joined_with_another_is_left_out(tmp_path):
    kind = models.WordLevel(unk_token="<unk>")
    spaces = foreign_tokenizer(pre_tokenizers.WhitespaceSplit(), kind, trainers.WordLevelTrainer)
    spaces.add_tokens(["uno,dos", "tres"])
    folder = ModelFolder(tmp_path, "spaces", tiny_config(), spaces)
    assert is_spelled("uno,dos tres", folder) == [False, False, True]


def test_all_models_predict_the_same_words(folders):
    found = mask_words(as_test(*TEXTS), folders, 64, 0.15, 2, 0)
    assert len({len(sizes) for sizes in found.sizes.values()}) == 1
    for folder in folders:
        masked, sizes = found.rows[folder.name], found.sizes[folder.name]
        assert sizes.sum() == len(masked.targets)
        assert len(sizes) == len(found.texts)
        for row in masked.rows:
            assert (row.input_ids[row.positions] == folder.tokenizer.mask_token_id).all()


def test_another_model_may_take_words_away_and_changes_no_others(folders):
    alone = mask_words(as_test(*TEXTS), folders[:1], 64, 0.15, 1, 0)
    together = mask_words(as_test(*TEXTS), folders, 64, 0.15, 1, 0)
    asked = {(row.text, *row.positions) for row in alone.rows["bilma"].rows}
    fewer = [set(row.positions) for row in together.rows["bilma"].rows]
    whole = {row.text: set(row.positions) for row in alone.rows["bilma"].rows}
    assert asked
    for row, positions in zip(together.rows["bilma"].rows, fewer, strict=True):
        assert positions <= whole[row.text]


def test_no_word_to_mask(folders):
    with pytest.raises(InputError, match="the test set is empty, no word that all models can spell"):
        mask_words(as_test("10:30 @ana"), folders, 64, 0.15, 1, 0)


def test_a_word_is_right_if_all_its_tokens_are():
    tokens = Predictions(np.zeros(5, int), np.array([0, 0, 0, 7, 2]), np.log([0.5, 0.5, 0.1, 0.2, 0.25]))
    words = word_predictions(tokens, np.array([2, 2, 1]))
    assert words.guess.tolist() == [0, -1, -1]
    assert words.rank.tolist() == [0, 7, 2]
    np.testing.assert_allclose(np.exp(words.log_probability), [0.25, 0.02, 0.25])


def test_a_foreign_folder_opens(tmp_path, byte_level):
    config = BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "beto")
    byte_level.save_pretrained(tmp_path / "beto")
    folder = open_folder(tmp_path / "beto")
    assert (folder.name, folder.region, folder.longest) == ("beto", None, 64)
    found = mask_words(as_test(*TEXTS[:5]), [folder], 128, 0.15, 1, 0)
    assert len(found.texts) > 0
