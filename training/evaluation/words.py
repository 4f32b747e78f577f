"""What counts as a word, in the scores over words."""

import unicodedata

# What the text rules write for a link, a user and a hashtag (`_url`, `_usr`, `_htag`), token by token.
PLACEHOLDERS = {"_", "url", "usr", "htag"}
# Unicode categories of punctuation, marks, control characters and numbers.
NO_WORD = "PMCN"


def is_word(token: str) -> bool:
    """Whether a token is neither a placeholder's piece, nor punctuation, nor a number, nor a mark on another sign.

    These are predicted from their neighbours in any region, and raise an accuracy without saying much. Emoji count as
    words. Special tokens are never masked.
    """
    return token not in PLACEHOLDERS and not all(unicodedata.category(character)[0] in NO_WORD for character in token)
