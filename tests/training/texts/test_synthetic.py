"""The generator of synthetic texts, and its lexicon."""

import hashlib
import re
from collections import Counter

import pytest

from training.common.errors import InputError
from training.texts import synthetic
from training.texts.synthetic import available_regions, generate_texts

REGIONS = ["ar", "cl", "co", "es", "mx", "us", "uy", "ve"]
MX_200_SHA256 = "17a87fca3030e4b0c0d3eaadad9191b8acd64baeba3dcd0aa5296fd5d2161312"
MAIN_SLOTS = "comida desayuno postre bebida sube_m sube_f ciudad amigo transporte bravo uf ropa lugar persona"


@pytest.fixture(scope="module")
def corpora():
    return {region: generate_texts(region, 4000) for region in REGIONS}


def fold(text):
    return text.lower().translate(str.maketrans("áéíóúü", "aeiouu", "¿¡"))


def test_every_region_is_there():
    assert available_regions() == REGIONS


@pytest.mark.parametrize("region", REGIONS)
def test_4000_texts_differ_even_without_case_accents_mentions_and_links(corpora, region):
    plain = {fold(re.sub(r"(@\w+ )+| ?https://\S+", "", text)) for text in corpora[region]}
    assert len(corpora[region]) == len(plain) == 4000
    assert not any("{" in text or "\n" in text for text in corpora[region])


def test_same_arguments_same_texts_and_a_shorter_request_is_a_prefix(corpora):
    assert generate_texts("mx", 4000) == corpora["mx"]
    assert generate_texts("mx", 150) == corpora["mx"][:150]


def test_other_seed_gives_other_texts(corpora):
    assert generate_texts("mx", 100, seed=1) != corpora["mx"][:100]


def test_mx_output_is_pinned(corpora):
    # Fails after any change of lexicon or generator: put the new digest here if the change is meant.
    assert hashlib.sha256("\n".join(corpora["mx"][:200]).encode()).hexdigest() == MX_200_SHA256


@pytest.mark.parametrize(
    ("region", "staple"),
    [
        ("ar", "asado"),
        ("cl", "sushi"),
        ("co", "empanadas"),
        ("es", "paella"),
        ("mx", "tacos"),
        ("us", "pizza"),
        ("uy", "chivitos"),
        ("ve", "arepas"),
    ],
)
def test_regional_staple_is_clearly_the_most_common(corpora, region, staple):
    words = Counter(re.findall(r"vamos a comer (\w+)", "\n".join(map(fold, corpora[region]))))
    (first, first_count), (_, second_count) = words.most_common(2)
    assert first == staple
    assert first_count > 1.5 * second_count


@pytest.mark.parametrize("region", REGIONS)
def test_plain_phrases_are_about_a_fifth(corpora, region):
    phrases = r"vamos a comer|me gusta tomar|estoy en la ciudad de|(subio|subieron) de precio"
    share = sum(bool(re.search(phrases, fold(text))) for text in corpora[region]) / 4000
    assert 0.15 < share < 0.3


@pytest.mark.parametrize(
    "noise",
    [
        r"^@usuario ",
        r"@[a-z]+_\d\d ",
        r" https://t\.co/[A-Za-z]{10}$",
        r" https://ejemplo\.com/[a-z]+/\d+$",
        r" #\w+",
        r"\d+ (pesos|mil)|\$\d+",
        r"a las \d",
        r"(ja){3,}",
        r"(je){3,}",
        r"(js){2,}",
        r"[😂😭😊🤔]",
        r"([aeiou])\1\1",
        r"^[^a-z]{20,}$",
        r"^[a-zñáéíóú ]+$",
        r"^¿.+\?",
        r"^[^¿]+\?",
        r"subió de precio",
        r"subio de precio",
        r"\.\.\.",
    ],
)
def test_each_kind_of_noise_occurs_but_not_everywhere(corpora, noise):
    hits = sum(bool(re.search(noise, text)) for text in corpora["mx"])
    assert 5 < hits < 2000


def test_articles_are_contracted(corpora):
    for texts in corpora.values():
        assert not [text for text in texts if re.search(r"\b(de|a) el (?!paso)", text)]


def test_lexicon_holds_only_words_and_every_slot_is_filled():
    lexicon = synthetic._lexicon()
    templates = [text for topic in lexicon["templates"] for text in topic["texts"]]
    assert len(templates) == len(set(templates)) >= 60
    for region in REGIONS:
        words = lexicon["common"] | lexicon["regions"][region]
        # YAML reads an unquoted no or 12 as something other than a word.
        assert all(isinstance(word, str) for values in words.values() for word in values)
        assert all(len(values) == len(set(values)) for values in words.values())
        every_text = templates + [word for values in words.values() for word in values]
        slots = re.findall(r"\{([a-z_]+)\}", " ".join(every_text))
        assert set(slots) <= set(words)
        for slot in MAIN_SLOTS.split():
            assert len(words[slot]) >= 12, (region, slot)


def test_unknown_region_names_the_regions():
    with pytest.raises(InputError, match=r"unknown region 'xx'; there are: ar cl co es mx us uy ve$"):
        generate_texts("xx", 1)


def test_no_texts_is_an_error():
    with pytest.raises(InputError, match="at least 1, not 0"):
        generate_texts("mx", 0)


@pytest.fixture
def tiny_lexicon(monkeypatch):
    lexicon = {
        "common": {"hashtags": ["Hoy"], "coletilla": [" po"], "usuarios": ["ana"], "interj": ["oye"]},
        "regions": {"cl": {"comida": ["sushi"]}},
        "moods": {"calm": {"openers": ["{interj}"], "remates": ["en fin"], "emojis": "🤔"}},
        "templates": [{"weight": 1, "mood": "calm", "hashtags": ["Once"], "texts": ["quiero {comida}"]}],
    }
    monkeypatch.setattr(synthetic, "_lexicon", lambda: lexicon)
    monkeypatch.setattr(synthetic, "MAX_REPEATS", 20)
    return lexicon


def test_more_texts_than_exist_is_an_error(tiny_lexicon):
    with pytest.raises(InputError, match=r"^only about \d+ different texts .* not 50000: ask for"):
        generate_texts("cl", 50_000)


def test_slot_without_words_is_named(tiny_lexicon):
    tiny_lexicon["templates"][0]["texts"] = ["quiero {postre}"]
    with pytest.raises(InputError, match=r"has no words for \{postre\} in region 'cl'"):
        generate_texts("cl", 1)


def test_a_broken_lexicon_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "lexicon.yaml"
    broken.write_text("common: [a\nregions: {")
    monkeypatch.setattr(synthetic, "LEXICON_FILE", broken)
    monkeypatch.setattr(synthetic, "_lexicon", synthetic._lexicon.__wrapped__)
    with pytest.raises(InputError, match=r"lexicon.yaml is not valid YAML"):
        generate_texts("mx", 1)
