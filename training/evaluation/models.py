"""The models to compare: folders that are checked before anything is computed, and opened one at a time."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from modeling_bilma.tokenization_bilma import region_token, with_region_tokens
from training.common.errors import InputError, as_input_error
from training.common.provenance import weights_fingerprint
from training.evaluation.results import ModelFacts
from training.texts.corpus import Corpus
from training.texts.regions import region_of_name, region_token_id


@dataclass
class ModelFolder:
    """A saved model with its tokenizer; only `open` reads the weights.

    `name` is the folder's. With a `token_region`, the model has regional parts, and that region's token goes in front
    of every text; such a column is called `NAME-mx`.
    """

    path: Path
    name: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    token_region: str | None = None

    @property
    def regions(self) -> list[str]:
        """The regions that the model has parts for, each behind a token of its own; of any other model none."""
        return getattr(self.config, "regions", None) or []

    @property
    def region(self) -> str | None:
        """That of the token; of a model without regional parts, what its configuration says, else its name."""
        if self.regions:
            return self.token_region
        return getattr(self.config, "region", None) or region_of_name(self.name)

    @property
    def token_id(self) -> int | None:
        """The id of the region's token that goes after `[START]`, if there is one.

        Raises:
            InputError: if the tokenizer does not have it as a special token.
        """
        return None if self.token_region is None else region_token_id(self.tokenizer, self.token_region)

    @property
    def prefix(self) -> str:
        """What to write in front of a text so that the tokenizer puts the region's token there."""
        return "" if self.token_region is None else f"{region_token(self.token_region)} "

    @property
    def label_names(self) -> list[str]:
        """The labels of a classifier, in the order of its logits."""
        return [str(name) for _, name in sorted((self.config.id2label or {}).items())]

    @property
    def longest(self) -> int:
        """The most tokens that the model takes, special ones included."""
        positions = getattr(self.config, "max_position_embeddings", self.tokenizer.model_max_length)
        return min(positions, self.tokenizer.model_max_length)

    @cached_property
    def fingerprint(self) -> str:
        return weights_fingerprint(self.path)

    def open(self, auto_class: Any, device: torch.device) -> PreTrainedModel:
        """Open the whole model in fp32, for evaluation.

        Raises:
            InputError: if it cannot be opened, or the folder lacks some of its weights.
        """
        with _opening(self.path):
            model, info = auto_class.from_pretrained(
                self.path, dtype=torch.float32, trust_remote_code=True, output_loading_info=True
            )
        if info["missing_keys"]:
            task = auto_class.__name__.removeprefix("AutoModelFor")
            raise InputError(f"{self.path} is not a whole model of kind {task}: it lacks {min(info['missing_keys'])}")
        return model.to(device).eval()

    def facts(self) -> ModelFacts:
        return {"name": self.name, "region": self.region, "fingerprint": self.fingerprint}


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: the model cannot be opened ({' '.join(str(error).split())})") from error


def open_folders(paths: Sequence[str]) -> list[ModelFolder]:
    """Open the configurations and tokenizers of model folders, in the order given.

    A model with regional parts makes one column without a token and one behind each region's token.

    Raises:
        InputError: for a path that is no model folder, a tokenizer without character offsets or without the token of
            one of its regions, or two columns of one name, which no table could tell apart.
    """
    folders = [column for path in paths for column in columns_of(open_folder(Path(path)))]
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            if folder.name == other.name:
                raise InputError(f"two models have the name {folder.name} ({other.path}, {folder.path}): rename one")
    return folders


def columns_of(folder: ModelFolder) -> list[ModelFolder]:
    """The model as it is and, if it has regional parts, behind the token of each region."""
    behind_tokens = [replace(folder, name=f"{folder.name}-{region}", token_region=region) for region in folder.regions]
    for region in folder.regions:
        region_token_id(folder.tokenizer, region)  # before anything is computed
    return [folder, *behind_tokens]


def open_folder(path: Path) -> ModelFolder:
    """Open the configuration and tokenizer of one model folder.

    Raises:
        InputError: for a path that is no model folder, or a tokenizer without character offsets.
    """
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: not a model folder, it holds no config.json")
    logging.disable_progress_bar()  # of reading weights: the evaluation has bars of its own
    with _opening(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=True)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"{path}: its tokenizer is written in Python: save it as a fast one (tokenizer.json)")
    return ModelFolder(path, path.resolve().name, config, tokenizer)


def check_masked_models(folders: Sequence[ModelFolder], top_k: int) -> None:
    """Check that every model can predict a masked token, and its `top_k` likeliest tokens.

    Raises:
        InputError: for a tokenizer without a mask token, or with fewer than `top_k` tokens.
    """
    for folder in folders:
        if folder.tokenizer.mask_token is None:
            raise InputError(f"{folder.path}: its tokenizer has no mask token, so it is not a masked language model")
        if top_k > len(folder.tokenizer):
            raise InputError(f"--top_k {top_k} is more than the {len(folder.tokenizer)} tokens of {folder.name}")


def check_same_vocabulary(folders: Sequence[ModelFolder]) -> None:
    """Check that all models cut texts into the same tokens.

    Raises:
        InputError: if two of them have different vocabularies or text rules.
    """
    first = folders[0]
    for other in folders[1:]:
        if text_rules(other) != text_rules(first):
            sizes = f"{len(first.tokenizer):,} and {len(other.tokenizer):,} tokens"
            raise InputError(
                f"{first.name} and {other.name} have different vocabularies or text rules ({sizes}): accuracies over "
                "different tokens cannot be compared; compare them by whole words, with --per_word"
            )


def text_rules(folder: ModelFolder) -> dict[str, Any]:
    """Everything that decides the tokens of a text, but for padding, truncation and the tokens of regions."""
    tokenizer = with_region_tokens(folder.tokenizer, []) if folder.regions else folder.tokenizer
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in rules.items() if name not in ("padding", "truncation")}


def check_lengths(folders: Sequence[ModelFolder], max_length: int) -> None:
    """Check that every model takes texts of `max_length` tokens.

    Raises:
        InputError: if one has fewer positions.
    """
    for folder in folders:
        if max_length > folder.longest:
            raise InputError(
                f"--max_length {max_length} is more than the {folder.longest} positions of {folder.name}: give fewer"
            )


def check_unseen(folder: ModelFolder, corpora: dict[str, Corpus], test_fraction: float) -> None:
    """Check that the model has not seen the test texts, as far as its folder records the training texts.

    Raises:
        InputError: if it was trained on one of the corpora with a smaller test part.
    """
    files = [folder.path / name for name in ("metrics.json", "training_args.json")]
    if not all(file.is_file() for file in files):
        return
    with as_input_error(OSError, ValueError):
        metrics, training_args = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    trained_on = metrics.get("corpus", metrics.get("texts", {}))  # pretrain.py, finetune.py
    kept_out, grouped_by = training_args.get("test_fraction", 0.0), training_args.get("group_column")
    for corpus in corpora.values():
        known = {digest.hex() for _, digest in corpus.sources} & set(trained_on.get("sha256", ()))
        if known and grouped_by != corpus.group_column:
            raise InputError(
                f"{folder.name} was trained on {', '.join(corpus.names())} with --group_column {grouped_by}, which "
                f"decided its test part: give the same one, not {corpus.group_column}"
            )
        if (known or corpus.fingerprint == trained_on.get("fingerprint")) and kept_out < test_fraction:
            raise InputError(
                f"{folder.name} was trained on {', '.join(corpus.names())} with only {kept_out:g} of the texts held "
                f"out, so it has seen texts of the test part of {test_fraction:g}: give --test_fraction {kept_out:g} "
                "or another corpus"
            )


def check_own_corpora(folders: Sequence[ModelFolder], regions: Collection[str]) -> None:
    """Check that there are texts of the region of every regional model, without which its column would say little.

    Raises:
        InputError: for a model whose region has no texts; the columns of a model with regional parts are exempt.
    """
    for folder in folders:
        if folder.token_region is None and folder.region not in (None, *regions):
            raise InputError(
                f"{folder.name} is of region {folder.region}, and there are texts of {', '.join(sorted(regions))} "
                f"only: give texts of {folder.region} too, in a file named like {folder.region}.jsonl.gz"
            )


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
