"""Whether a region's own model beats every other: paired differences, an intersection-union test, Holm over regions.

"Beats every other model" is a conjunction, so each comparison is tested at the full level and the largest of their
p-values is that of the whole (Berger 1982). Naming the regions that win is a choice among several tests, so these
p-values are corrected by Holm's method over the regions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests

from training.evaluation.intervals import CONFIDENCE, interval
from training.evaluation.results import Estimate, RegionWin


@dataclass
class Difference:
    """The score of a region's own model less that of another one; `p_value` is one-sided, against no gain."""

    own: str
    other: str
    estimate: Estimate
    p_value: float


def own_differences(
    region: str,
    regions: Mapping[str, str | None],
    scores: Mapping[str, float],
    resampled: Mapping[str, np.ndarray],
) -> list[Difference]:
    """Compare each model of the region with every other model, on the same bootstrap samples.

    Args:
        regions: the region of each model, None for a model of no region.
        scores: of each model on the texts of the region; more is better.
        resampled: the same in each bootstrap sample, (resamples,).
    """
    found = []
    for own in (name for name in regions if regions[name] == region):
        for other in (name for name in regions if name != own):
            samples = resampled[own] - resampled[other]
            estimate = interval(scores[own] - scores[other], samples)
            found.append(Difference(own, other, estimate, p_value(samples)))
    return found


def p_value(differences: np.ndarray) -> float:
    """The share of bootstrap samples without a gain, counting the observed one among them (Davison & Hinkley 1997)."""
    known = differences[~np.isnan(differences)]
    return float(1 + (known <= 0).sum()) / (1 + len(known))


def region_wins(region: str, regions: Mapping[str, str | None], differences: Sequence[Difference]) -> list[RegionWin]:
    """Test whether each own model beats every model that is not of its region; not yet corrected over regions."""
    wins: list[RegionWin] = []
    for own in dict.fromkeys(difference.own for difference in differences):
        against = [entry for entry in differences if entry.own == own and regions[entry.other] != region]
        if against:
            closest = min(against, key=lambda entry: entry.estimate["value"])
            p = max(entry.p_value for entry in against)
            wins.append(
                {
                    "region": region,
                    "own": own,
                    "closest": closest.other,
                    "smallest_difference": closest.estimate,
                    "p_value": p,
                    "p_holm": p,
                    "wins": False,
                }
            )
    return wins


def corrected(wins: Sequence[RegionWin]) -> list[RegionWin]:
    """Correct the p-values of one family of tests, one per region and own model, by Holm's method."""
    if not wins:
        return []
    rejected, p_holm, *_ = multipletests([win["p_value"] for win in wins], alpha=1 - CONFIDENCE, method="holm")
    return [{**win, "p_holm": float(p), "wins": bool(won)} for win, p, won in zip(wins, p_holm, rejected, strict=True)]
