"""Progress of a pretraining run: the part of a checkpoint that is neither weights nor optimizer."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from training.common.errors import InputError


class Scores(TypedDict):
    """Scores on the validation texts."""

    loss: float  # nats per masked token
    perplexity: float
    masked_accuracy: float
    scored_tokens: int


class BestScores(Scores):
    """Scores of the best model so far and the step that it is from; step 0 is the unchanged starting model."""

    step: int


@dataclass
class RunState:
    """Counters, scores and loss curve of a run, and what identifies it.

    Attributes:
        identity: settings and inputs that must not change when the run is resumed.
        processes: number of processes that train now.
        step: optimizer steps taken.
        evaluated_step: step of the latest evaluation.
        seconds: training time up to the last checkpoint.
        tokens, texts: numbers of tokens and texts trained on.
        bad_batches: steps skipped because their loss or gradient was not finite.
        unlogged_loss, unlogged_correct, unlogged_tokens: sums since the latest point of the loss curve.
        best: scores of the best model; None before the first evaluation.
        history: points of the loss curve.
    """

    identity: dict[str, Any]
    processes: int
    step: int = 0
    evaluated_step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    texts: int = 0
    bad_batches: int = 0
    unlogged_loss: float = 0.0
    unlogged_correct: float = 0.0
    unlogged_tokens: int = 0
    best: BestScores | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write the state as JSON.

        Raises:
            ValueError: if a number is not finite.
        """
        path.write_text(json.dumps(dataclasses.asdict(self), allow_nan=False))

    @classmethod
    def read(cls, path: Path) -> "RunState":
        """Read what `write` wrote.

        Raises:
            InputError: if the file is missing or another version of this code wrote it.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path.parent}: a checkpoint of another version of this code: resume with that version, or start "
                "over with --overwrite"
            ) from error
