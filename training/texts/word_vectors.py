"""Learn word vectors by word2vec over token ids, for a new model to start from."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from gensim.models import Word2Vec
from transformers import TokenizersBackend

from training.common.arguments import ROOM_FOR_A_TOKEN, check_each, option
from training.common.errors import InputError
from training.common.progress import ProgressBar
from training.texts.corpus import CorpusArguments
from training.texts.splits import duplicates_of, is_training
from training.texts.token_cache import ROWS_AT_ONCE, TokenRows, count_tokens, hashes_of, split_hashes_of

VECTORS_FILE = "word_vectors.safetensors"
VECTORS_NAME = "word_vectors"  # of the tensor in that file
FACTS_FILE = "word_vectors.json"


@dataclass(kw_only=True)
class WordVectorArguments(CorpusArguments):
    output_dir: str = field(metadata={"help": "folder for the vectors"})
    tokenizer: str = field(metadata={"help": "tokenizer folder, Hub id or vocabulary file"})
    validation_fraction: float = option(0.05, "share of the texts held out for validation, as for pretrain.py")
    max_length: int = option(128, "texts are cut at this many tokens")
    cache_dir: str | None = option(None, "where tokenised corpora are kept (default: bilma/ in the Hugging Face home)")
    size: int = option(512, "numbers of a vector: hidden_size of the model")
    window: int = option(4, "tokens on each side that are a token's context")
    negative: int = option(5, "random tokens drawn for each true one")
    epochs: int = option(2, "passes over the texts")
    skip_gram: bool = option(False, "guess the context from the token, instead of the token from its context (CBOW)")
    seed: int = option(0, "of the vectors and the order of the texts")
    workers: int = option(2, "threads")
    overwrite: bool = option(False, "replace the vectors that the output folder holds")


class Sentences:
    """The tokens of texts, each named by its id, in the same seeded order at every pass."""

    def __init__(self, tokens: Dataset, texts: np.ndarray, vocab_size: int, seed: int):
        self.rows = TokenRows(tokens)
        self.texts = np.random.default_rng(seed).permutation(texts)
        self.names = list(map(str, range(vocab_size)))

    def __iter__(self) -> Iterator[list[str]]:
        with ProgressBar(total=len(self.texts), desc="learning", unit=" texts", unit_scale=True) as bar:
            for first in range(0, len(self.texts), ROWS_AT_ONCE):
                for ids in self.rows[self.texts[first : first + ROWS_AT_ONCE]]:
                    yield [self.names[number] for number in ids[1:-1].tolist()]
                    bar.update()


def check_arguments(args: WordVectorArguments) -> None:
    """Raise `InputError` for values out of range."""
    if bool(args.train_file) == bool(args.dataset_name):
        raise InputError("give either --train_file or --dataset_name: the texts to learn from")
    check_each(args, "from 0 to below 1", "validation_fraction", "test_fraction")
    if args.validation_fraction + args.test_fraction >= 1:
        raise InputError("--validation_fraction and --test_fraction leave nothing to learn from")
    check_each(args, ROOM_FOR_A_TOKEN, "max_length")
    check_each(args, "1 or more", "size", "window", "negative", "epochs", "workers")
    check_each(args, "from 0 to below 2^32", "seed")


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


def normalize_lengths(vectors: np.ndarray, occurs: np.ndarray, seed: int) -> np.ndarray:
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


def vocabulary_fingerprint(tokenizer: TokenizersBackend) -> str:
    """Return the SHA-256 of everything that decides which ids a text gets."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
