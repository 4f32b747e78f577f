"""The models that are compared: folders that are checked before anything is computed, and opened one at a time."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from modeling_bilma.tokenization_bilma import with_region_tokens
from training.common.errors import InputError, as_input_error
from training.common.provenance import weights_fingerprint
from training.texts.corpus import Corpus
from training.texts.regions import has_region_tokens, region_of_name, region_token_id


@dataclass
class ModelFolder:
    """A saved model with its tokenizer; the weights are read by `open` and by nothing else.

    `name` is the folder's; `region` is what the configuration says, else what the name says, else None.
    """

    path: Path
    name: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast

    @property
    def region(self) -> str | None:
        return getattr(self.config, "region", None) or region_of_name(self.name)

    @property
    def longest(self) -> int:
        """The most tokens that the model takes, special ones included."""
        positions = getattr(self.config, "max_position_embeddings", self.tokenizer.model_max_length)
        return min(positions, self.tokenizer.model_max_length)

    @cached_property
    def fingerprint(self) -> str:
        return weights_fingerprint(self.path)

    def open(self, auto_class: Any, device: torch.device) -> PreTrainedModel:
        """The whole model in fp32, for evaluation.

        Raises:
            InputError: if it cannot be opened, or parts of it are not in the folder.
        """
        with _opening(self.path):
            model, info = auto_class.from_pretrained(
                self.path, dtype=torch.float32, trust_remote_code=True, output_loading_info=True
            )
        if info["missing_keys"]:
            task = auto_class.__name__.removeprefix("AutoModelFor")
            raise InputError(f"{self.path} is not a whole model of kind {task}: it lacks {min(info['missing_keys'])}")
        return model.to(device).eval()

    def facts(self) -> dict[str, Any]:
        """What a result says about the model."""
        return {"name": self.name, "region": self.region, "fingerprint": self.fingerprint}


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: the model cannot be opened ({' '.join(str(error).split())})") from error


def open_folders(paths: Sequence[str]) -> list[ModelFolder]:
    """The configurations and tokenizers of model folders, in the order given.

    Raises:
        InputError: for a path that is no model folder, a tokenizer that knows no characters' places, or two folders
            of one name, which no table could tell apart.
    """
    folders = [open_folder(Path(path)) for path in paths]
    for number, folder in enumerate(folders):
        for other in folders[:number]:
            if folder.name == other.name:
                raise InputError(f"two models have the name {folder.name} ({other.path}, {folder.path}): rename one")
    return folders


def open_folder(path: Path) -> ModelFolder:
    if not (path / "config.json").is_file():
        raise InputError(f"{path}: not a model folder, it holds no config.json")
    logging.disable_progress_bar()  # of reading the weights: the bars of the evaluation say enough
    with _opening(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=True)
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"{path}: its tokenizer is written in Python: save it as a fast one (tokenizer.json)")
    return ModelFolder(path, path.resolve().name, config, tokenizer)


def check_masked_models(folders: Sequence[ModelFolder], top_k: int) -> None:
    """Every model can be asked for a hidden token, and for its `top_k` likeliest.

    Raises:
        InputError: for a tokenizer without a mask, or with fewer tokens.
    """
    for folder in folders:
        if folder.tokenizer.mask_token is None:
            raise InputError(f"{folder.path}: its tokenizer has no mask token, so it is not a masked language model")
        if top_k > len(folder.tokenizer):
            raise InputError(f"--top_k {top_k} is more than the {len(folder.tokenizer)} tokens of {folder.name}")


def check_same_vocabulary(folders: Sequence[ModelFolder]) -> None:
    """All models cut texts into the same tokens.

    Raises:
        InputError: with the reason, where they do not.
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
    """Everything that decides the tokens of a text; not how it was last padded or cut, nor its region's token."""
    tokenizer = folder.tokenizer
    if has_region_tokens(folder.config):
        tokenizer = with_region_tokens(tokenizer, [])
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in rules.items() if name not in ("padding", "truncation")}


def check_lengths(folders: Sequence[ModelFolder], max_length: int) -> None:
    for folder in folders:
        if max_length > folder.longest:
            raise InputError(
                f"--max_length {max_length} is more than the {folder.longest} positions of {folder.name}: give fewer"
            )


def check_unseen(folder: ModelFolder, corpora: dict[str, Corpus], test_fraction: float) -> None:
    """The model was not trained on what it will be asked, as far as the folder says what it was trained on.

    Raises:
        InputError: if it was trained on one of the corpora with fewer texts kept out.
    """
    files = [folder.path / name for name in ("metrics.json", "training_args.json")]
    if not all(file.is_file() for file in files):
        return
    with as_input_error(OSError, ValueError):
        metrics, training_args = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    trained_on = metrics.get("corpus", metrics.get("texts", {})).get("fingerprint")  # pretrain.py, finetune.py
    kept_out = training_args.get("test_fraction", 0.0)
    for corpus in corpora.values():
        if corpus.fingerprint == trained_on and kept_out < test_fraction:
            raise InputError(
                f"{folder.name} was trained on {', '.join(corpus.names())} with only {kept_out:g} of the texts kept "
                f"out, so it has seen texts of the test part of {test_fraction:g}: give --test_fraction {kept_out:g} "
                "or another corpus"
            )


def check_region_tokens(folders: Sequence[ModelFolder], regions: Collection[str]) -> None:
    """Every model that is asked behind a region's token has one of every region.

    Raises:
        InputError: else.
    """
    for folder in folders:
        if has_region_tokens(folder.config):
            for region in regions:
                region_token_id(folder.tokenizer, region)


def check_own_corpora(folders: Sequence[ModelFolder], regions: Collection[str]) -> None:
    """Every model that is of a region is asked about texts of that region, or its column would say nothing.

    Raises:
        InputError: for a region without a corpus.
    """
    for folder in folders:
        if folder.region not in (None, *regions):
            raise InputError(
                f"{folder.name} is of region {folder.region}, and there are texts of {', '.join(sorted(regions))} "
                f"only: give texts of {folder.region} too, in a file named like {folder.region}.jsonl.gz"
            )


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
