"""Checks of a tree before it is pushed; each raises `InputError` with what is wrong and where.

They catch what would be published by mistake. They do not show that a model is good, as its results do, or that no
text in the files is personal.
"""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import yaml
from huggingface_hub import DatasetCard, ModelCard, RepoCard, SpaceCard, parse_eval_result_entries
from safetensors import SafetensorError, safe_open

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError
from training.publishing.eval_results import EVAL_RESULTS, RESULTS
from training.publishing.publication import Publication
from training.publishing.tree import (
    ABOUT,
    CARD,
    CODE,
    PICTURES,
    RECORDS,
    SHOWN_RESULTS,
    TAKEN,
    WEIGHTS,
    files_of,
)

MODEL_FILES = (
    *TAKEN,
    *RECORDS,
    *ABOUT,
    *(path.name for path in CODE),
    "config.json",
    CARD,
    EVAL_RESULTS,
    *(f"{RESULTS}/{kind}.json" for kinds in SHOWN_RESULTS.values() for kind in kinds),
    *(picture for picture in PICTURES.values() if picture),
)
DATASET_FILES = ("README.md", "LICENSE", "*.jsonl", "*.parquet", "*.py", "*.yaml")
SPACE_FILES = (
    *("README.md", "LICENSE*", "*.html", "*.css", "*.js", "*.mjs", "*.json", "*.svg", "*.png", "*.ico", "*.woff2"),
    *("*.wasm", "*.onnx", "*.webmanifest", "*.txt"),
)
PNG = b"\x89PNG\r\n\x1a\n"
PICKLE = re.compile(rb"PK\x03\x04|\x80[\x02-\x05]")  # a zip file, as torch.save writes, or a plain pickle
# An absolute path that is not part of a URL: in our own URLs a letter or a dot precedes the first slash.
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
UNFINISHED = re.compile(r"\{\{|\}\}|\{%|%\}|\bTODO\b|\bFIXME\b|\bNone\b|\| *nan *[|(]")  # `todo` is a Spanish word
METADATA = ("language", "license", "license_name", "license_link", "pipeline_tag", "library_name", "tags", "widget")
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
LIBRARIES = (".js", ".mjs")  # of the page: third-party code with paths of a virtual file system


def check_tree(tree: Path, publication: Publication) -> None:
    """Check everything about a model that can be checked without running it."""
    check_files(tree, MODEL_FILES)
    check_sizes(tree)
    check_card(tree, publication)
    check_eval_results(tree)


def check_dataset(tree: Path) -> None:
    check_files(tree, DATASET_FILES)
    check_metadata(read_card(tree, DatasetCard), tree, ("license", "configs"))


def check_space(tree: Path) -> None:
    check_files(tree, SPACE_FILES)
    card = read_card(tree, SpaceCard)
    check_metadata(card, tree, ("title", "sdk"))
    if card.data.get("sdk") != "static" or not (tree / "index.html").is_file():
        raise InputError(
            f"{tree.name}: not a static Space: write sdk: static in README.md, and the page as index.html"
        )


def check_files(tree: Path, allowed: tuple[str, ...]) -> None:
    check_names(tree, allowed)
    check_no_pickle(tree)
    check_pictures(tree)
    check_no_secrets(tree)


def check_names(tree: Path, allowed: tuple[str, ...]) -> None:
    """Allow only the files that are meant to be published: no corpus, checkpoint or log."""
    for path in files_of(tree):
        if (tree / path).is_symlink() or not any(fnmatch(path, pattern) for pattern in allowed):
            raise InputError(f"{tree.name}/{path}: not a file that is published")


def check_no_pickle(tree: Path) -> None:
    for path in files_of(tree):
        with (tree / path).open("rb") as file:
            start = file.read(4)
        # A safetensors file starts with a length, which may look like a pickle; check_sizes opens that file.
        if path != WEIGHTS and PICKLE.match(start):
            raise InputError(f"{tree.name}/{path}: a pickle or a zip, which can run code: publish safetensors only")


def check_pictures(tree: Path) -> None:
    """Check that pictures are PNG files: no other check reads them."""
    for path in files_of(tree):
        if path.endswith(".png") and not (tree / path).read_bytes().startswith(PNG):
            raise InputError(f"{tree.name}/{path}: not a PNG picture")


def check_no_secrets(tree: Path) -> None:
    """Refuse local paths and secrets in any text file."""
    for path in files_of(tree):
        try:
            text = (tree / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        if TOKEN.search(text):  # not printed: it would end up in logs
            raise InputError(f"{tree.name}/{path}: contains an access token or a private key: remove it")
        if not path.endswith(LIBRARIES) and (found := ABSOLUTE_PATH.search(text)):
            raise InputError(f"{tree.name}/{path}: contains a local path ({found[0]}): remove it")


def check_sizes(tree: Path) -> None:
    """Check that weights, tokenizer and configuration belong together."""
    config = json.loads((tree / "config.json").read_text(encoding="utf-8"))
    try:
        tokenizer = load_tokenizer(tree)
    except Exception as error:  # the libraries raise any kind of error for a damaged file
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
            f"{tree.name}: the tokenizer allows {tokenizer.model_max_length} tokens and the model "
            f"{config['max_position_embeddings']}"
        )


def embedding_rows(tree: Path) -> int:
    """Return the size of the vocabulary by the header of the weights file."""
    try:
        with safe_open(tree / WEIGHTS, "pt") as weights:
            names = [name for name in weights.keys() if name.endswith("word_embeddings.weight")]  # noqa: SIM118
            if len(names) != 1:
                raise InputError(f"{tree.name}/{WEIGHTS}: not the weights of one BILMA, {len(names)} word embeddings")
            return weights.get_slice(names[0]).get_shape()[0]
    except (SafetensorError, OSError) as error:
        raise InputError(f"{tree.name}/{WEIGHTS}: cannot be read ({error})") from error


def read_card(tree: Path, kind: type[RepoCard]) -> RepoCard:
    """Read the README.md of a tree.

    Raises:
        InputError: if it is missing, or its metadata cannot be read.
    """
    if not (tree / CARD).is_file():
        raise InputError(f"{tree.name}/{CARD}: missing")
    try:
        return kind((tree / CARD).read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"{tree.name}/{CARD}: its metadata cannot be read ({' '.join(str(error).split())})"
        ) from error


def check_metadata(card: RepoCard, tree: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if not card.data.get(name):
            raise InputError(f"{tree.name}/{CARD}: its metadata lacks {name}")


def check_card(tree: Path, publication: Publication) -> None:
    """Check that the card is finished and has its metadata, and that all files it links to exist."""
    where = f"{tree.name}/{CARD}"
    card = read_card(tree, ModelCard)
    check_metadata(card, tree, METADATA)
    pipeline_tag = card.data.get("pipeline_tag")
    if pipeline_tag != publication.pipeline_tag:
        raise InputError(f"{where}: says {pipeline_tag}, but the model is for {publication.pipeline_tag}")
    if found := UNFINISHED.search(card.text):
        raise InputError(f"{where}: unfinished, it contains {found[0]!r}")
    if empty := empty_section(card.text):
        raise InputError(f"{where}: the section {empty!r} is empty")
    for link in re.findall(r"\]\(([^)\s]+)\)", card.text):
        if not re.match(r"[a-z]+:|#", link) and not (tree / link).exists():
            raise InputError(f"{where}: links to {link}, which is not in the repository")


def empty_section(markdown: str) -> str | None:
    """Return the first heading with nothing before the next heading of the same or a higher level."""
    prose = re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL)
    prose = re.sub(r"^```.*?^```", "code", prose, flags=re.MULTILINE | re.DOTALL)  # in which # is no heading
    blocks = re.findall(r"^(#+) +(.+?)\n(.*?)(?=^#|\Z)", prose, flags=re.MULTILINE | re.DOTALL)
    for (level, title, body), following in zip(blocks, [*blocks[1:], ("#", "", "")], strict=True):
        if not body.strip() and len(following[0]) <= len(level):
            return title
    return None


def check_eval_results(tree: Path) -> None:
    """Check that the Hub can read the results in `.eval_results`."""
    for path in files_of(tree):
        if path.startswith(".eval_results/"):
            try:
                entries = parse_eval_result_entries(yaml.safe_load((tree / path).read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{tree.name}/{path}: not in the format that the Hub reads ({reason})") from error
            if not entries:
                raise InputError(f"{tree.name}/{path}: contains no result")
