"""Hostile texts, and their way from a file to the gradient, which must survive them."""

import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from modeling_bilma import BilmaConfig, BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.decoding import unicode_error
from training.texts.synthetic import generate_texts
from training.texts.token_cache import load_tokens

MEGABYTE = 2**20
NOT_UNICODE = 51  # one in so many texts may hold half a surrogate pair; a file with more than 2 % of such is refused
MAX_LENGTH = 48
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x00AD, *range(0x200B, 0x2010), 0x2028, 0x2029, *range(0xFFF9, 0xFFFF)]
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
RIGHT_TO_LEFT = "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u202e\u202b\u2067\u200f\u061c abc 123"
EMOJI = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "🇲🇽", "👍🏽", "1️⃣", "❤️", "\u200d", "\ufe0f", "🏽", "🇦", "🏴\U000e0067\U000e0062\U000e007f"]
SPECIAL = ["[MASK]", "[PAD]", "[UNK]", "[START]", "[END]", "##", "[mask]"]
WORDS = generate_texts("mx", 200)


def _joined(pieces: list[str], separator: str = "") -> Callable[[random.Random], str]:
    return lambda draw: separator.join(draw.choices(pieces, k=draw.randint(1, 60)))


def _amid_words(pieces: list[str]) -> Callable[[random.Random], str]:
    def text(draw: random.Random) -> str:
        letters = list(draw.choice(WORDS))
        for piece in draw.choices(pieces, k=draw.randint(1, 9)):
            letters.insert(draw.randint(0, len(letters)), piece)
        return "".join(letters)

    return text


KINDS: dict[str, Callable[[random.Random], str]] = {
    "control characters": _amid_words([chr(code) for code in CONTROLS]),
    "nothing but control characters": _joined([chr(code) for code in CONTROLS]),
    "lone surrogates": _amid_words([chr(code) for code in range(0xD800, 0xE000, 97)]),
    "NULs": _joined(["\0", "a", " "]),
    "right to left": _joined(list(RIGHT_TO_LEFT)),
    "emoji sequences": _joined(EMOJI),
    "nothing but spaces": _joined(list(SPACES)),
    "nothing but [MASK]": _joined(["[MASK]"], " "),
    "special tokens": _amid_words(SPECIAL),
    "combining marks": _joined([chr(code) for code in range(0x300, 0x370)] + list("aeñ")),
    "any code point": lambda draw: "".join(chr(draw.randrange(0x110000)) for _ in range(draw.randint(1, 60))),
    "one long word": lambda draw: draw.choice("ajh0ñ😍") * draw.randint(1, 2000),
    "nothing at all": lambda draw: "",
}
LINES_OF_A_MEGABYTE: dict[str, Callable[[random.Random], str]] = {
    "of words": lambda draw: draw.choice(WORDS) * (MEGABYTE // 40),
    "of one letter": lambda draw: draw.choice("ajh0ñ") * MEGABYTE,
    "of emoji": lambda draw: draw.choice(EMOJI) * (MEGABYTE // 8),
    "of NULs": lambda draw: "\0" * MEGABYTE,
}


def hostile_texts(number: int, long_lines: int, seed: int = 0) -> Iterator[str]:
    """Yield texts of all kinds in turn, after some lines of a megabyte."""
    draw = random.Random(seed)
    for kinds, count in ((LINES_OF_A_MEGABYTE, long_lines), (KINDS, number - long_lines)):
        every = list(kinds.values())
        for i in range(count):
            yield every[i % len(every)](draw)


def feed_hostile_texts(folder: Path, number: int, long_lines: int) -> dict[str, int]:
    """Take hostile texts through reading, tokenizer, collator, model and gradient; return what happened to them.

    Raises:
        ArithmeticError: if a text is not counted, or a loss or gradient is not finite.
    """
    path = folder / "hostile.jsonl"
    not_unicode = 0
    with path.open("w") as file:
        for written, text in enumerate(hostile_texts(number, long_lines), 1):
            if unicode_error(text):
                if not_unicode < written // NOT_UNICODE:
                    not_unicode += 1
                else:
                    text = text.encode(errors="ignore").decode()
            file.write(json.dumps({"text": text}) + "\n")
    tokenizer = build_tokenizer(train_vocabulary(WORDS, 400))
    tokens, report = load_tokens(Corpus((path,)), tokenizer, MAX_LENGTH, folder / "cache")
    if report.texts + sum(report.left_out.values()) != number:
        raise ArithmeticError(f"{number} texts were written, but the reading report counts {report}")
    steps = MaskedSteps(tokens, np.arange(len(tokens)), tokenizer, texts_per_step=256, tokens_per_micro_batch=16384)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "head_dim": 16, "num_attention_heads": 2, "intermediate_size": 24}
    model = BilmaForMaskedLM(BilmaConfig(vocab_size=len(tokenizer), sparse_prediction=True, **sizes)).train()
    for step in range(steps.steps_per_epoch):
        batch = steps[step]
        for micro_batch in batch.micro_batches:
            loss = model(**micro_batch, num_items_in_batch=max(batch.scored_tokens, 1)).loss
            loss.backward()
            norm = clip_grad_norm_(model.parameters(), 1.0)
            numbers = loss.item(), norm.item()
            if not all(map(math.isfinite, numbers)):
                raise ArithmeticError(f"step {step}: the loss and the norm of its gradient are {numbers}")
            model.zero_grad()
    return {
        "texts": number,
        "trained_on": report.texts,
        "empty": report.empty,
        "not_unicode": report.invalid,
        "too_long": report.too_long,
    }
