import json
import subprocess
import sys

import pytest
from transformers import AutoTokenizer, pipeline

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import (
    SPECIAL_TOKENS,
    build_tokenizer,
    load_tokenizer,
    normalize,
    normalize_all,
    read_vocabulary,
    train_vocabulary,
)
from tests.conftest import TEXTS, tiny_config

WORDS = [
    "vamos",
    "a",
    "comer",
    "tacos",
    "con",
    "url",
    "usr",
    "htag",
    "0",
    "jaja",
    "jeje",
    "jiji",
    "nono",
    "que",
    "mexico",
    "aqui",
    "k",
    "me",
    "2",
    "b",
]
PIECES = ["##s", "##ito", "##it"]
SIGNS = list("_.,¿?¡!&<>@#😍❤")
VOCABULARY = [*SPECIAL_TOKENS, *WORDS, *PIECES, *SIGNS]


@pytest.fixture(scope="module")
def rules():
    return build_tokenizer(VOCABULARY)


def tokens(tokenizer, text: str) -> str:
    return " ".join(tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"]))


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("link", "vamos https://t.co/a1B2?x=1#y a", "vamos _ url a"),
        ("link without a space before", "vamoshttp://x.mx a", "vamos _ url a"),
        ("link, any case", "HTTPS://X.MX FTP://x", "_ url _ url"),
        ("user", "vamos @Ana_42 a", "vamos _ usr a"),
        ("user with a full stop is one user", "@ana.", "_ usr"),
        ("hashtag", "vamos #ViernesDeTacos a", "vamos _ htag a"),
        ("number", "10 -3.5 +7 1,5", "0 0 0 0 , 0"),
        ("number inside a word", "2b", "0 b"),
        ("number at the end of a word, which it stays part of", "b2 2b", "[UNK] 0 b"),
        ("numbers next to each other", "1.2.3.4 5-3 +-5.", "0 . 0 0 0 [UNK] 0"),
        ("digits of any script", "\u0661\u0662 a", "0 a"),
        ("what the rules write is text too", "@usr #htag _url 0", "_ usr _ htag _ url 0"),
        ("a sign without a name", "@ # a@ b", "@ # a @ b"),
        ("rules one inside the other", "#@ana @#tema http://@x", "_ htag _ usr _ url"),
        ("entities", "k &amp; k &gt; k &lt; k", "k & k > k < k"),
        ("lower case", "VAMOS", "vamos"),
        ("accents", "México aquí qué", "mexico aqui que"),
        ("tilde and diaeresis", "ñoño", "nono"),
        ("combining accents", "me\u0301xico", "mexico"),
        ("laughter", "jajajaja jaaaj jajajeji", "jaja jaja jaja"),
        ("laughter keeps its first vowel", "jejeje jijiji jeja", "jeje jiji jeje"),
        ("laughter with h", "hahaha hehe hihi heha", "jaja jeje jiji jeje"),
        ("one syllable is no laughter", "ja", "[UNK]"),
        ("white space", " vamos\t\n a\u00a0comer\u2028tacos ", "vamos a comer tacos"),
        ("separators that only Python takes for space", "vamos\x1ca\x1fcomer", "vamos a comer"),
        ("punctuation stands alone", "¡vamos!, ¿tacos?", "¡ vamos ! , ¿ tacos ?"),
        ("emoji stand alone", "tacos😍😍❤", "tacos 😍 😍 ❤"),
        ("pieces, longest first", "taquitos tacositos", "[UNK] tacos ##ito ##s"),
        ("unknown sign", "tacos 🏽", "tacos [UNK]"),
        ("empty", "", ""),
        ("only space", " \n ", ""),
    ],
)
def test_text_rule(rules, rule, text, expected):
    assert tokens(rules, text) == expected


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("ve a @usuario ya", ["@", "o"]),
        ("ve a https://ejemplo.com/x ya", ["h", "x"]),
        ("ve a FTP://x ya", ["F", "x"]),
        ("ve a #tema ya", ["#", "a"]),
        ("ve a @a ya", ["@", "a"]),
        ("ve a 7 ya", ["7"]),
        ("ve a JAJAjaja ya", ["JAJAjaja"]),
        ("ve a hehehé ya", ["hehehé"]),
        ("ve a tacos ya", ["tacos"]),
    ],
)
def test_tokens_span_what_they_replace(rules, text, spans):
    """From the first character of the first token to the last of the last; spaces around are of no token."""
    encoded = rules(text, add_special_tokens=False, return_offsets_mapping=True)
    inside = [offsets for offsets in encoded["offset_mapping"] if 5 <= offsets[0] < len(text) - 3]
    assert [text[first:last] for first, last in inside] == spans
    assert encoded.char_to_token(5) == encoded["offset_mapping"].index(inside[0])


def test_a_number_has_the_place_of_its_last_digit(rules):
    """A known limit: in `tokenizers`, one character of a token spans one of the text, and `0` is one character."""
    encoded = rules("a -1250.5 a", add_special_tokens=False, return_offsets_mapping=True)
    assert encoded["offset_mapping"] == [(0, 1), (8, 9), (10, 11)]


def test_a_sigma_is_the_same_at_the_end_of_a_word():
    """JavaScript lower-cases it to another letter there, unless a rule comes before."""
    known = build_tokenizer([*VOCABULARY, "ο", "δ", "σ", "ς"])
    assert tokens(known, "ΟΔΟΣ Σ.") == "ο δ ο σ σ ."
    assert tokens(known, "ς") == "ς"


def test_a_vocabulary_without_a_number_has_unknown_ones():
    assert tokens(build_tokenizer([token for token in VOCABULARY if token != "0"]), "a 10 a") == "a [UNK] a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vamos a comer [MASK].", "vamos a comer [MASK] ."),
        ("vamos a comer[MASK]tacos", "vamos a comer [MASK] tacos"),
        ("¿[MASK]?", "¿ [MASK] ?"),
        ("[MASK][MASK] a [MASK]", "[MASK] [MASK] a [MASK]"),
        ("[mask]", "[UNK] [UNK] [UNK]"),
    ],
)
def test_mask(rules, text, expected):
    assert tokens(rules, text) == expected


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("¡Qué frío, @ana!", "¡que frio, _usr "),
        ("  HOLA\t\n\x1c10 ", " hola 0 "),
        ("jajeja hehe\x1ehahajaja", "jaja jeje jajajaja"),
        ("jiHaha hahajii", "jijaja jajajiji"),
        ("", ""),
    ],
)
def test_a_normalised_text(text, normal):
    assert normalize(text) == normal
    assert normalize_all([text, "otro", text]) == [normal.strip(), "otro", normal.strip()]


def test_start_and_end_are_added_and_pairs_too(rules):
    start, end, vamos = 2, 3, VOCABULARY.index("vamos")
    assert rules("vamos")["input_ids"] == [start, vamos, end]
    assert rules("vamos", "vamos")["input_ids"] == [start, vamos, end, vamos, end]
    assert set(rules("vamos")) == {"input_ids", "attention_mask"}


def test_a_word_may_be_far_longer_than_a_tweet(rules):
    assert tokens(rules, "tacos" + "ito" * 331).split() == ["tacos", *["##ito"] * 331]
    assert tokens(rules, "a" * 1_000_000) == "[UNK]"


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("Vamos a comer tacos.", "vamos a comer tacos."),
        ("¿Qué tacos, @ana ?", "¿que tacos, _usr?"),
        ("¡TACOSITOS! 😍", "¡tacositos! 😍"),
    ],
)
def test_decoding_is_readable(rules, text, readable):
    assert rules.decode(rules(text)["input_ids"], skip_special_tokens=True) == readable


def test_the_rules_survive_saving(rules, tmp_path):
    rules(TEXTS, padding=True, truncation=True, max_length=5)
    rules.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
    assert loaded.model_max_length == 280
    for text in [*TEXTS, "jajaja\x1cHEHE ñ 😍[MASK]."]:
        assert loaded(text)["input_ids"] == rules(text)["input_ids"]
        assert loaded.decode(loaded(text)["input_ids"]) == rules.decode(rules(text)["input_ids"])


def test_vocabulary_begins_with_the_special_tokens():
    assert train_vocabulary(TEXTS)[:5] == ["[PAD]", "[UNK]", "[START]", "[END]", "[MASK]"]


def test_vocabulary_is_no_larger_than_asked():
    assert len(train_vocabulary(TEXTS * 5, vocab_size=120)) <= 120
    assert len(train_vocabulary(TEXTS, min_frequency=1000)) < len(train_vocabulary(TEXTS, min_frequency=1))


@pytest.mark.slow
def test_learning_a_vocabulary_twice_gives_the_same_one_in_any_process():
    texts = [f"{a}{b} {b}{a}" for a in WORDS for b in WORDS]
    code = (
        "import json, sys; from modeling_bilma.tokenization_bilma import train_vocabulary;"
        "print(json.dumps(train_vocabulary(json.loads(sys.argv[1]), 400)))"
    )
    command = [sys.executable, "-c", code, json.dumps(texts)]
    other = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert train_vocabulary(texts, 400) == train_vocabulary(iter(texts), 400) == other


def test_every_letter_of_a_learnt_vocabulary_is_known():
    learnt = build_tokenizer(train_vocabulary(TEXTS))
    assert "[UNK]" not in learnt.tokenize("abcdefghijklmnopqrstuvwxyz x1y2")


def test_vocabulary_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\n".join([*VOCABULARY, "\u2028", "a\rb"]).encode() + b"\n")
    assert read_vocabulary(path) == [*VOCABULARY, "\u2028", "a\rb"]
    assert load_tokenizer(path).get_vocab() == build_tokenizer(read_vocabulary(path)).get_vocab()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n[UNK]\nvamos\n", "does not begin with the special tokens"),
        (b"", "does not begin with the special tokens"),
        ("\n".join([*SPECIAL_TOKENS, "a", "b", "a"]).encode(), r"'a' twice \(line 8\)"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(path)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer could be opened at"):
        load_tokenizer(tmp_path)


def test_fill_mask_pipeline(tokenizer):
    model = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer)))
    fill = pipeline("fill-mask", model=model, tokenizer=tokenizer)
    answers = fill("Vamos a comer[MASK]!", top_k=4)
    assert len(answers) == 4
    assert all(answer["sequence"].startswith("vamos a comer") for answer in answers)
    assert [len(part) for part in fill("[MASK] vamos [MASK]", top_k=2)] == [2, 2]
    batch = fill(["vamos a [MASK]", "me gusta tomar [MASK] en la mañana con los primos"], top_k=1, batch_size=2)
    alone = fill("vamos a [MASK]", top_k=1)
    assert batch[0][0]["token"] == alone[0]["token"]
    long = "vamos [MASK] " + "tacos " * 100
    assert len(fill(long, top_k=2, tokenizer_kwargs={"truncation": True})) == 2
