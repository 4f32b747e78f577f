"""Generate the synthetic corpus from templates and regional words."""

import json
import re
import string
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from training.common.errors import InputError
from training.common.files import write_text

LEXICON_FILE = Path(__file__).with_name("synthetic_lexicon.yaml")
# Share of the texts that get each feature.
RATES = {
    "opener": 0.18,
    "tag": 0.12,
    "remate": 0.15,
    "drop_opening_mark": 0.7,
    "capital": 0.6,
    "no_accents": 0.3,
    "stretch": 0.05,
    "lower": 0.3,
    "upper": 0.02,
    "mention": 0.18,
    "laughter": 0.12,
    "emoji": 0.3,
    "hashtag": 0.12,
    "link": 0.08,
}
END_MARKS = ("", "", "", "", "", ".", ".", ".", "!", "...")
LAUGHS = ("ja", "ja", "ja", "je", "js")
# Draws in a row without a new text after which the lexicon counts as used up.
MAX_REPEATS = 200
_SLOT = re.compile(r"\{(?:(\d+)-(\d+)|(\w+))\}")
_CONTRACTION = re.compile(r"\b([Dd]e|[Aa]) el\b")
_STRETCHABLE = re.compile(r"\b[^\W\d_]{3,}[aeiou]\b")
_FIRST_LETTER = re.compile(r"^[¿¡]*[^\W\d_]")
_WITHOUT_ACCENTS = str.maketrans("áéíóúüÁÉÍÓÚÜ", "aeiouuAEIOUU")
_WITHOUT_OPENING_MARKS = str.maketrans("", "", "¿¡")


class _TweetWriter:
    """Draws texts of one region, one after the other, from its own seeded generator."""

    def __init__(self, region: str, seed: int) -> None:
        lexicon = _lexicon()
        # A string seed is hashed with SHA-512 by Random: the same on every machine.
        self.rng = Random(f"{region}-{seed}")
        self.region = region
        self.words: dict[str, list[str]] = lexicon["common"] | lexicon["regions"][region]
        self.moods: dict[str, dict[str, Any]] = lexicon["moods"]
        self.topics = [topic for topic in lexicon["templates"] for _ in range(topic["weight"])]
        self.used: set[str] = set()

    def text(self) -> str:
        """Return a text without mentions and links."""
        self.used = set()
        topic = self.rng.choice(self.topics)
        mood = self.moods[topic["mood"]]
        sentence = self._sentence(self.rng.choice(topic["texts"]), mood)
        parts = [
            self._roughen(sentence),
            self._laughter(),
            self._emojis(mood["emojis"] + topic.get("emojis", "")),
            self._hashtag(topic["hashtags"] + self.words["hashtags"]),
        ]
        return _join(parts)

    def send(self, text: str) -> str:
        """Return the text with mentions before it or a link after it, sometimes."""
        return _join([self._mentions(), text, self._link()])

    def _chance(self, what: str) -> bool:
        return self.rng.random() < RATES[what]

    def _pick(self, slot: str) -> str:
        """Draw a word of a slot that the text does not have yet, the first ones of the list more often."""
        try:
            every_word = self.words[slot]
        except KeyError:
            raise InputError(
                f"{LEXICON_FILE.name} has no words for {{{slot}}} in region {self.region!r} or in common"
            ) from None
        words = [word for word in every_word if word not in self.used] or every_word
        # Squaring pulls the draw to the front: the first of 12 words comes 29 % of the time.
        draw = self.rng.random()
        word = words[int(len(words) * draw * draw)]
        self.used.add(word)
        return word

    def _fill(self, template: str) -> str:
        def fill_slot(match: re.Match[str]) -> str:
            low, high, slot = match.groups()
            if slot:
                return self._fill(self._pick(slot))
            return str(self.rng.randrange(int(low), int(high) + 1))

        return _SLOT.sub(fill_slot, template)

    def _sentence(self, template: str, mood: dict[str, Any]) -> str:
        sentence = self._fill(template)
        # A template that begins with a slot mostly begins with a name or a call of its own.
        if not template.startswith("{") and self._chance("opener"):
            sentence = f"{self._fill(self.rng.choice(mood['openers']))}, {sentence}"
        # A question has its end already.
        if not sentence.endswith("?"):
            sentence = self._end(sentence, mood)
        # In Spanish "de el" and "a el" do not exist, and slots bring their own article.
        return _CONTRACTION.sub(lambda match: match[1] + ("el" if match[1] in "dD" else "l"), sentence)

    def _end(self, sentence: str, mood: dict[str, Any]) -> str:
        if self._chance("tag"):
            sentence += self._pick("coletilla")
        elif self._chance("remate"):
            sentence += ", " + self._fill(self.rng.choice(mood["remates"]))
        mark = self.rng.choice(END_MARKS)
        if sentence.endswith("?"):
            return sentence
        return ("¡" if mark == "!" and "¿" not in sentence else "") + sentence + mark

    def _roughen(self, sentence: str) -> str:
        """Write the sentence as carelessly as people do."""
        if self._chance("drop_opening_mark"):
            sentence = sentence.translate(_WITHOUT_OPENING_MARKS)
        if self._chance("no_accents"):
            sentence = sentence.translate(_WITHOUT_ACCENTS)
        if self._chance("stretch"):
            sentence = self._stretch(sentence)
        if self._chance("upper"):
            return sentence.upper()
        if self._chance("lower"):
            return sentence.lower()
        if self._chance("capital"):
            return _FIRST_LETTER.sub(lambda match: match[0].upper(), sentence)
        return sentence

    def _stretch(self, sentence: str) -> str:
        ends = [match.end() for match in _STRETCHABLE.finditer(sentence)]
        if not ends:
            return sentence
        end = self.rng.choice(ends)
        return sentence[:end] + sentence[end - 1] * self.rng.randrange(2, 6) + sentence[end:]

    def _mentions(self) -> str:
        if not self._chance("mention"):
            return ""
        return " ".join("@" + self._handle() for _ in range(self.rng.choice((1, 1, 1, 2))))

    def _handle(self) -> str:
        name = self._pick("usuarios")
        return name if name == "usuario" else f"{name}_{self.rng.randrange(10, 100)}"

    def _laughter(self) -> str:
        return self.rng.choice(LAUGHS) * self.rng.randrange(2, 7) if self._chance("laughter") else ""

    def _emojis(self, emojis: str) -> str:
        return self.rng.choice(emojis) * self.rng.choice((1, 1, 1, 2, 3)) if self._chance("emoji") else ""

    def _hashtag(self, tags: list[str]) -> str:
        return "#" + self.rng.choice(tags) if self._chance("hashtag") else ""

    def _link(self) -> str:
        if not self._chance("link"):
            return ""
        if self.rng.random() < 0.3:
            return f"https://ejemplo.com/{self._pick('usuarios')}/{self.rng.randrange(10, 1000)}"
        return "https://t.co/" + "".join(self.rng.choice(string.ascii_letters) for _ in range(10))


def generate_texts(region: str, num_texts: int, seed: int = 0) -> list[str]:
    """Return `num_texts` different invented texts of a region, such as "mx".

    The result depends on the arguments alone, and a shorter request gives the beginning of a longer one.
    Texts that differ only in case, accents, opening marks, mentions or links do not count as different.

    Raises:
        InputError: if the region is unknown, `num_texts` is below 1, the lexicon cannot give so many texts, or the
            lexicon is damaged.
    """
    check_region(region)
    if num_texts < 1:
        raise InputError(f"num_texts must be at least 1, not {num_texts}")
    writer = _TweetWriter(region, seed)
    seen: set[str] = set()
    texts: list[str] = []
    repeats = 0
    while len(texts) < num_texts:
        text = writer.text()
        if (key := _plain(text)) not in seen:
            seen.add(key)
            texts.append(writer.send(text))
            repeats = 0
            continue
        repeats += 1
        if repeats == MAX_REPEATS:
            raise InputError(
                f"only about {len(texts)} different texts exist for region {region!r}, not {num_texts}: "
                f"ask for fewer or add words to {LEXICON_FILE.name}"
            )
    return texts


def available_regions() -> list[str]:
    """Return the regions of the lexicon in alphabetical order."""
    return sorted(_lexicon()["regions"])


def check_region(region: str) -> None:
    """Check that the lexicon has a region.

    Raises:
        InputError: if it has not, with the regions that it has.
    """
    if region not in _lexicon()["regions"]:
        raise InputError(f"unknown region {region!r}; there are: {' '.join(available_regions())}")


def write_corpus(output_dir: Path, region: str, texts: list[str]) -> Path:
    """Write texts as `<region>.jsonl` in `output_dir` and return its path.

    Raises:
        InputError: if the file cannot be written.
    """
    rows = ({"text": text, "region": region, "source": "synthetic"} for text in texts)
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = output_dir / f"{region}.jsonl"
    write_text(path, content)
    return path


def _plain(text: str) -> str:
    return text.lower().translate(_WITHOUT_ACCENTS).translate(_WITHOUT_OPENING_MARKS)


@cache
def _lexicon() -> dict[str, Any]:
    try:
        return yaml.safe_load(LEXICON_FILE.read_text(encoding="utf-8"))
    except yaml.YAMLError as err:
        raise InputError(f"{LEXICON_FILE.name} is not valid YAML: {' '.join(str(err).split())}") from err


def _join(parts: list[str]) -> str:
    return " ".join(part for part in parts if part)


SYNTHETIC = "These texts are synthetic: nobody wrote them."  # the beginning of the README of such a folder


def readme(regions: list[str], num_texts: int, seed: int) -> str:
    """Return the README of a folder of synthetic texts, with the command that makes them."""
    return (
        f"{SYNTHETIC} Do not use them to evaluate models of real language.\n"
        "Made by `python training/synthetic_corpus.py --output_dir <this folder> "
        f"--regions {' '.join(regions)} --num_texts {num_texts} --seed {seed}`.\n"
    )
