"""What happens to each text by itself: kept or left out, masked, and given its region and its side of the split."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import regex
import yaml
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.formatters.pii import PIIReplacer
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from training.common.errors import InputError
from training.corpus_preparation.records import TWEET_AUTHORS, first_value, is_retweet
from training.texts.columns import category
from training.texts.decoding import unicode_error
from training.texts.report import IN_WORDS, Reason
from training.texts.splits import group_hash, is_test, is_validation, split_hash

# Those found in the tweets of the eight regions beside Spanish, and those that short Spanish texts are taken for.
LANGUAGES = ["ca", "de", "en", "es", "eu", "fr", "gl", "ht", "id", "it", "nl", "pt", "qu", "ro", "tl", "tr"]
LEAST_PROBABILITY = 0.2  # of the wanted language; docs/cluster.md has what was measured
WITHOUT_AUTHOR = "without_author"  # the count of such texts
_ENTITIES = regex.compile(r"https?://\S+|[@#]\w+")
USER, LINK, MAIL, TELEPHONE, ADDRESS = "@usuario", "https://url", "correo@example.com", "000000000", "0.0.0.0"
_DIGITS = range(8, 16)  # of a telephone number; E.164 allows 15


class LeaveOutRetweets(BaseFilter):
    """Leaves out what repeats another tweet; quotations and answers stay."""

    type = "filter"
    name = "retweets"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return whether to keep a document, or False and the reason."""
        return not is_retweet(doc.metadata["record"], doc.text) or (False, "retweet")


@cache
def automatic_posts() -> tuple[frozenset[str], regex.Pattern[str]]:
    """Return the programs that post by themselves, in lower case, and the pattern of what such posts look like."""
    rules = yaml.safe_load((files(__package__) / "automatic_posts.yaml").read_text(encoding="utf-8"))
    return frozenset(rules["programs"]), regex.compile("|".join(rules["patterns"]), regex.IGNORECASE)


class LeaveOutAutomatic(BaseFilter):
    """Leaves out what programs post by themselves, such as check-ins, by the field `source` or by the text."""

    type = "filter"
    name = "automatic posts"

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return whether to keep a document, or False and the reason."""
        programs, pattern = automatic_posts()
        source = doc.metadata["record"].get("source")
        program = regex.sub(r"<[^>]*>", "", source).strip().lower() if isinstance(source, str) else ""
        if program in programs:
            return False, "posted by a program"
        return not pattern.search(doc.text) or (False, "text of an automatic post")


@cache
def language_identifier() -> LanguageIdentifier:
    """Return the identifier of py3langid, which takes a third of a second to open, once for each process."""
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier


class KeepLanguage(BaseFilter):
    """Leaves out what is hardly in a language; a text of mentions, links and hashtags alone stays."""

    type = "filter"
    name = "language"

    def __init__(self, language: str):
        super().__init__()
        self.language = language

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return whether to keep a document, or False and the reason."""
        words = _ENTITIES.sub(" ", doc.text)
        probabilities = dict(language_identifier().rank(words)) if regex.search(r"\p{L}", words) else {}
        return probabilities.get(self.language, 1.0) >= LEAST_PROBABILITY or (False, "another language")


class AssignRegion(BaseFilter):
    """Gives each document its region, and leaves out those without.

    Args:
        region_of: returns the code of the region of a record and the path of its dump; None for no region.
    """

    type = "filter"
    name = "region"

    def __init__(self, region_of: Callable[[dict[str, Any], str], str | None]):
        super().__init__()
        self.region_of = region_of

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return whether to keep a document, or False and the reason."""
        region = self.region_of(doc.metadata["record"], doc.metadata["path"])
        if region is None:
            return False, "no region"
        doc.metadata["region"] = region
        return True


class AssignSplit(BaseFilter):
    """Gives each document the hash of its author and its side of the split, as all scripts of the project split.

    A text without an author is split by its own hash, and counted. The record is dropped here.
    """

    type = "filter"
    name = "split"

    def __init__(self, group_column: str | None, validation_fraction: float, test_fraction: float):
        super().__init__()
        self.paths: Sequence[str] = (group_column,) if group_column else TWEET_AUTHORS
        self.validation_fraction, self.test_fraction = validation_fraction, test_fraction

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Return True, or False and the reason if the author's name is not Unicode."""
        try:
            author = category(first_value(doc.metadata["record"], self.paths))
        except ValueError as error:
            raise InputError(f"{doc.metadata['path']}, {doc.id}: {self.paths[0]!r} {error}") from error
        if author and unicode_error(author):
            return False, IN_WORDS[Reason.INVALID]
        number = split_hash(doc.text, author)
        split = "train"
        if is_validation(number, self.validation_fraction):
            split = "validation"
        elif is_test(number, self.test_fraction):
            split = "test"
        author_hash = None if author is None else group_hash(author)
        if author is None:
            self.stat_update(WITHOUT_AUTHOR)
        doc.metadata = {"region": doc.metadata["region"], "author_hash": author_hash, "split": split}
        return True


class MaskEntities(PIIFormatter):
    """Masks users, links, telephone numbers, and, as datatrove does, mail and IP addresses.

    The tokenizer sees users and links as before, since it has one token for each kind.
    """

    type = "formatter"
    name = "mask"

    def __init__(self) -> None:
        super().__init__(email_replacement=MAIL, ip_replacement=ADDRESS)
        self.links = PIIReplacer(r"(?:https?://|\bwww\.)\S+", LINK)
        self.users = PIIReplacer(r"(?<![\w@])@\w+", USER)
        self.telephones = PIIReplacer(r"(?<![\w.,$€#])\+?\(?\d[\d ().-]{6,}\d(?![\w%])", TELEPHONE, is_telephone)

    def format(self, text: str) -> str:
        """Return a text with its entities masked, links first, for they may hold users and numbers."""
        text = super().format(self.links.replace(text))
        return self.telephones.replace(self.users.replace(text))


def is_telephone(number: str) -> bool:
    """Tell whether digits may be a telephone number: as many as one has, no date, and no thousands between points."""
    digits = sum(character.isdigit() for character in number)
    date = regex.match(r"\d{4}-\d{1,2}-\d{1,2}\b|\d{1,2}[-.]\d{1,2}[-.]\d{2,4}\b", number)
    thousands = regex.fullmatch(r"\d{1,3}([. ]\d{3})+", number)
    return digits in _DIGITS and not date and not (thousands and not number.startswith("+"))
