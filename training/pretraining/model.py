"""The tokenizer and the initial model of a pretraining run."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassError
from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.regional import add_parts, merge_parts
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, train_vocabulary
from training.common.errors import InputError, as_input_error
from training.common.files import replace_folder
from training.common.progress import ProgressBar
from training.engine.models import open_whole
from training.pretraining.arguments import PretrainArguments, size_overrides
from training.pretraining.data import is_for_training
from training.texts.corpus import Corpus
from training.texts.regions import ALL_REGIONS, Region
from training.texts.splits import split_hash


def make_tokenizer(
    args: PretrainArguments, corpus: Corpus, work_dir: Path, accelerator: Accelerator
) -> TokenizersBackend:
    """Open the tokenizer of `--init_from` or `--tokenizer`, or train one on the training texts.

    Raises:
        InputError: if it cannot be opened or trained, or does not fit the model of `--init_from`.
    """
    with as_input_error(ValueError, OSError):
        if args.init_from:
            tokenizer = load_tokenizer(args.init_from)
            if args.tokenizer and load_tokenizer(args.tokenizer).get_vocab() != tokenizer.get_vocab():
                raise InputError(
                    f"the tokenizer {args.tokenizer} does not fit the model {args.init_from}: their vocabularies "
                    "differ; omit --tokenizer to use the model's own"
                )
            return tokenizer
        if args.tokenizer:
            return load_tokenizer(args.tokenizer)
    learnt = work_dir / "tokenizer"
    if accelerator.is_main_process and not learnt.is_dir():
        training_side = (
            text for text, group in corpus.grouped() if is_for_training(np.asarray(split_hash(text, group)), args)
        )
        bar = ProgressBar(training_side, desc="learning the vocabulary", unit=" texts", unit_scale=True)
        with as_input_error(ValueError, OSError), replace_folder(learnt) as folder:
            build_tokenizer(train_vocabulary(bar, args.vocab_size, args.min_frequency)).save_pretrained(folder)
    accelerator.wait_for_everyone()
    return load_tokenizer(learnt)


def make_model(args: PretrainArguments, region: Region, tokenizer: TokenizersBackend) -> BilmaForMaskedLM:
    """Make a new model for the tokenizer, or open the one to continue; it computes logits at labels only.

    Without `--region_tokens` the model has no regional parts: that of the region is merged into its weights.

    Raises:
        InputError: if the model cannot be made or opened, or does not fit the tokenizer or --max_length.
    """
    sizes = size_overrides(args.config_overrides)
    settings: dict[str, Any] = {
        "region": None if region.code == ALL_REGIONS else region.code,
        "sparse_prediction": True,
    }
    if args.init_from and sizes:
        raise InputError("--config_overrides is for a new model: omit it with --init_from")
    if args.regional_learning_rate is not None and not args.region_tokens:
        raise InputError(
            "--regional_learning_rate is for a model with regional parts: omit it, or give --region_tokens"
        )
    with as_input_error(ValueError, OSError, StrictDataclassError):
        if args.init_from:
            model = open_whole(BilmaForMaskedLM, args.init_from, **settings)
        else:
            settings |= sizes | {
                "vocab_size": len(tokenizer) - len(args.add_regions),
                "tie_word_embeddings": args.tie_word_embeddings,
                "attend_to_padding": args.attend_to_padding,
            }
            model = BilmaForMaskedLM(BilmaConfig(**settings))
        if model.config.regions and not args.region_tokens:
            model = merge_parts(model, region.code if region.code in model.config.regions else None)
            model.config.region = settings["region"]
        if args.add_regions:
            model = add_parts(model, args.add_regions)
    if len(tokenizer) > model.config.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {model.config.vocab_size}: "
            "they do not fit; use the tokenizer the model was trained with"
        )
    positions = model.config.max_position_embeddings
    if args.max_length > positions:
        raise InputError(f"--max_length {args.max_length} is more than the {positions} positions of the model")
    return model


def count_steps(args: PretrainArguments, region: Region, steps_per_epoch: int) -> int:
    """Count the steps of the run, from --max_steps, --num_train_epochs or the epochs published for the region."""
    if args.max_steps is not None:
        return args.max_steps
    epochs = args.num_train_epochs or region.published_epochs
    assert epochs is not None  # `check_arguments` has seen to it
    return math.ceil(epochs * steps_per_epoch)
