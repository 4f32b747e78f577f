"""What has to hold before a tree is pushed. Each check raises `InputError` with what is wrong, and where.

What they do not prove: that the model is good (that is what its results are for), or that no text of the files is
personal. They keep out what is published by mistake.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors import SafetensorError, safe_open

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError
from training.evaluation import published
from training.publishing import clean_opening
from training.publishing.eval_results import RESULTS, name_in
from training.publishing.publication import Publication
from training.publishing.tree import ABOUT, CODE, LOSS_CURVE, TAKEN, TOLD, WEIGHTS, files_of

ALLOWED = (
    *TAKEN,
    *ABOUT,
    *(path.name for path in CODE),
    LOSS_CURVE,
    "config.json",
    "README.md",
    ".eval_results/*.yaml",
    *(f"{RESULTS}/{kind}.json" for kinds in TOLD.values() for kind in kinds),
    *(f"figures/{picture}.png" for kinds in TOLD.values() for picture in kinds.values() if picture),
)
PNG = b"\x89PNG\r\n\x1a\n"
PICKLE = re.compile(rb"PK\x03\x04|\x80[\x02-\x05]")  # a zip, as torch.save writes, or a pickle itself
# A path from a root, and not a part of a link; what our own URLs hold has a letter or a dot before its first slash.
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/~-])/(?:home|Users|root|tmp|var|mnt|media|data|opt|srv|work|workspace|scratch|content|private)/[\w.-]+"
    r"|(?<![\w/])~/[\w.-]+"
    r"|\b[A-Za-z]:\\{1,2}[\w.-]+"
    r"|file://[^\s\"]+"
)
TOKEN = re.compile(
    r"\b(?:hf_\w{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
UNFINISHED = re.compile(r"\{\{|\}\}|\{%|%\}|\bTODO\b|\bFIXME\b|\bNone\b|\| *nan *[|(]")  # `todo` is a word of Spanish
METADATA = ("language", "license", "pipeline_tag", "library_name", "tags")
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
ANSWERS = 5
AS_MEASURED = 0.005  # how far a probability may be from the one in the results, made on another machine


def check_tree(tree: Path, publication: Publication) -> None:
    """Everything that can be seen without running the model."""
    check_names(tree)
    check_no_pickle(tree)
    check_pictures(tree)
    check_no_secrets(tree)
    check_sizes(tree)
    check_card(tree, publication)
    check_eval_results(tree)


def check_names(tree: Path) -> None:
    """Only files that are meant to be published: no corpus, no checkpoint, no log."""
    for path in files_of(tree):
        if (tree / path).is_symlink() or not any(fnmatch(path, allowed) for allowed in ALLOWED):
            raise InputError(f"{tree.name}/{path}: not a file that is published")


def check_no_pickle(tree: Path) -> None:
    for path in files_of(tree):
        with (tree / path).open("rb") as file:
            start = file.read(4)
        # The first bytes of safetensors are a length, which may look like anything; check_sizes opens that file.
        if path != WEIGHTS and PICKLE.match(start):
            raise InputError(f"{tree.name}/{path}: a pickle or a zip, which can run code: publish safetensors only")


def check_pictures(tree: Path) -> None:
    """What is called a picture is one: nothing else looks into these files."""
    for path in files_of(tree):
        if path.endswith(".png") and not (tree / path).read_bytes().startswith(PNG):
            raise InputError(f"{tree.name}/{path}: not a PNG picture")


def check_no_secrets(tree: Path) -> None:
    """No path of this machine and no key in any text."""
    for path in files_of(tree):
        try:
            text = (tree / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        if TOKEN.search(text):  # not shown: it would be in the log as well
            raise InputError(f"{tree.name}/{path}: holds an access token or a private key: take it out")
        if found := ABSOLUTE_PATH.search(text):
            raise InputError(f"{tree.name}/{path}: holds a path of a machine ({found[0]}): take it out")


def check_sizes(tree: Path) -> None:
    """Weights, tokenizer and configuration are of one model."""
    config = json.loads((tree / "config.json").read_text(encoding="utf-8"))
    try:
        tokenizer = load_tokenizer(tree)
    except Exception as error:  # what the libraries raise for a spoilt file is of any kind
        raise InputError(f"{tree.name}: its tokenizer does not open ({' '.join(str(error).split())})") from error
    rows = embedding_rows(tree)
    if rows != config["vocab_size"]:
        raise InputError(f"{tree.name}: the weights have {rows} tokens and config.json {config['vocab_size']}")
    if len(tokenizer) > rows:
        raise InputError(f"{tree.name}: the tokenizer has {len(tokenizer)} tokens and the weights {rows}")
    for name in SPECIAL_IDS:
        if config[name] != getattr(tokenizer, name):
            raise InputError(
                f"{tree.name}: {name} is {config[name]} in config.json and {getattr(tokenizer, name)} in the tokenizer"
            )
    if tokenizer.model_max_length != config["max_position_embeddings"]:
        raise InputError(
            f"{tree.name}: the tokenizer takes {tokenizer.model_max_length} tokens and the model "
            f"{config['max_position_embeddings']}"
        )


def embedding_rows(tree: Path) -> int:
    """The size of the vocabulary by the header of the weights."""
    try:
        with safe_open(tree / WEIGHTS, "pt") as weights:
            names = [name for name in weights.keys() if name.endswith("word_embeddings.weight")]  # noqa: SIM118
            if len(names) != 1:
                raise InputError(f"{tree.name}/{WEIGHTS}: not the weights of one BILMA, {len(names)} word embeddings")
            return weights.get_slice(names[0]).get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise InputError(f"{tree.name}/{WEIGHTS}: cannot be read ({error})") from error


def check_card(tree: Path, publication: Publication) -> None:
    """The card is finished, its metadata are there, and what it links to in the repository as well."""
    where = f"{tree.name}/README.md"
    try:
        card = ModelCard((tree / "README.md").read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{where}: its metadata cannot be read ({' '.join(str(error).split())})") from error
    for name in METADATA:
        if not card.data.get(name):
            raise InputError(f"{where}: its metadata lack {name}")
    if card.data.pipeline_tag != publication.pipeline_tag:
        raise InputError(f"{where}: says {card.data.pipeline_tag}, and the model is for {publication.pipeline_tag}")
    if found := UNFINISHED.search(card.text):
        raise InputError(f"{where}: unfinished, it says {found[0]!r}")
    if empty := empty_section(card.text):
        raise InputError(f"{where}: the section {empty!r} is empty")
    for link in re.findall(r"\]\(([^)\s]+)\)", card.text):
        if not re.match(r"[a-z]+:|#", link) and not (tree / link).is_file():
            raise InputError(f"{where}: links to {link}, which is not in the repository")


def empty_section(markdown: str) -> str | None:
    """The first heading with nothing between it and the next one of its level or above."""
    prose = re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)
    prose = re.sub(r"^```.*?^```", "code", prose, flags=re.MULTILINE | re.DOTALL)  # where # is no heading
    blocks = re.findall(r"^(#+) +(.+?)\n(.*?)(?=^#|\Z)", prose, flags=re.MULTILINE | re.DOTALL)
    for (level, title, body), following in zip(blocks, [*blocks[1:], ("#", "", "")], strict=True):
        if not body.strip() and len(following[0]) <= len(level):
            return title
    return None


def check_eval_results(tree: Path) -> None:
    """The results that the Hub reads are as it reads them."""
    for path in files_of(tree):
        if path.startswith(".eval_results/"):
            try:
                entries = parse_eval_result_entries(yaml.safe_load((tree / path).read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{tree.name}/{path}: not as the Hub reads results ({reason})") from error
            if not entries:
                raise InputError(f"{tree.name}/{path}: holds no result")


def check_opening(trees: Sequence[tuple[Path, Publication]], results: dict[str, dict[str, Any]]) -> None:
    """Every tree opens in a clean process by its own code, and answers sanely: as the results say it did.

    Raises:
        InputError: for the first that does not.
    """
    measured = [measured_answers(publication, results) for _, publication in trees]
    questions = [
        {
            "folder": str(tree),
            "pipeline_tag": publication.pipeline_tag,
            "texts": list(dict.fromkeys([*published.completions(), *answers])),
            "top_k": ANSWERS,
        }
        for (tree, publication), answers in zip(trees, measured, strict=True)
    ]
    reports = open_in_clean_process(questions)
    for (tree, _), question, report, answers in zip(trees, questions, reports, measured, strict=True):
        config = json.loads((tree / "config.json").read_text(encoding="utf-8"))
        check_report(tree.name, report, question["pipeline_tag"] == "fill-mask" and config["tie_word_embeddings"])
        found = dict(zip(question["texts"], report["answers"], strict=True))
        check_answers(tree.name, report["special"], found, answers)


def measured_answers(publication: Publication, results: dict[str, dict[str, Any]]) -> dict[str, tuple[str, float]]:
    """Phrase -> the first word and its probability, as the results have it of this model; classifiers have none."""
    if publication.pipeline_tag != "fill-mask" or "completions" not in results:
        return {}
    name = name_in(results["completions"], publication)
    return {
        entry["phrase"]: (column["answers"][0]["word"], column["answers"][0]["probability"])
        for entry in results["completions"]["phrases"]
        for column in entry["by_model"]
        if column["model"] == name
    }


def open_in_clean_process(questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `clean_opening.py` finds in each folder, without this project, the Hub or anyone's token for it."""
    with TemporaryDirectory() as home:
        private = ("HF_", "HUGGING", "PYTHONPATH")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(private)}
        completed = subprocess.run(
            [sys.executable, "-I", clean_opening.__file__],
            input=json.dumps(questions),
            capture_output=True,
            text=True,
            cwd=home,
            env=clean | {"HF_HOME": home, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
    reports = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith("{")]
    if len(reports) < len(questions):
        folder = Path(questions[len(reports)]["folder"]).name
        last = (completed.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{folder}: the process that opened it ended with status {completed.returncode}: {last}")
    return reports


def check_report(name: str, report: dict[str, Any], tied: bool) -> None:
    """A model that opened is whole, and its probabilities are some."""
    if "error" in report:
        raise InputError(f"{name}: does not open in a clean process: {' '.join(report['error'].split())}")
    if report["mismatched"]:
        raise InputError(f"{name}: weights and code do not fit: {report['mismatched'][0]}")
    if report["not_finite"]:
        raise InputError(f"{name}: {report['not_finite'][0]} holds a value that is no number")
    if report["tied"] != tied:
        raise InputError(f"{name}: config.json says tie_word_embeddings={tied}, and the opened model is not so")
    if not all(math.isclose(total, 1, abs_tol=1e-3) for total in report["sums"]):
        raise InputError(f"{name}: probabilities sum to {report['sums'][0]} to {report['sums'][1]}, not to 1")


def check_answers(
    name: str,
    special: Iterable[str],
    answers: dict[str, list[tuple[str, float]]],
    measured: dict[str, tuple[str, float]],
) -> None:
    """The answers to several texts are words, are not all the same, and are those of the evaluation.

    Args:
        answers: text -> answers with their probabilities, the likeliest first.
        measured: text -> the likeliest answer and its probability, as the results have them.
    """
    for text, found in answers.items():
        if found[0][0] in special:
            raise InputError(f"{name}: answers {found[0][0]} to {text!r}, which is no word")
    if len({tuple((word, round(probability, 4)) for word, probability in found) for found in answers.values()}) == 1:
        raise InputError(f"{name}: gives the same answers to every text, such as {min(answers)!r}")
    for text, (word, probability) in measured.items():
        now = dict(answers[text]).get(word, 0.0)
        if abs(now - probability) > AS_MEASURED:
            raise InputError(
                f"{name}: gives {word!r} the probability {now:.3f} in {text!r}, and completions.json says "
                f"{probability:.3f}: run evaluate_family.py again"
            )
