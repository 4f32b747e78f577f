"""The pretraining loop: steps, evaluations and checkpoints of masked language modelling with Accelerate."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from training.batching import IGNORED, MaskedSteps, StepBatch, step_seed
from training.checkpoints import save_checkpoint
from training.errors import InputError
from training.folders import written_whole
from training.pretrain_arguments import PretrainArguments


@dataclass
class TrainingLoop:
    """What a run consists of. `progress` is kept up to date, and the best model so far lies in `work_dir/best`."""

    args: PretrainArguments
    accelerator: Accelerator
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    train_steps: MaskedSteps
    validation_steps: MaskedSteps
    total_steps: int
    progress: dict[str, Any]
    work_dir: Path

    def run(self) -> None:
        """Train from `progress["step"]` to the end.

        Raises:
            InputError: if the loss becomes infinite or no number.
        """
        self.seconds_before, self.tokens_before = self.progress["seconds"], self.progress["tokens"]
        self.began = time.perf_counter()
        self.sums, self.scored = torch.zeros(2, device=self.accelerator.device), 0
        first, hidden = self.progress["step"], not self.accelerator.is_main_process
        with tqdm(total=self.total_steps, initial=first, unit="step", disable=hidden, leave=False) as self.bar:
            for step in range(first, self.total_steps):
                self.train_step(step)
                self.bar.update()
                if self.is_due(self.args.logging_steps):
                    self.log_training()
                if self.is_due(self.args.eval_steps):
                    self.evaluate_and_keep_best()
                if self.is_due(self.args.save_steps) and not self.is_last():
                    self.check_finite(self.sums[0].item())
                    save_checkpoint(self.accelerator, self.work_dir, self.progress["step"], self.progress)

    def train_step(self, step: int) -> None:
        # Dropout too is a function of the step, so that a resumed run draws what an unbroken one does.
        torch.manual_seed(step_seed(self.args.seed, step, self.accelerator.process_index))
        self.model.train()
        batch = self.train_steps[step]
        self.sums += forward_backward(self.accelerator, self.model, batch)
        self.scored += batch.scored_tokens
        if self.args.max_grad_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.progress["step"] = step + 1
        self.progress["seconds"] = self.seconds_before + self.elapsed()
        self.progress["tokens"] += batch.tokens
        self.progress["texts"] += batch.texts

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def is_last(self) -> bool:
        return self.progress["step"] == self.total_steps

    def is_due(self, every: float) -> bool:
        """Whether something done every so many steps (below 1: every such share of the run) is due now."""
        steps = math.ceil(every if every >= 1 else every * self.total_steps)
        return self.progress["step"] % steps == 0 or self.is_last()

    def log_training(self) -> None:
        loss, accuracy = (self.accelerator.reduce(self.sums) / max(self.scored, 1)).tolist()
        self.sums, self.scored = torch.zeros_like(self.sums), 0
        self.check_finite(loss)
        speed = (self.progress["tokens"] - self.tokens_before) / self.elapsed()
        self.bar.set_postfix_str(f"loss {loss:.3f}, masked accuracy {accuracy:.3f}, {speed:,.0f} tokens/s")
        rate = self.scheduler.get_last_lr()[0]
        self.record("train", {"loss": loss, "masked_accuracy": accuracy, "learning_rate": rate})

    def check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} near step {self.progress['step']}: lower --learning_rate or raise "
                "--warmup_ratio; checkpoints from before are kept"
            )

    def evaluate_and_keep_best(self) -> None:
        step = self.progress["step"]
        scores = evaluate(self.accelerator, self.model, self.validation_steps)
        self.check_finite(scores["loss"])
        self.record("eval", {f"eval_{name}": value for name, value in scores.items()})
        if self.accelerator.is_main_process:
            tqdm.write(
                f"step {step:,}: validation loss {scores['loss']:.4f}, masked accuracy "
                f"{scores['masked_accuracy']:.4f} on {scores['scored_tokens']:,} tokens"
            )
        if self.progress["best"] is None or scores["loss"] < self.progress["best"]["loss"]:
            self.progress["best"] = {"step": step, **scores}
            if self.accelerator.is_main_process:
                save_best(self.accelerator.unwrap_model(self.model, keep_torch_compile=False), self.work_dir / "best")

    def record(self, kind: str, values: dict[str, float]) -> None:
        step = self.progress["step"]
        self.progress["history"].append({"step": step, **values})
        self.accelerator.log({f"{kind}/{name.removeprefix('eval_')}": v for name, v in values.items()}, step=step)


def forward_backward(accelerator: Accelerator, model: nn.Module, batch: StepBatch) -> Tensor:
    """Gradients of the mean loss over all scored tokens of the step, however it is cut up.

    Returns:
        The loss summed over this process's scored tokens, and how many of them were guessed right, as one tensor.
    """
    sums = torch.zeros(2, device=accelerator.device)
    last = len(batch.micro_batches) - 1
    for number, micro_batch in enumerate(batch.micro_batches):
        with accelerator.no_sync(model) if number < last else nullcontext():
            loss, correct = masked_loss(accelerator, model, micro_batch, batch.scored_tokens)
            # Gradients are averaged over the processes; the loss is a sum over them.
            accelerator.backward(loss * accelerator.num_processes)
        sums += torch.stack((loss.detach() * max(batch.scored_tokens, 1), correct))
    return sums


def masked_loss(
    accelerator: Accelerator, model: nn.Module, micro_batch: dict[str, Tensor], scored_tokens: int
) -> tuple[Tensor, Tensor]:
    """Loss summed over the micro-batch and divided by `scored_tokens`, and the number of right guesses."""
    micro_batch = {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in micro_batch.items()}
    outputs = model(**micro_batch, num_items_in_batch=max(scored_tokens, 1))
    labels = micro_batch["labels"]
    correct = (outputs.logits.argmax(-1) == labels[labels != IGNORED]).sum()
    return outputs.loss, correct.float()


@torch.no_grad()
def evaluate(accelerator: Accelerator, model: nn.Module, steps: MaskedSteps) -> dict[str, float]:
    """Loss, perplexity and masked accuracy over one epoch of `steps`, counted over every process."""
    model.eval()
    sums, scored = torch.zeros(2, device=accelerator.device), 0
    for number in range(steps.steps_per_epoch):
        batch = steps[number]
        scored += batch.scored_tokens
        for micro_batch in batch.micro_batches:
            sums += torch.stack(masked_loss(accelerator, model, micro_batch, scored_tokens=1))
    loss, accuracy = (accelerator.reduce(sums) / scored).tolist()
    return {
        "loss": loss,
        "perplexity": math.exp(min(loss, 700)),  # e^710 is beyond a float
        "masked_accuracy": accuracy,
        "scored_tokens": scored,
    }


def save_best(model: nn.Module, folder: Path) -> None:
    """The model as it is published."""
    with written_whole(folder) as beside:
        model.config.sparse_prediction = False
        model.save_pretrained(beside)
        model.config.sparse_prediction = True
