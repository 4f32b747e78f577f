"""Learn the family's vocabulary from one or many corpora, and save it as a tokenizer that needs no remote code.

    python training/train_tokenizer.py --train_file tweets-mx.jsonl.gz tweets-ar.csv --output_dir tokenizer

`training/pretrain.py --tokenizer tokenizer` trains with it: with one vocabulary for all regions, masked accuracies can
be compared. A vocabulary file as the authors publish it becomes a tokenizer with `--vocab_file`.
"""

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
from training.arguments import CorpusArguments, check_each, option, parse_arguments
from training.corpus import open_corpus, text_hash
from training.errors import InputError, as_input_error, run
from training.folders import written_whole
from training.splits import is_test

TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json"}


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
    check_each(args, "1 or more", "vocab_size", "min_frequency")
    check_each(args, "from 0 to below 1", "test_fraction")
    output_dir = Path(args.output_dir).resolve()
    check_output_dir(output_dir, args.overwrite)
    if args.vocab_file:
        with as_input_error(OSError, ValueError):
            tokenizer = build_tokenizer(read_vocabulary(args.vocab_file))
    else:
        tokenizer = learn(args)
    with as_input_error(OSError), written_whole(output_dir) as folder:
        tokenizer.save_pretrained(folder)
    print(f"{output_dir}: {len(tokenizer):,} tokens")


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Nothing but a tokenizer is ever replaced, and that only when told to."""
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if others := inside - TOKENIZER_FILES:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")
    if inside and not overwrite:
        raise InputError(f"{output_dir} already holds a tokenizer: give another --output_dir, or --overwrite")


def learn(args: TokenizerArguments) -> TokenizersBackend:
    corpus = open_corpus(args)
    training_side = (text for text in corpus if not is_test(text_hash(text), args.test_fraction))
    bar = tqdm(training_side, desc="reading", unit=" texts", unit_scale=True)
    with as_input_error(ValueError):
        vocabulary = train_vocabulary(
            bar,
            args.vocab_size,
            args.min_frequency,
            show_progress=True,
        )
    if not bar.n:
        raise InputError(f"{', '.join(corpus.names())}: no usable text to learn a vocabulary from")
    report = corpus.report
    print(f"{bar.n:,} texts read; skipped {report.empty} empty and {report.invalid} not UTF-8")
    return build_tokenizer(vocabulary)


if __name__ == "__main__":
    run(main)
