"""A contender of `benchmarks/pretraining.py` in a separate process, which measures what requests on stdin name.

    python -m benchmarks.contenders bilma TOKENIZER CORPUS...   # the training step and data pipeline of this project
    python -m benchmarks.contenders bert-bf16 TOKENIZER         # BERT of transformers in the usual MLM loop
    python -m benchmarks.contenders products                    # matrix products: the peak of the machine

`benchmarks/turns.py` describes requests. The authors' code is run by `tests/parity/authors.py`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling

from benchmarks.turns import serve
from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, train_vocabulary
from training.engine.accelerator import choose_attention, make_accelerator, make_optimizer
from training.pretraining.arguments import PretrainArguments
from training.pretraining.flops import training_flops
from training.pretraining.loop import forward_backward
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.encoding import encode
from training.texts.files import find_files
from training.texts.token_cache import load_tokens

MAX_LENGTH = 128


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def clipped_update(accelerator: Accelerator, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


class Bilma:
    """The training step of `training/pretrain.py`, with tokenising before it."""

    def __init__(self, tokenizer: str, corpus: list[str]):
        self.args = PretrainArguments(region="mx", output_dir="unused", num_threads=torch.get_num_threads())
        self.accelerator = make_accelerator(self.args, {})
        self.tokenizer = load_tokenizer(tokenizer)
        config = BilmaConfig(vocab_size=len(self.tokenizer), tie_word_embeddings=True, sparse_prediction=True)
        model = BilmaForMaskedLM(config).train()
        choose_attention(model, self.accelerator)
        self.model, self.optimizer = self.accelerator.prepare(model, make_optimizer(self.args, model))
        self.corpus, self.next_step = corpus, 0

    def train(self, texts: list[str], texts_per_step: int) -> dict[str, Any]:
        """Train on texts that are tokenised beforehand; `flops` counts the operations that the loss needs."""
        ids = encode(texts, self.tokenizer, MAX_LENGTH)
        steps = self.make_steps(Dataset.from_dict({"input_ids": ids}), texts_per_step)
        seconds = timed(lambda: [self.take_step(steps, number) for number in range(steps.steps_per_epoch)])
        share = sum(steps[number].scored_tokens for number in range(steps.steps_per_epoch)) / sum(map(len, ids))
        flops = training_flops(self.model.config, map(len, ids), [share * len(text) for text in ids])
        return {"seconds": seconds, "tokens": sum(map(len, ids)), "flops": flops}

    def load(self) -> dict[str, Any]:
        """Tokenise the corpus given on the command line into a new cache."""
        corpus = Corpus(find_files(self.corpus))
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            tokens, report = load_tokens(corpus, self.tokenizer, MAX_LENGTH, cache)
            seconds = time.perf_counter() - start
            # The file stays open, and so readable, after it is removed.
            self.steps = self.make_steps(tokens, self.args.texts_per_step)
        return {"seconds": seconds, "texts": report.texts, "tokens": report.tokens}

    def train_next(self) -> dict[str, Any]:
        """Take the next step over the whole corpus, data pipeline included."""
        tokens = 0

        def work():
            nonlocal tokens
            tokens = self.take_step(self.steps, self.next_step)

        seconds = timed(work)
        self.next_step += 1
        return {"seconds": seconds, "tokens": tokens}

    def tokenize(self, texts: list[str]) -> dict[str, Any]:
        return {"seconds": timed(lambda: encode(texts, self.tokenizer, MAX_LENGTH))}

    def make_steps(self, tokens: Dataset, texts_per_step: int) -> MaskedSteps:
        return MaskedSteps(
            tokens,
            np.arange(len(tokens)),
            self.tokenizer,
            texts_per_step=texts_per_step,
            tokens_per_micro_batch=self.args.tokens_per_micro_batch,
        )

    def take_step(self, steps: MaskedSteps, number: int) -> int:
        batch = steps[number]
        forward_backward(self.accelerator, self.model, batch)
        clipped_update(self.accelerator, self.model, self.optimizer)
        return batch.tokens


def with_learnt_vocabulary(texts: list[str]) -> Bilma:
    """Make the contender with a vocabulary learnt from the texts."""
    with tempfile.TemporaryDirectory() as folder:
        build_tokenizer(train_vocabulary(texts)).save_pretrained(folder)
        return Bilma(folder, [])


class Bert:
    """BERT of transformers with as many parameters, in the usual loop: padded rows and logits at every position."""

    def __init__(self, tokenizer: str, precision: str):
        self.tokenizer = load_tokenizer(tokenizer)
        self.accelerator = Accelerator(mixed_precision=precision)
        config = BertConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=3584,  # gives a layer as many parameters as one of BILMA
            max_position_embeddings=280,
        )
        model = BertForMaskedLM(config).train()
        self.model, self.optimizer = self.accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=5e-5))
        self.collator = DataCollatorForLanguageModeling(self.tokenizer, mlm_probability=0.15)

    def train(self, texts: list[str], texts_per_step: int) -> dict[str, Any]:
        ids = encode(texts, self.tokenizer, MAX_LENGTH)
        steps = [ids[first : first + texts_per_step] for first in range(0, len(ids), texts_per_step)]
        return {"seconds": timed(lambda: [self.step(step) for step in steps]), "tokens": sum(map(len, ids))}

    def step(self, ids: list[list[int]]) -> None:
        batch = self.collator([{"input_ids": text} for text in ids])
        loss = self.model(**{name: values.to(self.accelerator.device) for name, values in batch.items()}).loss
        self.accelerator.backward(loss)
        clipped_update(self.accelerator, self.model, self.optimizer)


class Products:
    """Square matrix products, in a size that reaches the peak of the machine."""

    def __init__(self):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.size = 8192 if device == "cuda" else 2048
        self.matrices = {
            dtype: [torch.randn(self.size, self.size, device=device, dtype=getattr(torch, dtype)) for _ in range(2)]
            for dtype in ("float32", "bfloat16")
        }

    def multiply(self, dtype: str) -> dict[str, Any]:
        a, b = self.matrices[dtype]
        seconds = timed(lambda: a @ b)
        return {"seconds": seconds, "flops_per_second": 2 * self.size**3 / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=("bilma", "bert-fp32", "bert-bf16", "products"))
    parser.add_argument("tokenizer", nargs="?")
    parser.add_argument("corpus", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    if args.name == "bilma":
        serve(Bilma(args.tokenizer, args.corpus))
    elif args.name == "products":
        serve(Products())
    else:
        serve(Bert(args.tokenizer, precision=args.name.removeprefix("bert-").replace("fp32", "no")))


if __name__ == "__main__":
    main()
