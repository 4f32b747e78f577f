"""Facts about a region written by hand: names, description of its Spanish, phrases to try, origin of the texts."""

from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import yaml

from training.common.errors import InputError
from training.publishing.publication import repository_name

# In the repository and not in the package, as it is edited by hand and publish.py is run from a checkout.
MODEL_CARDS = Path(__file__).parents[2] / "model_cards"
LANGUAGES = ("es", "en")
IN_BOTH_LANGUAGES = ("country", "variety", "speech")
LISTS = ("phrases", "texts")


class InLanguages(TypedDict):
    es: str
    en: str


class Memorisation(InLanguages):
    model: str  # fingerprint of its weights


class Facts(TypedDict):
    """Content of a facts.yaml: `corpora` describes texts by their fingerprint, `genre` what kind of texts the region's
    are if not tweets, and `memorisation` reports a test of whether a model reproduces training texts."""

    country: InLanguages
    variety: InLanguages
    speech: InLanguages
    phrases: list[str]
    texts: list[str]
    corpora: dict[str, InLanguages]
    genre: InLanguages | None
    memorisation: NotRequired[Memorisation]


def read_facts(region: str | None, folder: Path = MODEL_CARDS) -> Facts:
    """Read the facts of a region or, with None, of the family; `corpora` is empty if the file has none.

    Raises:
        InputError: if facts.yaml is missing or incomplete.
    """
    path = folder / repository_name(region) / "facts.yaml"
    if not path.is_file():
        raise InputError(f"{path}: missing, but the card needs it: write it as docs/publishing.md describes")
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: not a mapping of keys to values")
    for key in (*IN_BOTH_LANGUAGES, *({"genre", "memorisation"} & facts.keys())):
        check_languages(facts.get(key), f"{path}: {key}")
    for key in LISTS:
        if not (isinstance(facts.get(key), list) and facts[key] and all(isinstance(text, str) for text in facts[key])):
            raise InputError(f"{path}: {key} is not a list of texts")
    facts.setdefault("genre", None)
    if "memorisation" in facts and not isinstance(facts["memorisation"].get("model"), str):
        raise InputError(f"{path}: memorisation: model is not the fingerprint of a model")
    corpora = facts.setdefault("corpora", {})
    if not isinstance(corpora, dict):
        raise InputError(f"{path}: corpora is not a mapping of fingerprints to descriptions")
    for fingerprint, description in corpora.items():
        check_languages(description, f"{path}: corpora: {fingerprint}")
    return cast(Facts, facts)


def check_languages(text: Any, where: str) -> None:
    for language in LANGUAGES:
        if not (isinstance(text, dict) and isinstance(text.get(language), str) and text[language].strip()):
            raise InputError(f"{where} lacks its text in {language}")
