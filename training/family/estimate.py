"""What is left of a family to be trained, in hours: one pretraining is measured, the others are as their texts."""

import re
from collections.abc import Sequence

from training.common.errors import InputError
from training.family.stages import Stage
from training.pretraining.estimate import hours

UNITS = {"hours": 3600, "minutes": 60}


def stage_to_measure(stages: Sequence[Stage]) -> Stage | None:
    """The first pretraining that is left to do, whose inputs are there by then."""
    return next((stage for stage in stages if stage.script == "pretrain.py"), None)


def describe(stages: Sequence[Stage], measured: Stage, report: str, jobs: int = 1) -> str:
    """A line for each training that is left, and their sum.

    Args:
        measured: the stage that `pretrain.py --estimate` was run for.
        report: what that printed.
        jobs: how many stages run at a time.
    """
    seconds_per_text = expected_seconds(report) / measured.texts
    trainings = [stage for stage in stages if stage.texts]
    rows = [(stage.name, stage.texts, seconds_per_text * stage.texts) for stage in trainings]
    together = sum(seconds for *_, seconds in rows)
    rows.append(("together", sum(texts for _, texts, _ in rows), together))
    least = max(together / jobs, longest_chain(trainings, seconds_per_text))
    lines = [f"  {name:16} {texts:>14,.0f} texts  {hours(seconds):>15}" for name, texts, seconds in rows]
    return "\n".join(
        (
            "What is left to train, on this machine",
            *lines,
            *([f"  {jobs} at a time: about {hours(least)}, and memory for each"] if jobs > 1 else []),
            f"  most memory: {value_of(report, 'most memory')}",
            f"Measured: {measured.name}. Assumed: the others take as long for a text, classifiers too, which may "
            "stop before their last pass. Not counted: baselines and comparisons.",
        )
    )


def longest_chain(stages: Sequence[Stage], seconds_per_text: float) -> float:
    """Seconds of the stages that need each other and so never run at the same time."""
    ends: dict[str, float] = {}
    for number, stage in enumerate(stages):
        before = [ends[other.name] for other in stages[:number] if stage.waits_for([other])]
        ends[stage.name] = max(before, default=0.0) + seconds_per_text * stage.texts
    return max(ends.values())


def value_of(report: str, name: str) -> str:
    """What stands beside a name in the table of `pretrain.py --estimate`."""
    found = re.search(rf"^  {name}  +(.+)$", report, re.MULTILINE)
    if found is None:
        raise InputError(f"pretrain.py --estimate does not say {name!r}: use one version of all scripts")
    return found[1]


def expected_seconds(report: str) -> float:
    number, unit = value_of(report, "expected").split()
    return float(number.replace(",", "")) * UNITS[unit]
