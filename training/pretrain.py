"""Pretrain a regional BILMA from texts, by masked language modelling.

    python training/pretrain.py --region mx --train_file mx.jsonl.gz --output_dir bilma-mx
    python training/pretrain.py --region uy --train_file uy.csv --init_from bilma-mx --output_dir uy
    accelerate launch --num_processes 8 training/pretrain.py --region mx --train_file mx.parquet --output_dir bilma-mx

Every flag may also be a line of a recipe, a YAML file given by `--recipe`; flags on the command line take
precedence. The output folder holds the best model by validation loss with its code, its tokenizer, training_args.json,
metrics.json and loss_curve.png. On SIGTERM, SIGINT (Ctrl-C) or the death of its launcher, a run writes a checkpoint
and exits with status 75; a second SIGINT ends it at once. The same command with `--resume` continues it.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import dataclasses
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import Accelerator
from accelerate.utils import set_seed

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import PARTS
from modeling_bilma.tokenization_bilma import with_region_tokens
from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error, as_write_error, resumable, run
from training.common.locks import only_run_in
from training.engine.accelerator import (
    as_lost_process_error,
    choose_attention,
    make_accelerator,
    make_optimizer,
    make_scheduler,
    say,
)
from training.engine.checkpoints import checkpoints, load_checkpoint
from training.engine.run_folder import (
    WORK_DIR,
    check_output_dir,
    find_start,
    is_finished,
    prepare_work_dir,
)
from training.engine.signals import STOPPED
from training.pretraining.arguments import PretrainArguments, check_arguments
from training.pretraining.data import load_data, make_steps
from training.pretraining.estimate import estimate
from training.pretraining.loop import TrainingLoop
from training.pretraining.model import count_steps, make_model, make_tokenizer
from training.pretraining.outcome import finish, run_identity
from training.pretraining.start import start_from_texts
from training.texts.corpus import Corpus, open_corpus
from training.texts.parquet_stream import ParquetStream
from training.texts.regions import Region, get_region


def main() -> None:
    args = parse_arguments(PretrainArguments, __doc__.splitlines()[0])
    region = get_region(args.region)
    check_arguments(args, region)
    if args.estimate:
        with TemporaryDirectory() as folder:
            start(dataclasses.replace(args, output_dir=folder, resume=False, report_to=None), region)
        return
    output_dir = Path(args.output_dir)
    with only_run_in(output_dir), resumable(lambda: checkpoints(output_dir / WORK_DIR)):
        if is_finished(output_dir) and args.resume:
            print(
                f"{output_dir}: this run is finished, nothing to resume; to train the model further, start another "
                f"run with --init_from {output_dir} and a new --output_dir"
            )
            return
        check_output_dir(output_dir, args.resume, args.overwrite)
        start(args, region)


def start(args: PretrainArguments, region: Region) -> None:
    """Open the texts, set up Accelerate, and train; exit with status 75 if a signal stopped the training."""
    corpus = open_corpus(args)
    validation_corpus = None
    if args.validation_file:
        validation_corpus = open_corpus(args, args.validation_file)

    accelerator = make_accelerator(args, public_arguments(args))
    if args.estimate and accelerator.num_processes > 1:
        raise InputError("--estimate measures one process: run it with python, without accelerate launch or torchrun")
    with as_lost_process_error():
        finished = pretrain(args, region, corpus, validation_corpus, accelerator)
    # The model must be freed before the process group: as its last owner it would wait, holding the interpreter's
    # lock, for gloo's threads, which may want that lock.
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
    """Train and complete the output folder, or only estimate; return False if a signal stopped the training."""
    output_dir = Path(args.output_dir)
    work_dir = output_dir / WORK_DIR
    prepare_work_dir(work_dir, args.resume, accelerator)
    tokenizer = make_tokenizer(args, corpus, work_dir, accelerator)
    if args.add_regions or not args.region_tokens:
        with as_input_error(ValueError):
            tokenizer = with_region_tokens(tokenizer, args.add_regions)
    source = ParquetStream(corpus) if args.streaming else corpus
    identity = run_identity(args, source, validation_corpus, tokenizer)
    checkpoint, state = find_start(work_dir, identity, accelerator)
    data = load_data(args, source, validation_corpus, tokenizer, accelerator)
    set_seed(args.seed)
    model = make_model(args, region, tokenizer)
    start_from_texts(args, model, data, tokenizer)
    if args.train_only == "regional":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in PARTS)
    choose_attention(model, accelerator)
    tokenizer.model_max_length = model.config.max_position_embeddings  # what truncation=True cuts at
    train_steps, validation_steps = make_steps(args, data, tokenizer, model.config, accelerator)
    total_steps = count_steps(args, region, train_steps.steps_per_epoch)
    epochs = total_steps / train_steps.steps_per_epoch
    say(accelerator, data.describe())
    say(accelerator, describe_run(args, model, total_steps, epochs, accelerator))

    optimizer = make_optimizer(args, model)
    scheduler = make_scheduler(args, optimizer, total_steps)
    # MaskedSteps itself shares the steps out, and the schedule counts whole steps: neither is prepared.
    model, optimizer = accelerator.prepare(model, optimizer)
    loop = TrainingLoop(
        args, accelerator, model, optimizer, scheduler, train_steps, validation_steps, total_steps, state, work_dir
    )
    if args.estimate:
        print(estimate(loop))
        return True
    accelerator.register_for_checkpointing(scheduler)
    if checkpoint:
        load_checkpoint(accelerator, checkpoint, work_dir / "best")

    if not loop.run():
        say(accelerator, f"stopped after step {state.step:,}: continue with the same command and --resume")
        return False
    if accelerator.is_main_process:
        with as_write_error(output_dir):
            finish(args, region, data, tokenizer, state, accelerator)
    return True


def describe_run(
    args: PretrainArguments, model: BilmaForMaskedLM, total_steps: int, epochs: float, accelerator: Accelerator
) -> str:
    """Describe the size of the model and of the run in a line."""
    return (
        f"{model.num_parameters():,} parameters, {model.config.vocab_size:,} tokens, {total_steps:,} steps of "
        f"{args.texts_per_step} texts ({epochs:.1f} epochs), "
        f"precision {accelerator.mixed_precision}, {accelerator.num_processes} process(es) on {accelerator.device}"
    )


if __name__ == "__main__":
    run(main)
