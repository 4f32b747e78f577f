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
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from accelerate import Accelerator
from accelerate.utils import set_seed

from modeling_bilma import BilmaForMaskedLM
from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_write_error, run
from training.engine.accelerator import (
    as_lost_process_error,
    choose_attention,
    make_accelerator,
    make_optimizer,
    make_scheduler,
    say,
    tell_deepspeed,
)
from training.engine.checkpoints import load_checkpoint
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
    if is_finished(output_dir) and args.resume:
        print(f"{output_dir}: this run is finished, nothing to resume")
        return
    check_output_dir(output_dir, args.resume, args.overwrite)
    start(args, region)


def start(args: PretrainArguments, region: Region) -> None:
    corpus = open_corpus(args)
    validation_corpus = None
    if args.validation_file:
        validation_corpus = open_corpus(args, args.validation_file)

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
    source = ParquetStream(corpus) if args.streaming else corpus
    identity = run_identity(args, source, validation_corpus, tokenizer)
    checkpoint, progress = find_start(work_dir, identity, accelerator)
    data = load_data(args, source, validation_corpus, tokenizer, accelerator)
    set_seed(args.seed)
    model = make_model(args, region, tokenizer)
    start_from_texts(args, model, data, tokenizer)
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


def in_words(
    args: PretrainArguments, model: BilmaForMaskedLM, total_steps: int, epochs: float, accelerator: Accelerator
) -> str:
    return (
        f"{model.num_parameters():,} parameters, {model.config.vocab_size:,} tokens, {total_steps:,} steps of "
        f"{args.texts_per_step} texts ({epochs:.1f} epochs), "
        f"precision {accelerator.mixed_precision}, {accelerator.num_processes} process(es) on {accelerator.device}"
    )


if __name__ == "__main__":
    run(main)
