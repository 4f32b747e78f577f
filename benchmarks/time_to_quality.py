"""Measure time to quality: how soon a model trained by our recipe is as good as a BERT is after some minutes.

    python -m benchmarks.time_to_quality --train_file mx.jsonl.gz --group_column author --minutes 60

Both learn from the same training texts with one vocabulary, and predict the same masked tokens of the same validation
texts. The BERT, of as many parameters, trains for the minutes in the usual loop: dynamic padding, 15 % masks, AdamW,
a cosine schedule that ends with them. Its start, tokenising and evaluation are not counted. Ours are counted: the
wall time of train_word_vectors.py and of pretrain.py --recipe family_body, until an evaluation reaches the accuracy of
the BERT. The rate of our run falls to zero at --max_steps, and of the tokens to predict it keeps a tenth, as the BERT
does and the validation, too. The vocabulary, which both need, counts for neither. Writes
benchmarks/results/time_to_quality.json.
"""

import math
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Bert
from benchmarks.layouts import padded
from benchmarks.reporting import RESULTS, write_result
from benchmarks.turns import ROOT
from modeling_bilma import BilmaConfig
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.arguments import check_each, option, parse_arguments
from training.common.errors import InputError, run
from training.common.progress import ProgressBar, say
from training.engine.accelerator import make_accelerator
from training.engine.signals import STOPPED
from training.pretraining.arguments import PretrainArguments
from training.pretraining.data import TokenisedData, load_data, make_steps
from training.pretraining.steps import Steps
from training.texts.batches import IGNORED
from training.texts.corpus import open_corpus
from training.texts.token_cache import TokenRows

WARMUP = 0.06  # share of the minutes in which the BERT's learning rate rises
PATHS = ("train_file", "output", "bert_output_dir")  # settings that change no result
SCORES = re.compile(r"step ([\d,]+): validation loss ([\d.]+), masked accuracy ([\d.]+)")  # as pretrain.py prints them


@dataclass(kw_only=True)
class TimeToQualityArguments:
    train_file: list[str] = field(metadata={"help": "files of texts, which both learn from and are validated on"})
    minutes: float = option(60, "minutes that the BERT trains; ours is stopped after as many")
    output: str = option(str(RESULTS / "time_to_quality.json"), "file for the result")
    group_column: str | None = option(None, "column or field that names a text's author, who is on one side only")
    vocab_size: int = option(29025, "tokens of the vocabulary")
    bert_learning_rate: float = option(5e-4, "peak learning rate of the BERT")
    bert_output_dir: str | None = option(None, "new folder in which the trained BERT is kept, for other comparisons")
    max_steps: int = option(1000, "length of our run, in which its rate falls to zero")
    warmup_ratio: float = option(0.1, "share of our run in which its rate rises")
    eval_steps: int = option(50, "steps between our evaluations")
    max_validation_texts: int = option(1000, "most texts to validate on")


@dataclass
class Evaluation:
    """One evaluation of a run: seconds since its start, steps and masked accuracy."""

    seconds: float
    step: int
    masked_accuracy: float


def main() -> None:
    args = parse_arguments(TimeToQualityArguments, __doc__.splitlines()[0])
    check_each(args, "above 0", "minutes", "bert_learning_rate")
    if args.bert_output_dir and Path(args.bert_output_dir).exists():
        raise InputError(f"--bert_output_dir {args.bert_output_dir} exists: name a new folder")
    with TemporaryDirectory() as folder:
        home = Path(folder)
        texts = ["--train_file", *args.train_file, "--test_fraction", "0.05"]
        texts += ["--group_column", args.group_column] if args.group_column else []
        run_script("train_tokenizer.py", *texts, "--vocab_size", args.vocab_size, "--output_dir", home / "tokenizer")
        flags = [*texts, "--tokenizer", home / "tokenizer"]
        found = measure(args, flags, home)
    print(summary(found))


def measure(args: TimeToQualityArguments, flags: Sequence[object], home: Path) -> dict[str, Any]:
    """Train the BERT for the minutes, then ours until it is as good, and write the result."""
    settings = ("max_steps", "warmup_ratio", "eval_steps", "max_validation_texts")
    run_flags = ["--recipe", "family_body", "--region", "all", *flags]
    run_flags += ["--lr_scheduler_type", "linear", "--mask_replace_prob", 0.8]
    run_flags += [word for name in settings for word in (f"--{name}", getattr(args, name))]
    pretrain_args = parse_arguments(
        PretrainArguments,
        "",
        [*map(str, run_flags), "--output_dir", "unused", "--cache_dir", str(home / "bert-cache")],
    )
    accelerator = make_accelerator(pretrain_args, {})
    tokenizer = load_tokenizer(str(home / "tokenizer"))
    data = load_data(pretrain_args, open_corpus(pretrain_args), None, tokenizer, accelerator)
    assert isinstance(data, TokenisedData)
    _, validation_steps = make_steps(
        pretrain_args, data, tokenizer, BilmaConfig(vocab_size=len(tokenizer)), accelerator
    )
    torch.manual_seed(0)
    bert = Bert(str(home / "tokenizer"), accelerator.mixed_precision)
    target = train_bert(bert, data, validation_steps, args, pretrain_args.texts_per_step)
    say(f"BERT after {args.minutes:g} minutes and {target.step:,} steps: masked accuracy {target.masked_accuracy:.4f}")
    if args.bert_output_dir:
        for part in (bert.accelerator.unwrap_model(bert.model), tokenizer):
            part.save_pretrained(args.bert_output_dir)

    cache = ["--cache_dir", home / "cache"]
    vectors = run_script("train_word_vectors.py", *flags, *cache, "--output_dir", home / "vectors")
    run_flags += ["--word_vectors", home / "vectors", *cache, "--save_steps", 10**6, "--output_dir", home / "run"]
    curve = evaluations_until(script("pretrain.py", *run_flags), target.masked_accuracy, args.minutes * 60 - vectors)
    best = curve[-1] if curve and curve[-1].masked_accuracy >= target.masked_accuracy else None
    return write_result(
        Path(args.output),
        accelerator.device,
        settings={name: value for name, value in vars(args).items() if name not in PATHS},
        precision=accelerator.mixed_precision,
        corpus={"names": data.corpus.names(), "fingerprint": data.fingerprint},
        texts={"training": len(data.train_texts), "validation": len(data.validation_texts)},
        bert={"minutes": args.minutes, "steps": target.step, "masked_accuracy": target.masked_accuracy},
        bilma={
            "minutes": round((vectors + best.seconds) / 60, 2) if best else None,
            "minutes_of_vectors": round(vectors / 60, 2),
            "evaluations": [asdict(one) for one in curve],
        },
    )


def train_bert(
    bert: Bert, data: TokenisedData, validation_steps: Steps, args: TimeToQualityArguments, texts_per_step: int
) -> Evaluation:
    """Train for the minutes, and evaluate at their end."""
    rows, rng, seconds = TokenRows(data.train_tokens), np.random.default_rng(0), args.minutes * 60
    bert.model.train()
    order = np.empty(0, int)
    started, steps = time.monotonic(), 0
    with ProgressBar(desc="BERT", unit="step") as bar:
        while (elapsed := time.monotonic() - started) < seconds:
            if len(order) < texts_per_step:  # a new pass
                order = rng.permutation(data.train_texts)
            chosen, order = order[:texts_per_step], order[texts_per_step:]
            for group in bert.optimizer.param_groups:
                group["lr"] = args.bert_learning_rate * share_of_rate(elapsed / seconds)
            bert.step([ids.tolist() for ids in rows[chosen]])
            steps += 1
            bar.update()
    return Evaluation(seconds, steps, masked_accuracy(bert, validation_steps))


def share_of_rate(share: float) -> float:
    """Return the learning rate after a share of the run, as a share of its peak: a linear warm-up, then a cosine."""
    return share / WARMUP if share < WARMUP else (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP))) / 2


@torch.no_grad()
def masked_accuracy(bert: Bert, steps: Steps) -> float:
    """Return the share of masked tokens predicted right; the masks are those that pretrain.py evaluates on."""
    bert.model.eval()
    right = scored = 0
    for number in range(steps.steps_per_epoch):
        for rows in padded(steps[number]).micro_batches:
            labels = rows.pop("labels")
            inputs = {name: values.to(bert.accelerator.device) for name, values in rows.items()}
            guesses = bert.model(**inputs).logits.argmax(-1).cpu()
            right += int((guesses == labels)[labels != IGNORED].sum())
            scored += int((labels != IGNORED).sum())
    return right / scored


def script(name: str, *flags: object) -> list[str]:
    return [sys.executable, str(ROOT / "training" / name), *map(str, flags)]


def run_script(name: str, *flags: object) -> float:
    """Run a script of training/ to its end, and return its seconds.

    Raises:
        InputError: if it fails.
    """
    started = time.monotonic()
    if status := subprocess.run(script(name, *flags)).returncode:
        raise InputError(f"{name} ended with status {status}: its error is above")
    return time.monotonic() - started


def evaluations_until(command: Sequence[str], target: float, limit: float) -> list[Evaluation]:
    """Run pretrain.py, and stop it at the first evaluation that reaches the target, or that comes after the limit.

    Args:
        limit: in seconds.

    Raises:
        InputError: if it fails.
    """
    found: list[Evaluation] = []
    started, stopped = time.monotonic(), False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if stopped or not (scores := SCORES.search(line)):
                continue
            step, _, accuracy = scores.groups()
            found.append(Evaluation(round(time.monotonic() - started, 1), int(step.replace(",", "")), float(accuracy)))
            if stopped := found[-1].masked_accuracy >= target or found[-1].seconds >= limit:
                process.terminate()
    if process.returncode not in (0, STOPPED):
        raise InputError(f"pretrain.py ended with status {process.returncode}: its error is above")
    return found


def summary(found: dict[str, Any]) -> str:
    minutes, last = found["bilma"]["minutes"], found["bilma"]["evaluations"][-1]
    bert = f"BERT after {found['bert']['minutes']:g} minutes: {found['bert']['masked_accuracy']:.4f}"
    if minutes is None:
        return f"{bert}; ours has not reached it, with {last['masked_accuracy']:.4f} after {last['step']:,} steps"
    return f"{bert}; ours has {last['masked_accuracy']:.4f} after {minutes:g} minutes and {last['step']:,} steps"


if __name__ == "__main__":
    run(main)
