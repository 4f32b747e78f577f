"""What a card says that no program knows: the region's names, how it speaks, phrases to try, what its corpora are."""

from pathlib import Path
from typing import Any

import yaml

from training.common.errors import InputError
from training.texts.regions import Region

# A part of the repository and not of the package: people write there, and publish.py is run from a checkout.
MODEL_CARDS = Path(__file__).parents[2] / "model_cards"
LANGUAGES = ("es", "en")
IN_BOTH_LANGUAGES = ("country", "variety", "speech")
LISTS = ("phrases", "texts")


def read_facts(region: Region, folder: Path = MODEL_CARDS) -> dict[str, Any]:
    """The facts of a region, whole; `corpora` is empty where the file describes none.

    Raises:
        InputError: if there is no facts.yaml of the region, or it lacks something.
    """
    path = folder / f"bilma-{region.code}" / "facts.yaml"
    if not path.is_file():
        raise InputError(f"{path}: no facts for the card of {region.code}: write them as {folder / 'README.md'} says")
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(facts, dict):
        raise InputError(f"{path}: not a list of `key: value` lines")
    for key in IN_BOTH_LANGUAGES:
        check_languages(facts.get(key), f"{path}: {key}")
    for key in LISTS:
        if not (isinstance(facts.get(key), list) and facts[key] and all(isinstance(text, str) for text in facts[key])):
            raise InputError(f"{path}: {key} is not a list of texts")
    corpora = facts.setdefault("corpora", {})
    if not isinstance(corpora, dict):
        raise InputError(f"{path}: corpora is not fingerprints with their descriptions")
    for fingerprint, words in corpora.items():
        check_languages(words, f"{path}: corpora: {fingerprint}")
    return facts


def check_languages(words: Any, where: str) -> None:
    for language in LANGUAGES:
        if not (isinstance(words, dict) and isinstance(words.get(language), str) and words[language].strip()):
            raise InputError(f"{where} lacks its text in {language}")
