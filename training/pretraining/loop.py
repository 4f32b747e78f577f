"""The pretraining loop: steps, evaluations and checkpoints of masked language modelling with Accelerate."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.common.errors import InputError, as_write_error
from training.common.files import replace_folder
from training.common.progress import ProgressBar
from training.engine.accelerator import say
from training.engine.checkpoints import save_checkpoint
from training.engine.models import save_model
from training.engine.run_state import RunState, Scores
from training.engine.signals import StopSignals, any_process
from training.pretraining.arguments import PretrainArguments
from training.pretraining.steps import StepBatch, Steps
from training.pretraining.streamed_steps import count_together
from training.texts.batches import IGNORED, step_seed


@dataclass
class TrainingLoop:
    """Trains a model from its run state to the last step, and keeps the best model so far in `work_dir/best`.

    Attributes:
        state: updated in every step and written with every checkpoint.
        work_dir: folder of the checkpoints and the best model.
    """

    args: PretrainArguments
    accelerator: Accelerator
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    train_steps: Steps
    validation_steps: Steps
    total_steps: int
    state: RunState
    work_dir: Path
    signals: StopSignals = field(default_factory=StopSignals, init=False)

    def __post_init__(self) -> None:
        state = self.state
        self.began = self.saved_at = time.perf_counter()
        self.saved_step = state.step
        self.seconds_before, self.tokens_before = state.seconds, state.tokens
        self.unlogged_tokens = state.unlogged_tokens
        # The state holds the sums over all processes.
        sums = [state.unlogged_loss, state.unlogged_correct] if self.accelerator.is_main_process else [0.0, 0.0]
        self.sums = torch.tensor(sums, device=self.accelerator.device)

    def run(self) -> bool:
        """Train until the last step or a signal; return whether the last step was reached.

        Raises:
            InputError: if the loss or a weight is no longer finite, or a checkpoint cannot be written.
        """
        state, hidden = self.state, not self.accelerator.is_main_process
        self.began = self.saved_at = time.perf_counter()
        with (
            self.signals,
            ProgressBar(total=self.total_steps, initial=state.step, unit="step", disable=hidden) as bar,
        ):
            if self.args.init_from and state.step == 0:
                self.evaluate_and_keep_best()  # the starting model, which training may not improve
            while True:
                if self.is_due(self.args.eval_steps, state.evaluated_step):
                    self.evaluate_and_keep_best()
                if self.is_due(self.args.save_steps, self.saved_step):
                    self.save()
                stop, minutes_are_over = any_process(
                    self.accelerator, bool(self.signals.received), self.is_time_to_save()
                )
                if stop or minutes_are_over:
                    self.save()
                if stop or self.is_last():
                    return state.evaluated_step == self.total_steps
                self.train_step()
                bar.update()
                if self.is_due(self.args.logging_steps):
                    bar.set_postfix_str(self.log_training())

    def train_step(self) -> None:
        """Take one optimizer step, unless its loss or gradient is not finite."""
        step = self.state.step
        # Dropout, too, is a function of the step, so that a resumed run draws the same as an unbroken one.
        torch.manual_seed(step_seed(self.args.seed, step, self.accelerator.process_index))
        self.model.train()
        batch = self.train_steps[step]
        if not batch.counts_whole_step:
            batch = count_together(self.accelerator, batch)
        sums = forward_backward(self.accelerator, self.model, batch)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm or math.inf)
        self.state.step = step + 1
        if self.is_finite(sums, norm):
            self.sums += sums
            self.unlogged_tokens += batch.scored_tokens
            self.optimizer.step()
        else:
            self.leave_out(sums / max(batch.scored_tokens, 1), norm)
        self.scheduler.step()
        self.optimizer.zero_grad()
        self.state.tokens += batch.tokens
        self.state.texts += batch.texts

    def is_finite(self, sums: Tensor, norm: Tensor | None) -> bool:
        """Whether the step may be taken, the same in all processes; costs reading one number from the device.

        The norm is that of the whole gradient, so it is not finite if the loss of any process is not. With a gradient
        scaler (fp16), occasional overflows are normal, and the scaler skips such steps itself.
        """
        if norm is None or self.accelerator.scaler is not None:
            return math.isfinite(self.accelerator.reduce(sums)[0])
        return math.isfinite(norm)

    def leave_out(self, means: Tensor, norm: Tensor | None) -> None:
        """Count a skipped step.

        Raises:
            InputError: if more than --max_bad_batches steps have been skipped.
        """
        self.state.bad_batches += 1
        what = f"the loss is {means[0].item()} and the norm of its gradient {norm}"
        if self.state.bad_batches > self.args.max_bad_batches:
            raise InputError(
                f"step {self.state.step}: {what}: lower --learning_rate or raise --warmup_ratio, or continue "
                "with --resume and --max_bad_batches to leave such steps out; earlier checkpoints are kept"
            )
        say(self.accelerator, f"step {self.state.step}: {what}: left out ({self.state.bad_batches} so far)")
        if self.accelerator.scaler is not None:
            self.optimizer.step()  # takes no step, and lowers the scale

    def elapsed(self) -> float:
        """Return the seconds since this process started to train."""
        return time.perf_counter() - self.began

    def is_last(self) -> bool:
        """Whether all steps of the run have been taken."""
        return self.state.step == self.total_steps

    def is_due(self, every: float, done_at: int = 0) -> bool:
        """Whether something done every few steps is due now; after the last step everything is.

        Args:
            every: interval in steps; below 1, a share of the run.
            done_at: the step at which it was last done.
        """
        steps = math.ceil(every if every >= 1 else every * self.total_steps)
        return self.state.step > done_at and (self.state.step % steps == 0 or self.is_last())

    def is_time_to_save(self) -> bool:
        """Whether the last checkpoint is --save_minutes old, by the clock of the main process."""
        minutes = self.args.save_minutes if self.accelerator.is_main_process else None
        return minutes is not None and time.perf_counter() - self.saved_at > minutes * 60

    def save(self) -> None:
        """Write a checkpoint, unless this step has one.

        Raises:
            InputError: if a weight is not finite, or the checkpoint cannot be written.
        """
        if self.state.step == self.saved_step:
            return
        self.check_weights()
        state = self.state
        state.unlogged_loss, state.unlogged_correct = self.accelerator.reduce(self.sums).tolist()
        state.unlogged_tokens = self.unlogged_tokens
        state.seconds = self.seconds_before + self.elapsed()
        save_checkpoint(self.accelerator, self.work_dir, state, self.work_dir / "best", self.args.keep_checkpoints)
        self.saved_step, self.saved_at = state.step, time.perf_counter()

    def check_weights(self) -> None:
        """Check that all weights are finite: even a finite gradient can push one out of the range of a float.

        Raises:
            InputError: if one is not.
        """
        finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()]).all()
        (broken,) = any_process(self.accelerator, not bool(finite))
        if broken:
            raise InputError(
                f"step {self.state.step}: a weight is not finite: lower --learning_rate or raise "
                "--warmup_ratio; earlier checkpoints are kept"
            )

    def log_training(self) -> str:
        """Add a point to the training curve, and return it as text for the progress bar."""
        loss, accuracy = (self.accelerator.reduce(self.sums) / max(self.unlogged_tokens, 1)).tolist()
        self.sums, self.unlogged_tokens = torch.zeros_like(self.sums), 0
        rate = float(self.scheduler.get_last_lr()[0])
        self.record("train", {"loss": loss, "masked_accuracy": accuracy, "learning_rate": rate})
        speed = (self.state.tokens - self.tokens_before) / self.elapsed()
        return f"loss {loss:.3f}, masked accuracy {accuracy:.3f}, {speed:,.0f} tokens/s"

    def evaluate_and_keep_best(self) -> None:
        """Evaluate once; an evaluation that a signal interrupts leaves no trace and is repeated after --resume.

        Raises:
            InputError: if the validation loss is not finite.
        """
        state = self.state
        scores = evaluate(self.accelerator, self.model, self.validation_steps, self.is_stopping)
        if scores is None:
            return
        if not math.isfinite(scores["loss"]):
            raise InputError(
                f"step {state.step}: the validation loss is {scores['loss']}; earlier checkpoints are kept"
            )
        self.record(
            "eval",
            {
                "eval_loss": scores["loss"],
                "eval_perplexity": scores["perplexity"],
                "eval_masked_accuracy": scores["masked_accuracy"],
                "eval_scored_tokens": scores["scored_tokens"],
            },
        )
        say(
            self.accelerator,
            f"step {state.step:,}: validation loss {scores['loss']:.4f}, masked accuracy "
            f"{scores['masked_accuracy']:.4f} on {scores['scored_tokens']:,} tokens",
        )
        if state.best is None or scores["loss"] < state.best["loss"]:
            state.best = {"step": state.step, **scores}
            save_best(self.accelerator, self.model, self.work_dir / "best")
        state.evaluated_step = state.step

    def is_stopping(self) -> bool:
        """Whether any process has received a signal to stop."""
        (stop,) = any_process(self.accelerator, bool(self.signals.received))
        return stop

    def record(self, kind: str, values: dict[str, float]) -> None:
        """Add a point to the curves and, as `kind/name`, to those of the tracker."""
        step = self.state.step
        self.state.history.append({"step": step, **values})
        self.accelerator.log({f"{kind}/{name.removeprefix('eval_')}": v for name, v in values.items()}, step=step)


def forward_backward(accelerator: Accelerator, model: nn.Module, batch: StepBatch) -> Tensor:
    """Accumulate the gradients of the mean loss over all scored tokens of a step, however it is divided.

    Returns:
        (2,) float32: the loss summed over this process's scored tokens, and the number of correct predictions.
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
    """Return the loss, summed and divided by `scored_tokens`, and the number of correct predictions."""
    micro_batch = {name: tensor.to(accelerator.device, non_blocking=True) for name, tensor in micro_batch.items()}
    outputs = model(**micro_batch, num_items_in_batch=max(scored_tokens, 1))
    labels = micro_batch["labels"]
    correct = (outputs.logits.argmax(-1) == labels[labels != IGNORED]).sum()
    return outputs.loss, correct.float()


@torch.no_grad()
def evaluate(
    accelerator: Accelerator, model: nn.Module, steps: Steps, is_stopping: Callable[[], bool]
) -> Scores | None:
    """Compute loss, perplexity and masked accuracy over one epoch of `steps`, over all processes.

    Args:
        is_stopping: called before every step.

    Returns:
        The scores; None if `is_stopping` interrupted the evaluation.
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
    """Save the model as it will be published.

    Raises:
        InputError: if it cannot be written.
    """
    if accelerator.is_main_process:
        with as_write_error(folder), replace_folder(folder) as partial:
            save_model(accelerator.unwrap_model(model, keep_torch_compile=False), partial)
