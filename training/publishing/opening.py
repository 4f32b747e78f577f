"""Open models in a clean process, and check that they are complete and answer as in the evaluation."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.common.errors import InputError
from training.evaluation import published
from training.publishing import clean_opening
from training.publishing.card import example_code
from training.publishing.eval_results import Results, name_in
from training.publishing.facts import read_facts
from training.publishing.publication import Publication

ANSWERS = 5
# Tolerance of probabilities: the results may be from another machine and, for a regional model, from before its part
# was merged and rounded to bf16.
AS_MEASURED = 0.02


def check_opening(trees: Sequence[tuple[Path, Publication]], results: Results) -> list[str]:
    """Open every tree with its own code, and compare its answers with the results.

    Returns:
        Output of the example on each card.

    Raises:
        InputError: for the first tree that does not open or gives other answers.
    """
    measured = [measured_answers(publication, results) for _, publication in trees]
    questions: list[dict[str, Any]] = [
        {
            "folder": str(tree),
            "pipeline_tag": publication.pipeline_tag,
            "texts": list(dict.fromkeys([*published.completions(), *answers])),
            "top_k": ANSWERS,
            "code": example_code(publication, read_facts(publication.region), tree),
        }
        for (tree, publication), answers in zip(trees, measured, strict=True)
    ]
    reports = open_in_clean_process(questions)
    for (tree, _), question, report, answers in zip(trees, questions, reports, measured, strict=True):
        config = json.loads((tree / "config.json").read_text(encoding="utf-8"))
        check_report(tree.name, report, question["pipeline_tag"] == "fill-mask" and config["tie_word_embeddings"])
        found = dict(zip(question["texts"], report["answers"], strict=True))
        check_answers(tree.name, report["special"], found, answers)
    return [report["printed"] for report in reports]


def measured_answers(publication: Publication, results: Results) -> dict[str, tuple[str, float]]:
    """Return the likeliest word and its probability for each phrase, by the results; {} for classifiers."""
    if not publication.fills_masks or "completions" not in results:
        return {}
    name = name_in(results["completions"], publication)
    return {
        entry["phrase"]: (column["answers"][0]["word"], column["answers"][0]["probability"])
        for entry in results["completions"]["phrases"]
        for column in entry["by_model"]
        if column["model"] == name
    }


def open_in_clean_process(questions: Sequence[dict[str, Any]], **environment: str) -> list[dict[str, Any]]:
    """Run `clean_opening.py` without access to this project, the Hub or a token, and return its reports.

    Args:
        environment: environment variables to set for the process.

    Raises:
        InputError: if the process dies.
    """
    with TemporaryDirectory() as home:
        private = ("HF_", "HUGGING", "PYTHONPATH")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        offline = {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        completed = subprocess.run(
            [sys.executable, "-I", clean_opening.__file__],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            cwd=home,
            env=clean | offline | environment,
        )
    reports = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith("{")]
    if len(reports) < len(questions):
        last = (completed.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"model {len(reports) + 1} of {len(questions)}: the process that opened it ended with status "
            f"{completed.returncode}: {last}"
        )
    return reports


def check_report(name: str, report: dict[str, Any], tied: bool) -> None:
    """Check that a model opened completely, and that its probabilities sum to one."""
    if "error" in report:
        raise InputError(f"{name}: does not open in a clean process: {' '.join(report['error'].split())}")
    if report["mismatched"]:
        raise InputError(f"{name}: weights and code do not fit: {report['mismatched'][0]}")
    if report["not_finite"]:
        raise InputError(f"{name}: {report['not_finite'][0]} contains a value that is not finite")
    if report["tied"] != tied:
        raise InputError(f"{name}: config.json says tie_word_embeddings={tied}, but the opened model differs")
    if not all(math.isclose(total, 1, abs_tol=1e-3) for total in report["sums"]):
        raise InputError(f"{name}: probabilities sum to {report['sums'][0]} to {report['sums'][1]}, not to 1")


def check_answers(
    name: str,
    special: Iterable[str],
    answers: dict[str, list[tuple[str, float]]],
    measured: dict[str, tuple[str, float]],
) -> None:
    """Check that the answers to several texts are words, differ, and agree with the evaluation.

    Args:
        answers: answers to each text with their probabilities, the likeliest first.
        measured: the likeliest answer to each text and its probability, by the results.
    """
    for text, found in answers.items():
        if found[0][0] in special:
            raise InputError(f"{name}: answers {found[0][0]} to {text!r}, which is not a word")
    if len({tuple((word, round(probability, 4)) for word, probability in found) for found in answers.values()}) == 1:
        raise InputError(f"{name}: gives the same answers to every text, such as {min(answers)!r}")
    for text, (word, probability) in measured.items():
        now = dict(answers[text]).get(word, 0.0)
        if abs(now - probability) > AS_MEASURED:
            raise InputError(
                f"{name}: gives {word!r} the probability {now:.3f} in {text!r}, but completions.json says "
                f"{probability:.3f}: run evaluate_family.py again"
            )
