"""Texts to compare the two tokenizers on: real ones, and every kind that could tell them apart."""

import gzip
import json
import random
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# From the README of the authors' package.
README_SENTENCES = [
    "Tenemos tres dias sin internet ni senal de celular en el pueblo.",
    "Incomunicados en el siglo XXI tampoco hay servicio de telefonia fija",
    "Vamos a comer unos tacos",
    "Los del banco no dejan de llamarme",
]
REGIONS = ("ar", "cl", "co", "es", "mx", "us", "uy", "ve")
EMOJI = "❤👌👏💔😄😊😌😍😒😘😡😢😭🤔🥺👍👩🧑🏳✊☝"
MODIFIERS = ["\ufe0f", "\ufe0e", "\u200d", "\u20e3", *"🏻🏼🏽🏾🏿", "🇲🇽", "♀", "♂", "\u0301"]
SPACES = [" ", "  ", "\n", "\t", "\r\n", *"\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2003\u2028"]
# Not [MASK] and the like: spelt in a text they are special tokens here, and single characters to the authors.
SCRAPS = [
    *(
        "&amp;",
        "&gt;",
        "&lt;",
        "&amp;lt;",
        "https://t.co/Ab1",
        "HTTP://X",
        "ftp://a",
        "httpſ://k",
        "http://",
        "https:",
    ),
    *("@usuario", "@", "#", "#México", "a@b.com", "3.14", "-2", "+5.", "1,000", "12:30", "٣٤", "½", "x²", "RT"),
    *("ÑANDÚ", "pingüino", "İstanbul", "ΟΔΟΣ", "ΣΑΣ", "ﬁn", "ẞ", "é", "e\u0301", "ñ", "n\u0303", "¿qué?", "¡ay!"),
    *("[mask]", "[", "]", "##a", "##", "_url", "_usr", "jaja", "jejeje", "HAHA", "jhajha", "ajajá"),
]


def real_texts(folder: Path, per_region: int, seed: int = 0) -> list[str]:
    """Texts of the corpus files, as many from each region."""
    texts = []
    for region in REGIONS:
        with gzip.open(folder / f"{region}.jsonl.gz", "rt", encoding="utf-8") as lines:
            of_region = [json.loads(line)["text"] for line in lines]
        texts += random.Random(seed).sample(of_region, per_region)
    return texts


LONGEST_WORD = 1000  # a longer one is [UNK] here, and no limit is set by the authors


def assigned_characters() -> list[str]:
    """Unicode as this Python knows it; the classes of characters assigned later differ between libraries."""
    unusable = ("Cn", "Cs", "Co")  # unassigned, half a character, private
    characters = (chr(i) for i in range(sys.maxunicode + 1))
    return [c for c in characters if unicodedata.category(c) not in unusable]


def fuzzed_texts(count: int, seed: int = 0) -> list[str]:
    """At least `count` texts: all of Unicode once, eight characters a text, and then random ones."""
    rng = random.Random(seed)
    characters = assigned_characters()
    texts = ["", " ", "\n", "".join(SPACES), "ja" * 2000, "9" * 3000, "https://" + "x" * 3000]
    texts += [letters * (LONGEST_WORD // len(letters)) for letters in ("a", "zq", "xyzab")]
    for start in range(0, len(characters), 8):
        texts.append(" ".join(f"a{c}1{c}{c} {c}" for c in characters[start : start + 8]))
    makers = _makers(rng, characters)
    while len(texts) < count:
        texts.append(next(makers))
    return texts


def _makers(rng: random.Random, characters: list[str]) -> Iterator[str]:
    def pick(pool, most):
        return "".join(rng.choices(pool, k=rng.randint(0, most)))

    letters = "abcdefghijklmnopqrstuvwxyzáéíóúüñABCÑ0123456789"
    while True:
        yield pick(characters, 40)
        yield pick("jaeihJAEIHjajaja o", 40)
        yield pick([*EMOJI, *MODIFIERS], 20)
        marks = rng.choices(["http://", "HTTPS://", "ftp://", "@", "#"], k=3)
        yield "".join(mark + pick(letters + " /.?", 20) for mark in marks)
        yield pick(letters, 600)
        yield pick([*SCRAPS, *SPACES, *EMOJI, *letters, "ja", "ha"], 40)
        yield " ".join(pick(letters, 12) for _ in range(rng.randint(0, 400)))  # often longer than the model
