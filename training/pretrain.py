"""Pretrain a regional BILMA from texts, by masked language modelling.

    accelerate launch --quiet training/pretrain.py --region mx --train_file mx.jsonl.gz --output_dir bilma-mx
    accelerate launch --quiet training/pretrain.py --region uy --train_file uy.csv --init_from bilma-mx --output_dir uy
    accelerate launch --quiet training/pretrain.py --recipe published --region mx --train_file ... --output_dir ...

Every flag can stand in a recipe, a YAML file given by `--recipe`; a flag on the command line wins. The output folder
holds the best model by validation loss with its code, its tokenizer, training_args.json, metrics.json and
loss_curve.png. SIGTERM or SIGINT (Ctrl-C) makes a run write a checkpoint and end with status 75; a second SIGINT ends
it at once. However it was interrupted, it goes on with the same command and `--resume`.
"""

import dataclasses
import hashlib
import math
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from huggingface_hub.errors import StrictDataclassError
from tqdm import tqdm
from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.regional import BIAS, PARTS, add_parts, log_frequency_ratios, merge_parts
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, train_vocabulary, with_region_tokens
from training.arguments import parse_arguments, public_arguments
from training.checkpoints import load_checkpoint
from training.corpus import Corpus, find_files, open_corpus, text_hash
from training.engine import (
    choose_attention,
    make_accelerator,
    make_optimizer,
    make_scheduler,
    open_whole,
    say,
    tell_deepspeed,
)
from training.errors import InputError, as_input_error, as_lost_process_error, as_write_error, run
from training.estimate import estimate
from training.folders import written_whole
from training.loop import TrainingLoop
from training.loss_curve import draw_loss_curve
from training.pretrain_arguments import OPERATIONAL, PretrainArguments, check_arguments, size_overrides
from training.pretrain_data import Data, is_for_training, load_data, make_steps
from training.provenance import base_fingerprint, commit, machine, versions
from training.region_tokens import count_by_region
from training.regions import ALL_REGIONS, Region, get_region
from training.run_folder import (
    TEXTS,
    WORK_DIR,
    check_output_dir,
    find_start,
    is_finished,
    prepare_work_dir,
    put_in_place,
    write_json,
)
from training.signals import STOPPED
from training.streaming import ParquetStream
from training.token_rows import TokenRows

METRICS_SCHEMA = 1


def main() -> None:
    args = parse_arguments(PretrainArguments, __doc__.splitlines()[0])
    region = get_region(args.region)
    check_arguments(args, region)
    if args.estimate:
        with TemporaryDirectory() as folder:
            start(dataclasses.replace(args, output_dir=folder, resume=False, report_to=None), region)
        return
    output_dir = Path(args.output_dir)
    if is_finished(output_dir) and args.resume:
        print(f"{output_dir}: this run is finished, nothing to resume")
        return
    check_output_dir(output_dir, args.resume, args.overwrite)
    start(args, region)


def start(args: PretrainArguments, region: Region) -> None:
    corpus = open_corpus(args)
    validation_corpus = None
    if args.validation_file:
        validation_corpus = Corpus(find_files(args.validation_file), text_column=args.text_column, strict=args.strict)

    accelerator = make_accelerator(args, public_arguments(args))
    if args.estimate and accelerator.num_processes > 1:
        raise InputError("--estimate measures one process: run it with python, without accelerate launch or torchrun")
    tell_deepspeed(accelerator, args.max_grad_norm)
    with as_lost_process_error():
        finished = pretrain(args, region, corpus, validation_corpus, accelerator)
    # The model must go before the process group: as its last owner it would wait, holding the interpreter's lock, for
    # gloo's threads, which may want that lock.
    accelerator.free_memory()
    accelerator.end_training()
    if not finished:
        sys.exit(STOPPED)


def pretrain(
    args: PretrainArguments,
    region: Region,
    corpus: Corpus,
    validation_corpus: Corpus | None,
    accelerator: Accelerator,
) -> bool:
    """Train, and make the output folder, or only estimate; False if a signal stopped the training before its end."""
    output_dir = Path(args.output_dir)
    work_dir = output_dir / WORK_DIR
    prepare_work_dir(work_dir, args.resume, accelerator)
    tokenizer = make_tokenizer(args, corpus, work_dir, accelerator)
    if args.add_regions or not args.region_tokens:
        with as_input_error(ValueError):
            tokenizer = with_region_tokens(tokenizer, args.add_regions)
    source = ParquetStream(corpus) if args.streaming else corpus
    identity = run_identity(args, source, validation_corpus, tokenizer)
    checkpoint, progress = find_start(work_dir, identity, accelerator)
    data = load_data(args, source, validation_corpus, tokenizer, accelerator)
    set_seed(args.seed)
    model = make_model(args, region, tokenizer)
    if args.add_regions:
        start_biases(model, data, tokenizer)
    if args.train_only == "regional":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in PARTS)
    choose_attention(model, accelerator)
    tokenizer.model_max_length = model.config.max_position_embeddings  # what truncation=True cuts at
    train_steps, validation_steps = make_steps(args, data, tokenizer, model.config, accelerator)
    total_steps = count_steps(args, region, train_steps.steps_per_epoch)
    epochs = total_steps / train_steps.steps_per_epoch
    say(accelerator, data.in_words())
    say(accelerator, in_words(args, model, total_steps, epochs, accelerator))

    optimizer = make_optimizer(args, model)
    scheduler = make_scheduler(args, optimizer, total_steps)
    # The steps are shared out by MaskedSteps itself, and the schedule counts whole steps: neither is prepared.
    model, optimizer = accelerator.prepare(model, optimizer)
    loop = TrainingLoop(
        args, accelerator, model, optimizer, scheduler, train_steps, validation_steps, total_steps, progress, work_dir
    )
    if args.estimate:
        print(estimate(loop))
        return True
    accelerator.register_for_checkpointing(scheduler)
    if checkpoint:
        load_checkpoint(accelerator, checkpoint, work_dir / "best")

    if not loop.run():
        say(accelerator, f"stopped after step {progress['step']:,}: go on with the same command and --resume")
        return False
    if accelerator.is_main_process:
        with as_write_error(output_dir):
            base = identity["base_fingerprint"]
            finish(args, region, data, tokenizer, progress, base, accelerator)
    return True


def make_tokenizer(
    args: PretrainArguments, corpus: Corpus, work_dir: Path, accelerator: Accelerator
) -> TokenizersBackend:
    """The tokenizer named, else that of `--init_from`, else one learnt from the training texts."""
    with as_input_error(ValueError, OSError):
        if args.init_from:
            tokenizer = load_tokenizer(args.init_from)
            if args.tokenizer and load_tokenizer(args.tokenizer).get_vocab() != tokenizer.get_vocab():
                raise InputError(
                    f"the tokenizer {args.tokenizer} does not fit the model {args.init_from}: their vocabularies "
                    "differ; leave out --tokenizer to use the model's own"
                )
            return tokenizer
        if args.tokenizer:
            return load_tokenizer(args.tokenizer)
    learnt = work_dir / "tokenizer"
    if accelerator.is_main_process and not learnt.is_dir():
        training_side = (text for text in corpus if is_for_training(np.int64(text_hash(text)), args))
        bar = tqdm(training_side, desc="learning the vocabulary", unit=" texts", unit_scale=True)
        with as_input_error(ValueError, OSError), written_whole(learnt) as folder:
            build_tokenizer(train_vocabulary(bar, args.vocab_size, args.min_frequency)).save_pretrained(folder)
    accelerator.wait_for_everyone()
    return load_tokenizer(learnt)


def make_model(args: PretrainArguments, region: Region, tokenizer: TokenizersBackend) -> BilmaForMaskedLM:
    """A new model of the tokenizer's size, or the one to continue from; it computes logits where there are labels.

    Without `--region_tokens` the model is plain: of one with regional parts, the region's own is merged.
    """
    sizes = size_overrides(args.config_overrides)
    told = {
        "region": None if region.code == ALL_REGIONS else region.code,
        "sparse_prediction": True,
    }
    if args.init_from and sizes:
        raise InputError("--config_overrides is for a new model: leave it out with --init_from")
    with as_input_error(ValueError, OSError, StrictDataclassError):
        if args.init_from:
            model = open_whole(BilmaForMaskedLM, args.init_from, **told)
        else:
            behaviour = {"tie_word_embeddings": args.tie_word_embeddings, "attend_to_padding": args.attend_to_padding}
            size = len(tokenizer) - len(args.add_regions)
            model = BilmaForMaskedLM(BilmaConfig(vocab_size=size, **behaviour, **sizes, **told))
        if model.config.regions and not args.region_tokens:
            model = merge_parts(model, region.code if region.code in model.config.regions else None)
            model.config.region = told["region"]
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


def start_biases(model: BilmaForMaskedLM, data: Data, tokenizer: TokenizersBackend) -> None:
    """Start the bias of each region at the log of how much likelier each token is in its training texts."""
    config = model.config
    counts = count_by_region(
        TokenRows(data.train_tokens),
        data.train_texts,
        config.first_region_token_id,
        len(config.regions),
        config.vocab_size,
    )
    counts[:, tokenizer.all_special_ids] = 0  # never predicted
    with as_input_error(ValueError), torch.no_grad():
        model.get_parameter(BIAS).copy_(log_frequency_ratios(torch.from_numpy(counts)))


def count_steps(args: PretrainArguments, region: Region, steps_per_epoch: int) -> int:
    if args.max_steps is not None:
        return args.max_steps
    return math.ceil((args.num_train_epochs or region.published_epochs) * steps_per_epoch)


def run_identity(
    args: PretrainArguments,
    source: Corpus | ParquetStream,
    validation_corpus: Corpus | None,
    tokenizer: TokenizersBackend,
) -> dict[str, Any]:
    """What has to be the same for a run to go on: the flags that change what comes out, the texts, the vocabulary."""
    digests = [
        [[name, hashlib.sha256(content).hexdigest()] for name, content in (side or source).sources]
        for side in (source, validation_corpus)
    ]
    return {name: value for name, value in public_arguments(args).items() if name not in OPERATIONAL} | {
        **dict(zip(TEXTS, digests, strict=True)),
        "vocabulary": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "base_fingerprint": base_fingerprint(args.init_from),
    }


def in_words(
    args: PretrainArguments, model: BilmaForMaskedLM, total_steps: int, epochs: float, accelerator: Accelerator
) -> str:
    return (
        f"{model.num_parameters():,} parameters, {model.config.vocab_size:,} tokens, {total_steps:,} steps of "
        f"{args.texts_per_step} texts ({epochs:.1f} epochs), "
        f"precision {accelerator.mixed_precision}, {accelerator.num_processes} process(es) on {accelerator.device}"
    )


def finish(
    args: PretrainArguments,
    region: Region,
    data: Data,
    tokenizer: TokenizersBackend,
    progress: dict[str, Any],
    base: str | None,
    accelerator: Accelerator,
) -> None:
    """Make the output folder of the best model, and remove what was only needed to get there."""
    output_dir = Path(args.output_dir)
    best = output_dir / WORK_DIR / "best"
    tokenizer.save_pretrained(best)
    metrics = result(region, data, progress, accelerator) | {"base_fingerprint": base}
    write_json(best / "metrics.json", metrics)
    write_json(best / "training_args.json", public_arguments(args))
    draw_loss_curve(metrics, best / "loss_curve.png")
    put_in_place(best, output_dir)
    scores = metrics["validation"]
    print(
        f"{output_dir}: masked accuracy {scores['masked_accuracy']:.4f}, perplexity {scores['perplexity']:.2f} on "
        f"{scores['scored_tokens']:,} masked tokens of {scores['texts']:,} texts, "
        f"after {progress['seconds'] / 60:.1f} minutes"
    )


def result(region: Region, data: Data, progress: dict[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    """What metrics.json holds."""
    return {
        "schema_version": METRICS_SCHEMA,
        "region": region.code,
        "validation": progress["best"] | {"texts": len(data.validation_texts)},
        "training": {
            "steps": progress["step"],
            "texts": len(data.train_texts),
            "texts_kept_for_testing": data.kept_for_testing,
            "texts_seen": progress["texts"],
            "tokens_seen": progress["tokens"],
            "bad_batches": progress["bad_batches"],
            "seconds": round(progress["seconds"], 1),
        },
        "corpus": {
            "names": data.corpus.names(),
            "fingerprint": data.fingerprint,
            **dataclasses.asdict(data.report),
        },
        "machine": machine(accelerator.device)
        | {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision},
        "versions": versions(),
        "commit": commit(),
        "history": progress["history"],
    }


if __name__ == "__main__":
    run(main)
