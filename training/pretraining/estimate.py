"""Estimate the time and memory of a run from a few measured steps: `training/pretrain.py --estimate`."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from training.common.provenance import machine
from training.pretraining.loop import TrainingLoop, forward_backward, masked_loss
from training.pretraining.steps import Steps

SAMPLE_TEXTS = 20_000  # to count tokens in
WARM_UP_STEPS = 2
MEASURED_STEPS = 10
MEASURED_SECONDS = 30  # no step starts after that


@dataclass(frozen=True)
class Sample:
    """Size of the batches at the start of an epoch."""

    steps: int
    texts: int
    tokens: int


@dataclass(frozen=True)
class Speed:
    """Measured speed of a run.

    Attributes:
        step_seconds: time of a training step.
        tokens_per_second: in training.
        evaluated_token_seconds: evaluation time per token.
        peak_bytes: peak memory; None if the system does not report it.
    """

    step_seconds: float
    tokens_per_second: float
    evaluated_token_seconds: float
    peak_bytes: int | None


def estimate(loop: TrainingLoop) -> str:
    """Measure a few steps, which changes the model of `loop`, and return a table of the time and memory of the run."""
    sample, speed = take_sample(loop.train_steps), measure(loop)
    parameters = sum(p.numel() for p in loop.model.parameters())
    return "\n".join(
        (
            "This corpus on this machine",
            *table(this_machine(loop, sample, speed)),
            *table(memory(parameters, speed)),
        )
    )


def take_sample(steps: Steps) -> Sample:
    """Count texts and tokens in the first steps of an epoch, or in all of them if there are few."""
    number, texts, tokens = 0, 0, 0
    while number < steps.steps_per_epoch and texts < SAMPLE_TEXTS:
        batch = steps[number]
        number, texts, tokens = number + 1, texts + batch.texts, tokens + batch.tokens
    return Sample(number, texts, tokens)


def measure(loop: TrainingLoop) -> Speed:
    """Train for some steps and measure them, except for the first ones, which allocate memory."""
    device = loop.accelerator.device
    loop.model.train()
    reset_peak(device)
    tokens, measured, began = 0, 0, time.perf_counter()
    for number in range(WARM_UP_STEPS + MEASURED_STEPS):
        if number == WARM_UP_STEPS:
            tokens, measured, began = 0, 0, now(device)
        tokens, measured = tokens + train_on(loop, number), measured + 1
        if number >= WARM_UP_STEPS and now(device) - began > MEASURED_SECONDS:
            break
    seconds = now(device) - began
    return Speed(
        step_seconds=seconds / measured,
        tokens_per_second=tokens / seconds,
        evaluated_token_seconds=time_evaluation(loop),
        peak_bytes=peak_memory(device),
    )


def train_on(loop: TrainingLoop, step: int) -> int:
    """Take a step and return its number of tokens."""
    batch = loop.train_steps[step]
    forward_backward(loop.accelerator, loop.model, batch)
    if loop.args.max_grad_norm:
        loop.accelerator.clip_grad_norm_(loop.model.parameters(), loop.args.max_grad_norm)
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    return batch.tokens


@torch.no_grad()
def time_evaluation(loop: TrainingLoop) -> float:
    """Measure the seconds per token of the first evaluation steps."""
    loop.model.eval()
    tokens, began = 0, now(loop.accelerator.device)
    for number in range(min(MEASURED_STEPS, loop.validation_steps.steps_per_epoch)):
        batch = loop.validation_steps[number]
        for micro_batch in batch.micro_batches:
            masked_loss(loop.accelerator, loop.model, micro_batch, scored_tokens=1)
        tokens += batch.tokens
    return (now(loop.accelerator.device) - began) / tokens


def now(device: torch.device) -> float:
    """Return the time in seconds, once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def reset_peak(device: torch.device) -> None:
    """Reset the measurement of peak memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # of the whole process, on Linux
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory in bytes, of the GPU or of this process; None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return None


def this_machine(loop: TrainingLoop, sample: Sample, speed: Speed) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table about texts, steps and time."""
    steps_per_epoch, total_steps = loop.train_steps.steps_per_epoch, loop.total_steps
    samples = steps_per_epoch / sample.steps  # in an epoch
    whole = "counted" if sample.steps == steps_per_epoch else f"from a sample of {sample.texts:,} texts"
    evaluations, validation_tokens = count_evaluations(loop), count_validation_tokens(loop)
    training_seconds = total_steps * speed.step_seconds
    evaluation_seconds = evaluations * validation_tokens * speed.evaluated_token_seconds
    yield "machine", ", ".join(f"{name} {value}" for name, value in machine(loop.accelerator.device).items())
    yield "texts to train on", f"{sample.texts * samples:,.0f} ({whole})"
    yield "tokens of an epoch", f"{sample.tokens * samples:,.0f} ({whole})"
    epochs = total_steps / steps_per_epoch
    yield "steps", f"{total_steps:,} of {loop.args.texts_per_step:,} texts, {epochs:.1f} epochs"
    yield "speed", f"{speed.tokens_per_second:,.0f} tokens/s, {speed.step_seconds:.3f} s a step (measured)"
    yield "training", hours(training_seconds)
    yield "evaluations", f"{evaluations:,}, {hours(evaluation_seconds)} together"
    yield "expected", hours(training_seconds + evaluation_seconds)


def count_evaluations(loop: TrainingLoop) -> int:
    """Count the evaluations of the run, including that of the starting model."""
    every = loop.args.eval_steps
    return math.ceil(1 / every if every < 1 else loop.total_steps / every) + bool(loop.args.init_from)


def count_validation_tokens(loop: TrainingLoop) -> float:
    """Estimate the number of tokens in one evaluation."""
    sample = take_sample(loop.validation_steps)
    return sample.tokens * loop.validation_steps.steps_per_epoch / sample.steps


def memory(parameters: int, speed: Speed) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table about memory."""
    states = 4 * 4 * parameters
    yield "parameters", f"{parameters:,}"
    yield "weights and optimizer", f"{gigabytes(states)}: weights, gradients and Adam's two moments, in fp32"
    if speed.peak_bytes is None:
        yield "peak memory", "not reported by this system"
    else:
        yield "peak memory", f"{gigabytes(speed.peak_bytes)}, activations and all else included (measured)"


def table(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    """Align names and values."""
    return (f"  {name:26} {value}" for name, value in rows)


def hours(seconds: float) -> str:
    """Format a time in hours, or in minutes if it is short."""
    return f"{seconds / 3600:,.2f} hours" if seconds >= 360 else f"{seconds / 60:,.1f} minutes"


def gigabytes(count: int) -> str:
    """Format a number of bytes."""
    return f"{count / 1e9:,.2f} GB"
