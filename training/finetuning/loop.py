"""The fine-tuning loop: one classifier per seed, the best epoch kept."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from tqdm import tqdm
from transformers import TokenizersBackend

from training.common.errors import InputError
from training.engine.accelerator import choose_attention, make_optimizer, make_scheduler, say
from training.finetuning.arguments import FinetuneArguments
from training.finetuning.classifier import TrainedClassifier, balanced_weights, make_classifier
from training.finetuning.scores import classification_scores
from training.finetuning.steps import LabelledSteps
from training.inference.classify import predict
from training.texts.batches import step_seed
from training.texts.encoding import encode
from training.texts.labelled import LabelledSplits, label_ids


@dataclass
class Task:
    """Texts as token ids, and the numbers of their classes, of each part."""

    label_names: list[str]
    ids: dict[str, list[list[int]]]
    labels: dict[str, np.ndarray]


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
