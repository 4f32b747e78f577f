"""The fine-tuning loop: one classifier per seed, with the weights of its best epoch."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from transformers import TokenizersBackend

from training.common.errors import InputError
from training.common.progress import ProgressBar
from training.engine.accelerator import choose_attention, make_optimizer, make_scheduler, say
from training.finetuning.arguments import FinetuneArguments
from training.finetuning.classifier import Classifier, TrainedClassifier, balanced_weights, make_classifier
from training.finetuning.scores import Scores, one_line
from training.finetuning.steps import LabelledSteps
from training.finetuning.tasks import Task, tokenise_texts
from training.inference.classify import predict
from training.texts.batches import step_seed
from training.texts.labelled import LabelledSplits


def train_seed(
    args: FinetuneArguments, task: Task, tokenizer: TokenizersBackend, seed: int, accelerator: Accelerator
) -> tuple[dict[str, Any], Classifier]:
    """Train a classifier, and return its scores with it, as it was after the best epoch on the validation texts."""
    set_seed(args.seeds[0] if args.soup else seed)  # what is averaged has to begin with one head
    model = make_model(args, task, tokenizer)
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
        say(accelerator, f"epoch {epoch}: loss {loss:.4f}, validation {task.metric} {scores[task.metric]:.4f}")
        accelerator.log({f"seed-{seed}/{name}": value for name, value in history[-1].items()}, step=epoch)
        if not best or scores[task.metric] > best["scores"][task.metric]:
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
        **test_scores(classifier, task, tokenizer, accelerator),
        "history": history,
    }
    accelerator.free_memory()
    return outcome, classifier


def cross_validate(
    args: FinetuneArguments, folds: Sequence[LabelledSplits], tokenizer: TokenizersBackend, accelerator: Accelerator
) -> dict[int, np.ndarray]:
    """Train a classifier for every seed and fold; return what they guess of the folds' test texts, by seed."""
    tasks = [tokenise_texts(fold, tokenizer, args.max_length, args.region_tokens) for fold in folds]
    by_seed = {}
    for seed in args.seeds:
        found = []
        for number, task in enumerate(tasks, start=1):
            outcome, classifier = train_seed(args, task, tokenizer, seed, accelerator)
            say(accelerator, f"seed {seed}, fold {number}: {one_line(outcome)}; after {outcome['epochs']} epochs")
            found.append(predict(accelerator, classifier, task.ids["test"], tokenizer))
        by_seed[seed] = np.concatenate(found)
    return by_seed


def make_model(args: FinetuneArguments, task: Task, tokenizer: TokenizersBackend) -> TrainedClassifier:
    """Make the classifier that the arguments describe.

    Raises:
        InputError: as `make_classifier` does, and if texts may be longer than the model takes.
    """
    weights = torch.ones(len(task.label_names))
    if args.class_weights == "balanced":
        weights = balanced_weights(task.training_labels(), len(task.label_names))
    model = make_classifier(
        args.model,
        task.label_names,
        args.pooling,
        weights,
        with_decoder=args.mlm_weight > 0,
        hidden_dropout_prob=args.hidden_dropout_prob,
        model_class=task.model_class,
        label_tokens=tokens_of_labels(task.label_names, tokenizer) if args.pooling == "mask" else (),
    )
    config = model.classifier.config
    if args.max_length > config.max_position_embeddings:
        raise InputError(
            f"--max_length {args.max_length} is more than the {config.max_position_embeddings} positions of the model"
        )
    config.region_tokens = args.region_tokens
    return model


def tokens_of_labels(label_names: list[str], tokenizer: TokenizersBackend) -> list[int | None]:
    """Return for each label the token that is all of its name, if there is one: emoji are tokens."""
    ids = [tokenizer.encode(name, add_special_tokens=False) for name in label_names]
    return [own[0] if len(own) == 1 and own[0] != tokenizer.unk_token_id else None for own in ids]


def train_epoch(
    args: FinetuneArguments,
    epoch: int,
    steps: LabelledSteps,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    accelerator: Accelerator,
) -> float:
    """Train for one pass over the training texts, and return the mean loss of its steps.

    Raises:
        InputError: if the loss is no longer a finite number.
    """
    model.train()
    losses = torch.zeros((), device=accelerator.device)
    first = (epoch - 1) * steps.steps_per_epoch
    hidden = not accelerator.is_main_process
    for step in ProgressBar(range(first, first + steps.steps_per_epoch), f"epoch {epoch}", disable=hidden):
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
    """Return this process's part of the step's loss: weighted means over all labels and all masked tokens."""
    batch = steps[step]
    inputs = {name: tensor.to(accelerator.device) for name, tensor in batch.inputs.items()}
    label_loss, token_loss = model(**inputs)
    class_weights = accelerator.unwrap_model(model).class_weights
    labels = class_weights[batch.labels_of_step.to(accelerator.device)].sum()
    return (1 - args.mlm_weight) * label_loss / labels + args.mlm_weight * token_loss / max(batch.scored_tokens, 1)


def score(
    classifier: Classifier, task: Task, part: str, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> Scores:
    """Score a classifier on the texts of a part."""
    return task.scores(part, predict(accelerator, classifier, task.ids[part], tokenizer))


def test_scores(
    classifier: Classifier, task: Task, tokenizer: TokenizersBackend, accelerator: Accelerator
) -> dict[str, Any]:
    """Score a classifier on the test texts, with the scores of each region or type of entity."""
    predicted = predict(accelerator, classifier, task.ids["test"], tokenizer)
    return {"test": task.scores("test", predicted), **task.details(predicted)}
