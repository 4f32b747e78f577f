from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import with_final_mask
from training.texts.encoding import encode
from training.texts.synthetic import generate_texts


def test_encode_gives_what_the_tokenizer_gives_for_each_text(tokenizer, awkward_texts):
    texts = [*awkward_texts, *generate_texts("mx", 300)] * 2
    alone = [tokenizer(text)["input_ids"] for text in texts]
    tokenizer(texts, truncation=True, padding=True, max_length=5)
    assert encode(texts, tokenizer, max_length=10_000) == alone
    assert encode([], tokenizer, max_length=10_000) == []


def test_encode_adds_the_final_mask_of_a_tokenizer_and_keeps_it(tokenizer):
    masked = with_final_mask(tokenizer)
    mask, end = tokenizer.mask_token_id, tokenizer.sep_token_id
    short, long = encode(["vamos", "vamos " * 50], masked, max_length=8)
    assert short == [*tokenizer("vamos")["input_ids"][:-1], mask, end] == masked("vamos")["input_ids"]
    assert long == masked("vamos " * 50, truncation=True, max_length=8)["input_ids"]
    assert long[-2:] == [mask, end]
    assert tokenizer("vamos")["input_ids"][-2] != mask, "the tokenizer itself stays as it is"


def test_encode_knows_other_tokenizers():
    pipeline = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "vamos": 2, "a": 3}, unk_token="a"))
    pipeline.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    other = TokenizersBackend(tokenizer_object=pipeline, cls_token="<s>", sep_token="</s>")
    assert encode(["vamos a", "a"], other, max_length=9) == [[2, 3], [3]], "it adds no special tokens"


def test_encode_cuts_long_texts_and_keeps_the_end(tokenizer):
    short, long = encode(["vamos", "vamos " * 50], tokenizer, max_length=8)
    assert short == tokenizer("vamos")["input_ids"]
    assert len(long) == 8
    assert (long[0], long[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
