"""Fine-tune a BILMA to classify texts: the Emoji-15 task made from raw texts, or any file with labels.

    accelerate launch --quiet training/finetune.py --model bilma-mx --task emoji15 --train_file mx.jsonl.gz \
        --output_dir bilma-mx-emoji
    accelerate launch --quiet training/finetune.py --model bilma-mx --task sentiment --train_file tass.csv \
        --seeds 0 1 2 --output_dir bilma-mx-sentiment
    accelerate launch --quiet training/finetune.py --recipe finetune_published --model ... --task emoji15 ...

The output folder holds the classifier of the best seed by validation accuracy with its code, its tokenizer,
training_args.json, and metrics.json with the scores of every seed, their mean and their spread.

A run takes minutes and is not resumed: one that is interrupted leaves the output folder without a model (or, with
--overwrite, with the one that it held), and the same command begins again.
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.arguments import parse_arguments, public_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.provenance import base_fingerprint
from training.engine.accelerator import choose_attention, make_accelerator, make_optimizer, make_scheduler, say
from training.engine.run_folder import WORK_DIR, check_output_dir, prepare_work_dir, put_in_place, write_json
from training.finetuning.arguments import FinetuneArguments, check_arguments
from training.finetuning.classifier import TrainedClassifier, balanced_weights, make_classifier, predict
from training.finetuning.scores import classification_scores, describe_result, in_words, summarise
from training.finetuning.steps import LabelledSteps
from training.pretraining.steps import step_seed
from training.texts.corpus import encode
from training.texts.labelled import LabelledSplits, label_ids, open_labelled


@dataclass
class Task:
    """Texts as token ids, and the numbers of their classes, of each part."""

    label_names: list[str]
    ids: dict[str, list[list[int]]]
    labels: dict[str, np.ndarray]


def main() -> None:
    args = parse_arguments(FinetuneArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir)
    check_output_folder(args, output_dir)
    splits = open_labelled(args)
    accelerator = make_accelerator(args, public_arguments(args))
    finetune(args, splits, accelerator, output_dir)
    accelerator.free_memory()
    accelerator.end_training()


def check_output_folder(args: FinetuneArguments, output_dir: Path) -> None:
    """As in pretraining; and a pretrained model is never replaced by a classifier."""
    check_output_dir(output_dir, resume=False, overwrite=args.overwrite)
    written_with = output_dir / "training_args.json"
    if (output_dir / "config.json").exists() and "task" not in (
        json.loads(written_with.read_text()) if written_with.exists() else {}
    ):
        raise InputError(f"{output_dir} holds a model that is no classifier of ours: give another --output_dir")


def finetune(args: FinetuneArguments, splits: LabelledSplits, accelerator: Accelerator, output_dir: Path) -> None:
    with as_input_error(ValueError, OSError):
        tokenizer = load_tokenizer(args.model)
    task = tokenise(splits, tokenizer, args.max_length)
    say(accelerator, describe(args, splits))
    work_dir = output_dir / WORK_DIR
    prepare_work_dir(work_dir, False, accelerator)
    runs: list[dict[str, Any]] = []
    base = base_fingerprint(args.model)
    started = time.monotonic()
    for seed in args.seeds:
        outcome, model = train_seed(args, task, tokenizer, seed, accelerator)
        runs.append(outcome)
        say(accelerator, f"seed {seed}: {in_words(outcome)}, after {outcome['epochs']} epochs")
        if accelerator.is_main_process and summarise(runs)["kept_seed"] == seed:
            model.save_pretrained(work_dir / "best")
    if accelerator.is_main_process:
        facts = {"base_fingerprint": base, "seconds": round(time.monotonic() - started, 1)}
        finish(args, splits, tokenizer, runs, facts, accelerator, output_dir)


def tokenise(splits: LabelledSplits, tokenizer: TokenizersBackend, max_length: int) -> Task:
    parts = splits.parts()
    return Task(
        label_names=splits.label_names,
        ids={name: encode(part.texts, tokenizer, max_length) for name, part in parts.items()},
        labels={name: label_ids(part, splits.label_names, name) for name, part in parts.items()},
    )


def train_seed(
    args: FinetuneArguments, task: Task, tokenizer: TokenizersBackend, seed: int, accelerator: Accelerator
) -> tuple[dict[str, Any], torch.nn.Module]:
    """Train once; returns the scores and the classifier as it was after the best epoch by validation accuracy."""
    set_seed(seed)
    model = make_model(args, task)
    choose_attention(model.classifier, accelerator)
    tokenizer.model_max_length = model.classifier.config.max_position_embeddings
    steps = LabelledSteps(
        task.ids["train"],
        task.labels["train"],
        tokenizer,
        args.texts_per_step,
        mlm_probability=args.mlm_probability if args.mlm_weight else 0.0,
        seed=seed,
        process=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )
    optimizer = make_optimizer(args, model)
    scheduler = make_scheduler(args, optimizer, args.num_train_epochs * steps.steps_per_epoch)
    model, optimizer = accelerator.prepare(model, optimizer)
    classifier = accelerator.unwrap_model(model).classifier

    history: list[dict[str, float]] = []
    best: dict[str, Any] = {}
    for epoch in range(1, args.num_train_epochs + 1):
        loss = train_epoch(args, epoch, steps, model, optimizer, scheduler, accelerator)
        scores = score(classifier, task, "validation", tokenizer, accelerator)
        history.append({"epoch": epoch, "loss": loss, **scores})
        say(accelerator, f"epoch {epoch}: loss {loss:.4f}, validation accuracy {scores['accuracy']:.4f}")
        accelerator.log({f"seed-{seed}/{name}": value for name, value in history[-1].items()}, step=epoch)
        if not best or scores["accuracy"] > best["scores"]["accuracy"]:
            weights = {name: tensor.to("cpu", copy=True) for name, tensor in classifier.state_dict().items()}
            best = {"epoch": epoch, "scores": scores, "weights": weights}
        elif epoch - best["epoch"] >= args.patience:
            break
    classifier.load_state_dict(best["weights"])
    outcome = {
        "seed": seed,
        "epochs": len(history),
        "best_epoch": best["epoch"],
        "validation": best["scores"],
        "test": score(classifier, task, "test", tokenizer, accelerator),
        "history": history,
    }
    accelerator.free_memory()
    return outcome, classifier


def make_model(args: FinetuneArguments, task: Task) -> TrainedClassifier:
    weights = torch.ones(len(task.label_names))
    if args.class_weights == "balanced":
        weights = balanced_weights(task.labels["train"], len(task.label_names))
    with_decoder = args.mlm_weight > 0
    model = make_classifier(
        args.model, task.label_names, args.pooling, weights, with_decoder, args.hidden_dropout_prob
    )
    positions = model.classifier.config.max_position_embeddings
    if args.max_length > positions:
        raise InputError(f"--max_length {args.max_length} is more than the {positions} positions of the model")
    return model


def train_epoch(
    args: FinetuneArguments,
    epoch: int,
    steps: LabelledSteps,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    accelerator: Accelerator,
) -> float:
    """One pass over the training texts; returns the mean loss of its steps."""
    model.train()
    losses = torch.zeros((), device=accelerator.device)
    first = (epoch - 1) * steps.steps_per_epoch
    hidden = not accelerator.is_main_process
    for step in tqdm(range(first, first + steps.steps_per_epoch), f"epoch {epoch}", disable=hidden, leave=False):
        torch.manual_seed(step_seed(steps.seed, step, accelerator.process_index))  # of the dropout
        loss = step_loss(args, steps, step, model, accelerator)
        # Gradients are averaged over the processes; the loss is a sum over them.
        accelerator.backward(loss * accelerator.num_processes)
        if args.max_grad_norm:
            accelerator.clip_grad_norm_(model.parameters(), args.max_grad_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses += loss.detach()
    mean = (accelerator.reduce(losses) / steps.steps_per_epoch).item()
    if not math.isfinite(mean):
        raise InputError(f"the loss became {mean} in epoch {epoch}: lower --learning_rate or raise --warmup_ratio")
    return mean


def step_loss(
    args: FinetuneArguments, steps: LabelledSteps, step: int, model: torch.nn.Module, accelerator: Accelerator
) -> Tensor:
    """This process's part of the step's loss: weighted means over all its texts and over all its masked tokens."""
    batch = steps[step]
    inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.inputs.items()}
    label_loss, token_loss = model(**inputs)
    class_weights = accelerator.unwrap_model(model).class_weights
    texts = class_weights[batch.labels_of_step.to(accelerator.device)].sum()
    return (1 - args.mlm_weight) * label_loss / texts + args.mlm_weight * token_loss / max(batch.scored_tokens, 1)


def score(
    classifier: torch.nn.Module, task: Task, part: str, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> dict[str, float]:
    guessed = predict(accelerator, classifier, task.ids[part], tokenizer)
    return classification_scores(task.labels[part], guessed, len(task.label_names))


def describe(args: FinetuneArguments, splits: LabelledSplits) -> str:
    counts = ", ".join(f"{len(texts):,} for {part}" for part, texts in splits.parts().items())
    left_out = f"; {splits.duplicates} left out, the same as others" if splits.duplicates else ""
    return f"{args.task}: {len(splits.label_names)} labels, texts: {counts}{left_out}"


def finish(
    args: FinetuneArguments,
    splits: LabelledSplits,
    tokenizer: TokenizersBackend,
    runs: list[dict[str, Any]],
    facts: dict[str, Any],
    accelerator: Accelerator,
    output_dir: Path,
) -> None:
    """Make the output folder of the best seed's model, and remove what was only needed to get there."""
    best = output_dir / WORK_DIR / "best"
    tokenizer.save_pretrained(best)
    metrics = describe_result(Path(args.model).name, splits, runs, accelerator.device) | facts
    metrics["machine"] |= {"processes": accelerator.num_processes, "mixed_precision": accelerator.mixed_precision}
    write_json(best / "metrics.json", metrics)
    write_json(best / "training_args.json", public_arguments(args))
    put_in_place(best, output_dir)
    print(f"{output_dir}: seed {metrics['kept_seed']}, {in_words(metrics)}")
    if len(runs) > 1:
        print(f"mean of {len(runs)} seeds: {in_words(metrics['mean'])}")


if __name__ == "__main__":
    run(main)
