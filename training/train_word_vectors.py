"""Learn a vector of every token from texts, by word2vec, for a new model to begin with.

    python training/train_word_vectors.py --train_file corpora --tokenizer tokenizer --output_dir vectors
    accelerate launch --quiet training/pretrain.py --word_vectors vectors --tokenizer tokenizer ...

Texts for validation and testing teach nothing: give the flags of the split as `pretrain.py` gets them. The output
folder gets word_vectors.safetensors, (tokens, --size) float32, centred and each of length 1, and word_vectors.json,
which says what they were made from. The same seed gives the same vectors with one worker only.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from gensim.models import Word2Vec
from safetensors.numpy import save_file
from tqdm import tqdm
from transformers import TokenizersBackend

from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option, parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_json, written_whole
from training.pretraining.data import hashes_of, split_hashes_of
from training.pretraining.start import FACTS_FILE, VECTORS_FILE, VECTORS_NAME, vocabulary_fingerprint
from training.texts.corpus import CorpusArguments, open_corpus
from training.texts.splits import duplicates_of, is_training
from training.texts.token_cache import ROWS_AT_ONCE, TokenRows, count_tokens, load_tokens


@dataclass(kw_only=True)
class WordVectorArguments(CorpusArguments):
    output_dir: str = field(metadata={"help": "folder for the vectors"})
    tokenizer: str = field(metadata={"help": "tokenizer folder, Hub id or vocabulary file"})
    validation_fraction: float = option(0.05, "share of the texts held out for validation, as for pretrain.py")
    max_length: int = option(128, "texts are cut at this many tokens")
    cache_dir: str | None = option(None, "where tokenised corpora are kept (default: bilma/ in the Hugging Face home)")
    size: int = option(512, "numbers of a vector: hidden_size of the model")
    window: int = option(4, "tokens on each side that are a token's context")
    negative: int = option(5, "random tokens that each true one is told from")
    epochs: int = option(2, "passes over the texts")
    skip_gram: bool = option(False, "guess the context from the token, instead of the token from its context (CBOW)")
    seed: int = option(0, "of the vectors and the order of the texts")
    workers: int = option(2, "threads")
    overwrite: bool = option(False, "replace the vectors that the output folder holds")


def main() -> None:
    args = parse_arguments(WordVectorArguments, __doc__.splitlines()[0])
    check_arguments(args)
    output_dir = Path(args.output_dir).resolve()
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
    vectors = normalized(learn(args, tokens, texts, counts), counts > 0, args.seed)
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
    with as_input_error(OSError), written_whole(output_dir) as folder:
        save_file({VECTORS_NAME: vectors}, folder / VECTORS_FILE)
        write_json(folder / FACTS_FILE, facts)
    print(
        f"{output_dir}: {len(vectors):,} vectors from {len(texts):,} texts and {facts['tokens']:,} tokens; left out "
        f"{duplicates:,} texts that others wrote too and that are held out; {report.summary()}; "
        f"{facts['tokens_that_never_occur']:,} tokens never occur"
    )


def check_arguments(args: WordVectorArguments) -> None:
    """Raise `InputError` for values that cannot be."""
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the texts to learn from")
    check_each(args, "from 0 to below 1", "validation_fraction", "test_fraction")
    if args.validation_fraction + args.test_fraction >= 1:
        raise InputError("--validation_fraction and --test_fraction leave nothing to learn from")
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    check_each(args, "1 or more", "size", "window", "negative", "epochs", "workers")
    check_each(args, "from 0 to below 2^32", "seed")


def check_output_dir(output_dir: Path, overwrite: bool) -> None:
    """Nothing but word vectors is ever replaced, and that only with --overwrite."""
    with as_input_error(OSError):
        inside = {path.name for path in output_dir.iterdir()} if output_dir.exists() else set()
    if others := inside - {VECTORS_FILE, FACTS_FILE}:
        raise InputError(f"{output_dir} holds other files ({min(others)}): give a new or empty folder as --output_dir")
    if inside and not overwrite:
        raise InputError(f"{output_dir} already holds word vectors: give another --output_dir, or --overwrite")


def training_texts(tokens: Dataset, args: WordVectorArguments) -> tuple[np.ndarray, int]:
    """The numbers of the texts that `pretrain.py` trains on, and how many are left out because they are held out in
    another group."""
    for_training = is_training(split_hashes_of(tokens), args.validation_fraction, args.test_fraction)
    hashes = hashes_of(tokens)
    duplicates = duplicates_of(hashes[~for_training], for_training, hashes)
    return np.flatnonzero(for_training & ~duplicates), int(duplicates.sum())


def token_counts(tokens: Dataset, texts: np.ndarray, tokenizer: TokenizersBackend) -> np.ndarray:
    """How often each token occurs, (vocabulary,) int64; [START] and [END], which frame every text, count as none."""
    counts = count_tokens(tokens, texts, len(tokenizer))
    counts[[tokenizer.cls_token_id, tokenizer.sep_token_id]] = 0
    return counts


class Sentences:
    """The tokens of texts, each named by its id, in the same seeded order at every pass."""

    def __init__(self, tokens: Dataset, texts: np.ndarray, vocab_size: int, seed: int):
        self.rows = TokenRows(tokens)
        self.texts = np.random.default_rng(seed).permutation(texts)
        self.names = list(map(str, range(vocab_size)))

    def __iter__(self) -> Iterator[list[str]]:
        with tqdm(total=len(self.texts), desc="learning", unit=" texts", unit_scale=True, leave=False) as bar:
            for first in range(0, len(self.texts), ROWS_AT_ONCE):
                for ids in self.rows[self.texts[first : first + ROWS_AT_ONCE]]:
                    yield [self.names[number] for number in ids[1:-1].tolist()]
                    bar.update()


def learn(args: WordVectorArguments, tokens: Dataset, texts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Vectors by gensim, (vocabulary, size) float32; zeros for tokens that never occur."""
    model = Word2Vec(
        vector_size=args.size,
        window=args.window,
        negative=args.negative,
        sg=int(args.skip_gram),
        min_count=1,
        seed=args.seed,
        workers=args.workers,
    )
    occurring = np.flatnonzero(counts).tolist()
    model.build_vocab_from_freq({str(number): int(counts[number]) for number in occurring}, corpus_count=len(texts))
    sentences = Sentences(tokens, texts, len(counts), args.seed)
    model.train(sentences, total_examples=len(texts), epochs=args.epochs)
    vectors = np.zeros((len(counts), args.size), np.float32)
    vectors[list(map(int, model.wv.index_to_key))] = model.wv.vectors
    return vectors


def normalized(vectors: np.ndarray, occurs: np.ndarray, seed: int) -> np.ndarray:
    """Centre the learnt vectors and give each the length 1; tokens that never occur get random vectors.

    word2vec's lengths follow the frequency of a token. Kept, they make a tied output layer start with logits of a
    standard deviation of 8 instead of 1, from which a model needs twice the steps to recover.

    Args:
        vectors: (vocabulary, size).
        occurs: (vocabulary,) bool: which of them were learnt.

    Returns:
        (vocabulary, size) float32.
    """
    size = vectors.shape[1]
    result = np.random.default_rng(seed).normal(0, size**-0.5, vectors.shape).astype(np.float32)
    learnt = vectors[occurs] - vectors[occurs].mean(axis=0)
    result[occurs] = learnt / np.linalg.norm(learnt, axis=1, keepdims=True)
    return result


def settings(args: WordVectorArguments) -> dict[str, Any]:
    """The flags that decide the vectors."""
    names = "size window negative epochs skip_gram seed workers max_length validation_fraction test_fraction"
    return {name: getattr(args, name) for name in (*names.split(), "group_column")}


if __name__ == "__main__":
    run(main)
