"""Counts of what reading a corpus gave, and of what it left out."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a text is left out; the value is the field of `ReadingReport` that counts it."""

    EMPTY = "empty"
    INVALID = "invalid"
    TOO_LONG = "too_long"
    UNLABELLED = "unlabelled"
    NOTICE = "notices"
    OTHER_REGION = "other_regions"
    NO_EMOJI_LABEL = "without_emoji_label"


IN_WORDS = {
    Reason.EMPTY: "empty",
    Reason.INVALID: "not decodable",
    Reason.TOO_LONG: "over 1 MB",
    Reason.UNLABELLED: "without a label",
    Reason.NOTICE: "notices of the Twitter API",
    Reason.OTHER_REGION: "of other regions",
    Reason.NO_EMOJI_LABEL: "without exactly one kind of the fifteen emoji",
}
HARMLESS = (Reason.EMPTY, Reason.NOTICE)  # nothing of a text is lost with these
LeaveOut = Callable[[Reason, str], None]  # takes the reason and the place; may raise `InputError`


@dataclass
class ReadingReport:
    """Number of texts read, of their tokens, and of the texts left out for each `Reason`.

    `empty` texts hold no visible character or no token; `invalid` ones are not Unicode. The last two are usable texts
    that a task of labelled texts does not take.
    """

    texts: int = 0
    tokens: int = 0
    invalid: int = 0
    empty: int = 0
    too_long: int = 0
    unlabelled: int = 0
    notices: int = 0
    other_regions: int = 0
    without_emoji_label: int = 0

    def count(self, reason: Reason) -> None:
        """Count one more text that is left out."""
        setattr(self, reason, getattr(self, reason) + 1)

    def forget_left_out(self) -> None:
        """Start counting the texts left out from zero, for another reading."""
        for reason in Reason:
            setattr(self, reason, 0)

    @property
    def left_out(self) -> dict[Reason, int]:
        """Number of texts left out for each reason that occurred."""
        return {reason: count for reason in Reason if (count := getattr(self, reason))}

    def summary(self) -> str:
        """Say in one clause how many texts were left out, and why."""
        counts = (f"{count:,} {IN_WORDS[reason]}" for reason, count in self.left_out.items())
        return f"left out: {', '.join(counts) or 'none'}"
