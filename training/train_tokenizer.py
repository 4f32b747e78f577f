"""Learn the family's vocabulary from one or many corpora, and save it as a tokenizer that needs no remote code.

    python training/train_tokenizer.py --train_file tweets-mx.jsonl.gz tweets-ar.csv --output_dir tokenizer

`training/pretrain.py --tokenizer tokenizer` trains with it: with one vocabulary for all regions, masked accuracies can
be compared. A vocabulary file as the authors publish it becomes a tokenizer with `--vocab_file`.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

from pathlib import Path

from modeling_bilma.tokenization_bilma import (
    build_tokenizer,
    read_vocabulary,
)
from training.common.arguments import check_each, parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_folder
from training.common.locks import only_run_in
from training.texts.vocabulary import TokenizerArguments, learn

TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json"}


def main() -> None:
    args = parse_arguments(TokenizerArguments, __doc__.splitlines()[0])
    if sum(map(bool, (args.train_file, args.dataset_name, args.vocab_file))) != 1:
        raise InputError("give one of --train_file, --dataset_name and --vocab_file")
    check_each(args, "1 or more", "vocab_size", "min_frequency")
    check_each(args, "from 0 to below 1", "test_fraction")
    output_dir = Path(args.output_dir).resolve()
    with only_run_in(output_dir):
        check_output_dir(output_dir, args.overwrite)
        if args.vocab_file:
            with as_input_error(OSError, ValueError):
                tokenizer = build_tokenizer(read_vocabulary(args.vocab_file))
        else:
            tokenizer = learn(args)
        with write_folder(output_dir) as folder:
            tokenizer.save_pretrained(folder)
        print(f"{output_dir}: {len(tokenizer):,} tokens")


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything but a tokenizer, and a tokenizer too without --overwrite."""
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if others := inside - TOKENIZER_FILES:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")
    if inside and not overwrite:
        raise InputError(f"{output_dir} already holds a tokenizer: give another --output_dir, or --overwrite")


if __name__ == "__main__":
    run(main)
