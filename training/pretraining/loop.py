"""The pretraining loop: steps, evaluations and checkpoints of masked language modelling with Accelerate."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from training.common.errors import InputError, as_write_error
from training.common.files import written_whole
from training.engine.checkpoints import save_checkpoint
from training.engine.signals import StopSignals, agree
from training.pretraining.arguments import PretrainArguments
from training.pretraining.steps import MaskedSteps, StepBatch
from training.pretraining.streamed_steps import StreamedSteps, count_together
from training.texts.batches import IGNORED, step_seed


@dataclass
class TrainingLoop:
    """What a run consists of. `progress` is kept up to date, and the best model so far lies in `work_dir/best`."""

    args: PretrainArguments
    accelerator: Accelerator
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    train_steps: MaskedSteps | StreamedSteps
    validation_steps: MaskedSteps
    total_steps: int
    progress: dict[str, Any]
    work_dir: Path

    def run(self) -> bool:
        """Train from `progress["step"]` to the end, or until a signal asks to stop; whether the end was reached.

        Raises:
            InputError: if the loss is no number any more, or a checkpoint cannot be written.
        """
        self.begin()
        first, hidden = self.progress["step"], not self.accelerator.is_main_process
        with (
            StopSignals() as self.signals,
            tqdm(total=self.total_steps, initial=first, unit="step", disable=hidden, leave=False) as self.bar,
        ):
            while True:
                if self.is_due(self.args.eval_steps, self.progress["evaluated_step"]):
                    self.evaluate_and_keep_best()
                if self.is_due(self.args.save_steps, self.saved_step):
                    self.save()
                stop, minutes_are_over = agree(self.accelerator, bool(self.signals.received), self.is_time_to_save())
                if stop or minutes_are_over:
                    self.save()
                if stop or self.is_last():
                    return self.progress["evaluated_step"] == self.total_steps
                self.train_step()
                if self.is_due(self.args.logging_steps):
                    self.log_training()

    def begin(self) -> None:
        """The clock, and what was summed up for the next point of the curve when the checkpoint was written."""
        self.seconds_before, self.tokens_before = self.progress["seconds"], self.progress["tokens"]
        self.began = self.saved_at = time.perf_counter()
        self.saved_step = self.progress["step"]
        *sums, self.scored = self.progress["unlogged"]
        share = sums if self.accelerator.is_main_process else [0.0, 0.0]
        self.sums = torch.tensor(share, device=self.accelerator.device)

    def train_step(self) -> None:
        step = self.progress["step"]
        # Dropout too is a function of the step, so that a resumed run draws what an unbroken one does.
        torch.manual_seed(step_seed(self.args.seed, step, self.accelerator.process_index))
        self.model.train()
        batch = self.train_steps[step]
        if not batch.counts_whole_step:
            batch = count_together(self.accelerator, batch)
        sums = forward_backward(self.accelerator, self.model, batch)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm or math.inf)
        self.progress["step"] = step + 1
        if self.is_finite(sums, norm):
            self.sums += sums
            self.scored += batch.scored_tokens
            self.optimizer.step()
        else:
            self.leave_out(sums / max(batch.scored_tokens, 1), norm)
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.progress["tokens"] += batch.tokens
        self.progress["texts"] += batch.texts
        self.bar.update()

    def is_finite(self, sums: Tensor, norm: Tensor | None) -> bool:
        """Whether the step may be taken; all processes get the same answer, for the price of reading one number.

        The norm is of the gradient of all processes, and a loss that is no number makes it none. With a gradient
        scaler (fp16) it overflows now and then as a matter of course, and the scaler leaves such steps out itself.
        """
        told_by_loss = norm is None or self.accelerator.scaler is not None
        return math.isfinite(self.accelerator.reduce(sums)[0] if told_by_loss else norm)

    def leave_out(self, means: Tensor, norm: Tensor | None) -> None:
        """Count a step that is not taken, or stop the run where there were more of them than allowed."""
        self.progress["bad_batches"] += 1
        what = f"the loss is {means[0].item()} and the norm of its gradient {norm}"
        if self.progress["bad_batches"] > self.args.max_bad_batches:
            raise InputError(
                f"step {self.progress['step']}: {what}: lower --learning_rate or raise --warmup_ratio, or go on with "
                "--resume and --max_bad_batches to leave such a step out; checkpoints from before are kept"
            )
        self.say(f"step {self.progress['step']}: {what}: left out ({self.progress['bad_batches']} so far)")
        if self.accelerator.scaler is not None:
            self.optimizer.step()  # takes no step, and lowers the scale

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def is_last(self) -> bool:
        return self.progress["step"] == self.total_steps

    def is_due(self, every: float, done_at: int = 0) -> bool:
        """Whether something done every so many steps (below 1: every such share of the run) is due now.

        Args:
            done_at: the step at which it was done last; it is not due again at the same one.
        """
        steps = math.ceil(every if every >= 1 else every * self.total_steps)
        return self.progress["step"] > done_at and (self.progress["step"] % steps == 0 or self.is_last())

    def is_time_to_save(self) -> bool:
        minutes = self.args.save_minutes if self.accelerator.is_main_process else None  # its clock is the run's
        return minutes is not None and time.perf_counter() - self.saved_at > minutes * 60

    def save(self) -> None:
        """Write a checkpoint, unless that of this step is written already."""
        if self.progress["step"] == self.saved_step:
            return
        self.check_weights()
        self.progress["unlogged"] = [*self.accelerator.reduce(self.sums).tolist(), self.scored]
        self.progress["seconds"] = self.seconds_before + self.elapsed()
        best, keep = self.work_dir / "best", self.args.keep_checkpoints
        save_checkpoint(self.accelerator, self.work_dir, self.progress, best, keep)
        self.saved_step, self.saved_at = self.progress["step"], time.perf_counter()

    def check_weights(self) -> None:
        """A finite gradient can still carry a weight beyond what a float holds; such a model is not kept."""
        finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all()
        (broken,) = agree(self.accelerator, not finite)
        if broken:
            raise InputError(
                f"step {self.progress['step']}: a weight is not finite: lower --learning_rate or raise "
                "--warmup_ratio; checkpoints from before are kept"
            )

    def log_training(self) -> None:
        loss, accuracy = (self.accelerator.reduce(self.sums) / max(self.scored, 1)).tolist()
        self.sums, self.scored = torch.zeros_like(self.sums), 0
        speed = (self.progress["tokens"] - self.tokens_before) / self.elapsed()
        self.bar.set_postfix_str(f"loss {loss:.3f}, masked accuracy {accuracy:.3f}, {speed:,.0f} tokens/s")
        rate = self.scheduler.get_last_lr()[0]
        self.record("train", {"loss": loss, "masked_accuracy": accuracy, "learning_rate": rate})

    def evaluate_and_keep_best(self) -> None:
        """One evaluation; one that a signal breaks off leaves no trace and is due again when the run is resumed."""
        step = self.progress["step"]
        scores = evaluate(self.accelerator, self.model, self.validation_steps, self.is_stopping)
        if scores is None:
            return
        if not math.isfinite(scores["loss"]):
            raise InputError(f"step {step}: the validation loss is {scores['loss']}; checkpoints from before are kept")
        self.record("eval", {f"eval_{name}": value for name, value in scores.items()})
        self.say(
            f"step {step:,}: validation loss {scores['loss']:.4f}, masked accuracy "
            f"{scores['masked_accuracy']:.4f} on {scores['scored_tokens']:,} tokens"
        )
        if self.progress["best"] is None or scores["loss"] < self.progress["best"]["loss"]:
            self.progress["best"] = {"step": step, **scores}
            save_best(self.accelerator, self.model, self.work_dir / "best")
        self.progress["evaluated_step"] = step

    def is_stopping(self) -> bool:
        (stop,) = agree(self.accelerator, bool(self.signals.received))
        return stop

    def say(self, text: str) -> None:
        if self.accelerator.is_main_process:
            tqdm.write(text)

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
def evaluate(
    accelerator: Accelerator, model: nn.Module, steps: MaskedSteps, is_stopping: Callable[[], bool]
) -> dict[str, float] | None:
    """Loss, perplexity and masked accuracy over one epoch of `steps`, counted over every process.

    None if `is_stopping`, asked before every step, said so.
    """
    model.eval()
    sums, scored = torch.zeros(2, device=accelerator.device), 0
    for number in range(steps.steps_per_epoch):
        if is_stopping():
            return None
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


def save_best(accelerator: Accelerator, model: nn.Module, folder: Path) -> None:
    """The model as it is published."""
    plain = accelerator.unwrap_model(model, keep_torch_compile=False)
    if accelerator.is_main_process:
        with as_write_error(folder), written_whole(folder) as beside:
            plain.config.sparse_prediction = False
            plain.save_pretrained(beside)
            plain.config.sparse_prediction = True
