"""What a run will take, before it: `training/pretrain.py --estimate` measures some steps and keeps nothing of them."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from modeling_bilma import BilmaConfig
from training.common.provenance import machine
from training.pretraining.arguments import PretrainArguments
from training.pretraining.flops import training_flops
from training.pretraining.loop import TrainingLoop, forward_backward, masked_loss
from training.pretraining.steps import MaskedSteps
from training.pretraining.streamed_steps import StreamedSteps
from training.texts.regions import REGIONS

SAMPLE_TEXTS = 20_000  # to count tokens in and to time the making of batches
WARM_UP_STEPS = 2
MEASURED_STEPS = 10
MEASURED_SECONDS = 30  # then no further step is begun
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "results" / "pretraining.json"

# Assumptions for GPUs, used where nothing was measured on one; every estimate prints them.
GPU = "NVIDIA A100"
GPU_FLOPS = 312e12  # bf16, dense, as its maker states it
GPU_SHARE = 0.15  # of that, reached by a model with matrices as small as these
SCALING = {1: 1.0, 8: 0.9, 64: 0.7}  # number of GPUs -> share of the ideal speed


@dataclass(frozen=True)
class Sample:
    """Batches of the beginning of an epoch, made and not used."""

    steps: int
    texts: int
    tokens: int
    seconds: float


@dataclass(frozen=True)
class Speed:
    """Seconds of a training step and of the evaluation of a token, and the most bytes in use meanwhile."""

    step_seconds: float
    tokens_per_second: float
    evaluated_token_seconds: float
    peak_bytes: int | None


def estimate(loop: TrainingLoop) -> str:
    """A table for this corpus on this machine, and one for the Argentine corpus of the authors on GPUs.

    The model of `loop` is trained a little and of no use afterwards.
    """
    sample, speed = take_sample(loop.train_steps), measure(loop)
    parameters = sum(p.numel() for p in loop.model.parameters())
    return "\n".join(
        (
            "This corpus on this machine",
            *table(this_machine(loop, sample, speed)),
            *table(memory(parameters, speed)),
            "",
            *on_gpus(loop.args, loop.model.config, loop.accelerator.device, sample, speed),
        )
    )


def take_sample(steps: MaskedSteps | StreamedSteps) -> Sample:
    began, number, texts, tokens = time.perf_counter(), 0, 0, 0
    while number < steps.steps_per_epoch and texts < SAMPLE_TEXTS:
        batch = steps[number]
        number, texts, tokens = number + 1, texts + batch.texts, tokens + batch.tokens
    return Sample(number, texts, tokens, time.perf_counter() - began)


def measure(loop: TrainingLoop) -> Speed:
    """Train a little; the first steps, in which memory is allotted, do not count."""
    device = loop.accelerator.device
    loop.model.train()
    forget_peak(device)
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
    """Take a step, and return how many tokens it has."""
    batch = loop.train_steps[step]
    forward_backward(loop.accelerator, loop.model, batch)
    if loop.args.max_grad_norm:
        loop.accelerator.clip_grad_norm_(loop.model.parameters(), loop.args.max_grad_norm)
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    return batch.tokens


@torch.no_grad()
def time_evaluation(loop: TrainingLoop) -> float:
    """Seconds for a token, from the first evaluation steps."""
    loop.model.eval()
    tokens, began = 0, now(loop.accelerator.device)
    for number in range(min(MEASURED_STEPS, loop.validation_steps.steps_per_epoch)):
        batch = loop.validation_steps[number]
        for micro_batch in batch.micro_batches:
            masked_loss(loop.accelerator, loop.model, micro_batch, scored_tokens=1)
        tokens += batch.tokens
    return (now(loop.accelerator.device) - began) / tokens


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # of the whole process, on Linux
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Bytes of the GPU, or of this process; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return None


def this_machine(loop: TrainingLoop, sample: Sample, speed: Speed) -> Iterator[tuple[str, str]]:
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
    every = loop.args.eval_steps
    return math.ceil(1 / every if every < 1 else loop.total_steps / every)


def count_validation_tokens(loop: TrainingLoop) -> float:
    sample = take_sample(loop.validation_steps)
    return sample.tokens * loop.validation_steps.steps_per_epoch / sample.steps


def memory(parameters: int, speed: Speed) -> Iterator[tuple[str, str]]:
    states = 4 * 4 * parameters
    yield "parameters", f"{parameters:,}"
    yield "weights and optimizer", f"{gigabytes(states)}: weights, gradients and Adam's two moments, in fp32"
    if speed.peak_bytes is None:
        yield "most memory", "this system does not say"
    else:
        yield "most memory", f"{gigabytes(speed.peak_bytes)}, activations and all else included (measured)"


def on_gpus(
    args: PretrainArguments, config: BilmaConfig, device: torch.device, sample: Sample, speed: Speed
) -> Iterator[str]:
    """Hours for the largest published corpus, by the slower of what GPUs compute and what processes feed them."""
    region = REGIONS["ar"]
    tokens = region.tokens_millions * 1e6 * region.published_epochs
    steps = math.ceil(region.tweets_millions * 1e6 * region.published_epochs / args.texts_per_step)
    gpu_speed, source = speed_of_a_gpu(config, args.mlm_probability, device, sample, speed)
    fed = sample.tokens / sample.seconds
    yield (
        f"The published corpus of {region.country}: {region.tweets_millions} million tweets, "
        f"{tokens / 1e6:,.0f} million tokens, {region.published_epochs} epoch, {steps:,} steps"
    )
    yield f"  {'GPUs':>4}  {'tokens/s':>12}  {'hours':>8}  held back by"
    for gpus, share in SCALING.items():
        feeding = fed * (min(gpus, args.streaming_lanes) if args.streaming else 1)
        reached = min(gpu_speed * gpus * share, feeding)
        reason = "the making of batches" if reached == feeding else "the GPUs"
        yield f"  {gpus:>4}  {reached:>12,.0f}  {tokens / reached / 3600:>8,.2f}  {reason}"
    yield "Assumptions"
    yield f"  one GPU: {gpu_speed:,.0f} tokens/s, {source}"
    yield "  several: " + ", ".join(
        f"{gpus} reach {share:.0%} of {gpus} times that" for gpus, share in SCALING.items()
    )
    yield (
        f"  batches: {fed:,.0f} tokens/s in one process (measured here); "
        + ("a process makes those of its own lanes" if args.streaming else "every process makes all of them")
    )


def speed_of_a_gpu(
    config: BilmaConfig, mlm_probability: float, device: torch.device, sample: Sample, speed: Speed
) -> tuple[float, str]:
    """Tokens a second of one GPU: measured now, else recorded, else assumed; and which of these."""
    if device.type == "cuda":
        return speed.tokens_per_second, "measured here"
    if recorded := recorded_gpu_speed(BENCHMARK):
        return recorded[0], f"recorded on {recorded[1]}, published model"
    length = sample.tokens / sample.texts
    flops = training_flops(config, [length], [mlm_probability * length]) / length
    return GPU_FLOPS * GPU_SHARE / flops, (
        f"assumed: {flops / 1e6:,.0f} million operations a token on an {GPU}, {GPU_SHARE:.0%} of its "
        f"{GPU_FLOPS / 1e12:.0f} TFLOP/s"
    )


def recorded_gpu_speed(file: Path) -> tuple[float, str] | None:
    """Tokens a second of one GPU and its name, if `make bench` was run on one."""
    result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if result is None or not result["machine"]["device"].startswith("NVIDIA"):
        return None
    return result["training"]["tokens_per_second"]["bilma"]["median"], result["machine"]["device"]


def table(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    return (f"  {name:26} {value}" for name, value in rows)


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} hours" if seconds >= 360 else f"{seconds / 60:,.1f} minutes"


def gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f} GB"
