"""The Emoji-15 task: texts with exactly one of fifteen emoji, which becomes the label."""

import re

from modeling_bilma.published import EMOJI_15
from modeling_bilma.tokenization_bilma import normalize

EMOJI_TASK = "emoji15"
# An emoji with its variation selector and skin tone. Joined to another one, as in the burning heart, it is a different
# emoji.
_JOINER = "\u200d"
_EMOJI = re.compile(f"(?<!{_JOINER})([{''.join(EMOJI_15)}])[\ufe0e\ufe0f]?+[\U0001f3fb-\U0001f3ff]?+(?!{_JOINER})")


def emoji15(text: str) -> tuple[str, str] | None:
    """Return the text without its emoji, and that emoji, if it holds exactly one kind of the fifteen, however often.

    Other emoji stay. Returns None also if nothing is left without the emoji, or if one of the fifteen is left as part
    of another emoji (❤ in the burning heart).
    """
    kinds = {match[1] for match in _EMOJI.finditer(text)}
    rest = " ".join(_EMOJI.sub(" ", text).split())
    if len(kinds) != 1 or not normalize(rest).strip() or any(emoji in rest for emoji in EMOJI_15):
        return None
    return rest, kinds.pop()
