"""Learn the family's vocabulary from one or many corpora, and save it as a tokenizer that needs no remote code.

    python training/train_tokenizer.py --train_file tweets-mx.jsonl.gz tweets-ar.csv --output_dir tokenizer

`training/pretrain.py --tokenizer tokenizer` trains with it: with one vocabulary for all regions, masked accuracies can
be compared. A vocabulary file as the authors publish it becomes a tokenizer with `--vocab_file`.
"""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import (
    PUBLISHED_VOCAB_SIZE,
    build_tokenizer,
    read_vocabulary,
    train_vocabulary,
)
from training.arguments import CorpusArguments, option, parse_arguments
from training.corpus import open_corpus
from training.errors import InputError, as_input_error, run


@dataclass(kw_only=True)
class TokenizerArguments(CorpusArguments):
    output_dir: str = field(metadata={"help": "folder for the tokenizer"})
    vocab_file: str | None = option(None, "use this vocabulary, one token a line, instead of learning one")
    vocab_size: int = option(PUBLISHED_VOCAB_SIZE, "most tokens of the vocabulary; a small corpus yields fewer")
    min_frequency: int = option(2, "two pieces must meet this often to become a token")
    overwrite: bool = option(False, "replace the tokenizer that the output folder holds")


def main() -> None:
    args = parse_arguments(TokenizerArguments, __doc__.splitlines()[0])
    if sum(map(bool, (args.train_file, args.dataset_name, args.vocab_file))) != 1:
        raise InputError("give one of --train_file, --dataset_name and --vocab_file")
    for name in ("vocab_size", "min_frequency"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)} is less than 1")
    output_dir = Path(args.output_dir).resolve()
    if output_dir.exists() and not args.overwrite and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise InputError(f"{output_dir} already exists: give another --output_dir, or --overwrite")
    if args.vocab_file:
        with as_input_error(OSError, ValueError):
            tokenizer = build_tokenizer(read_vocabulary(args.vocab_file))
    else:
        tokenizer = learn(args)
    with as_input_error(OSError):
        save(tokenizer, output_dir)
    print(f"{output_dir}: {len(tokenizer):,} tokens")


def learn(args: TokenizerArguments) -> TokenizersBackend:
    corpus = open_corpus(args)
    bar = tqdm(corpus, desc="reading", unit=" texts", unit_scale=True)
    with as_input_error(ValueError):
        vocabulary = train_vocabulary(bar, args.vocab_size, args.min_frequency, show_progress=True)
    if not bar.n:
        raise InputError(f"{', '.join(corpus.names())}: no usable text to learn a vocabulary from")
    report = corpus.report
    print(f"{bar.n:,} texts read; skipped {report.empty} empty and {report.invalid} not UTF-8")
    return build_tokenizer(vocabulary)


def save(tokenizer: TokenizersBackend, output_dir: Path) -> None:
    """Beside first, so that an interrupted run leaves no half of a tokenizer."""
    beside = output_dir.with_name(f".{output_dir.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    tokenizer.save_pretrained(beside)
    output_dir.mkdir(parents=True, exist_ok=True)
    for file in beside.iterdir():
        os.replace(file, output_dir / file.name)
    beside.rmdir()


if __name__ == "__main__":
    run(main)
