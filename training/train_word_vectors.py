"""Learn a vector for every token from texts, by word2vec, for a new model to start from.

    python training/train_word_vectors.py --train_file corpora --tokenizer tokenizer --output_dir vectors
    accelerate launch --quiet training/pretrain.py --word_vectors vectors --tokenizer tokenizer ...

Only training texts are read: give the flags of the split as `pretrain.py` gets them. The output folder gets
word_vectors.safetensors, (tokens, --size) float32, centred and each of length 1, and word_vectors.json, which says
what they were made from. The same seed gives the same vectors with one worker only.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import time
from pathlib import Path

from safetensors.numpy import save_file

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.arguments import parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_folder, write_json
from training.common.locks import only_run_in
from training.texts.corpus import open_corpus
from training.texts.token_cache import load_tokens
from training.texts.word_vectors import (
    FACTS_FILE,
    VECTORS_FILE,
    VECTORS_NAME,
    WordVectorArguments,
    check_arguments,
    learn,
    normalize_lengths,
    settings,
    token_counts,
    training_texts,
    vocabulary_fingerprint,
)


def main() -> None:
    args = parse_arguments(WordVectorArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir).resolve()
    with only_run_in(output_dir):
        check_output_dir(output_dir, args.overwrite)
        started = time.monotonic()
        corpus = open_corpus(args)
        with as_input_error(ValueError, OSError):
            tokenizer = load_tokenizer(args.tokenizer)
            tokens, report = load_tokens(corpus, tokenizer, args.max_length, args.cache_dir)
        texts, duplicates = training_texts(tokens, args)
        if not len(texts):
            raise InputError(f"{', '.join(corpus.names())}: none of the {report.texts} texts is for training")
        counts = token_counts(tokens, texts, tokenizer)
        vectors = normalize_lengths(learn(args, tokens, texts, counts), counts > 0, args.seed)
        facts = {
            "corpus": {"names": corpus.names(), "fingerprint": corpus.fingerprint},
            "vocabulary": vocabulary_fingerprint(tokenizer),
            "settings": settings(args),
            "texts": len(texts),
            "duplicates_left_out": duplicates,
            "tokens": int(counts.sum()),
            "tokens_that_never_occur": int((counts == 0).sum()),
            "seconds": round(time.monotonic() - started, 1),
        }
        with write_folder(output_dir) as folder:
            save_file({VECTORS_NAME: vectors}, folder / VECTORS_FILE)
            write_json(folder / FACTS_FILE, facts)
        print(
            f"{output_dir}: {len(vectors):,} vectors from {len(texts):,} texts and {facts['tokens']:,} tokens; left "
            f"out {duplicates:,} texts that are also among the held-out texts; {report.summary()}; "
            f"{facts['tokens_that_never_occur']:,} tokens never occur"
        )


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything but word vectors, and these too without --overwrite."""
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if others := inside - {VECTORS_FILE, FACTS_FILE}:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")
    if inside and not overwrite:
        raise InputError(f"{output_dir} already holds word vectors: give another --output_dir, or --overwrite")


if __name__ == "__main__":
    run(main)
