"""Simple classifiers to compare with: majority, TF-IDF and fastText."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from modeling_bilma.tokenization_bilma import normalize
from training.common.arguments import check_each, option
from training.common.errors import InputError, as_input_error
from training.texts.corpus import open_corpus
from training.texts.labelled import LabelledArguments
from training.texts.splits import is_test, split_hash

WORD = r"[a-z0-9]+|[^\sa-z0-9]"  # what a word is to a BILMA
METHODS = ("majority", "char_tfidf", "word_tfidf", "fasttext")
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
Features = dict[str, Any]  # of each part, a matrix with a row for each text


@dataclass(kw_only=True)
class BaselineArguments(LabelledArguments):
    output_dir: str = field(metadata={"help": "folder for a folder of each method"})
    overwrite: bool = option(False, "replace the baselines that the output folder holds")
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare labels weigh as much as common ones")
    embedding_file: list[str] = field(
        default_factory=list,
        metadata={"help": "more texts to learn the fastText vectors from, such as the corpus of a region"},
    )
    vector_size: int = option(100, "size of the fastText vectors")
    fasttext_epochs: int = option(10, "passes over the texts to learn them")
    seed: int = option(0, "of the fastText vectors")


class EmbeddingTexts:
    """The words of the training texts, and of further texts that are not kept for testing, for every pass anew."""

    def __init__(self, args: BaselineArguments, training_texts: list[str]):
        self.training_texts = training_texts
        self.corpus = open_corpus(args, args.embedding_file)
        self.test_fraction = args.test_fraction

    def __iter__(self) -> Iterator[list[str]]:
        yield from map(words, self.training_texts)
        for text, group in self.corpus.grouped():
            if not is_test(split_hash(text, group), self.test_fraction):
                yield words(normalize(text))


def check_arguments(args: BaselineArguments) -> None:
    for package in ("sklearn", "gensim"):
        if not find_spec(package):
            raise InputError(f'{package} is not installed: pip install "modeling-bilma[baselines]"')
    check_each(args, "1 or more", "vector_size", "fasttext_epochs")


def majority(labels: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The commonest label of the training texts, always."""
    commonest = np.bincount(labels["train"]).argmax()
    return {part: np.full_like(right, commonest) for part, right in labels.items()}


def linear(features: Features, labels: dict[str, np.ndarray], class_weights: str) -> dict[str, np.ndarray]:
    """The guesses of a linear support vector machine, of the strength that is best on the validation texts."""
    from sklearn.svm import LinearSVC

    weights = None if class_weights == "none" else class_weights
    machines = [
        LinearSVC(C=strength, class_weight=weights, random_state=0).fit(features["train"], labels["train"])
        for strength in STRENGTHS
    ]
    best = max(machines, key=lambda machine: machine.score(features["validation"], labels["validation"]))
    return {part: best.predict(matrix) for part, matrix in features.items()}


def tfidf(texts: dict[str, list[str]], **settings: Any) -> Features:
    """TF-IDF of n-grams that occur in two training texts or more, with logarithmic counts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(lowercase=False, sublinear_tf=True, min_df=2, **settings)
    with as_input_error(ValueError):  # nothing occurs in two texts
        vectorizer.fit(texts["train"])
    return {part: vectorizer.transform(of_part) for part, of_part in texts.items()}


def fasttext(args: BaselineArguments, texts: dict[str, list[str]]) -> Features:
    """The mean fastText vector of a text's words, scaled by the training texts: (texts, vector_size)."""
    from gensim.models import FastText
    from sklearn.preprocessing import StandardScaler

    vectors = FastText(
        sentences=EmbeddingTexts(args, texts["train"]),
        vector_size=args.vector_size,
        epochs=args.fasttext_epochs,
        min_count=2,
        sg=1,
        bucket=200_000,  # the default, ten times as many, takes a gigabyte
        seed=args.seed,
        workers=1,  # more are faster and give other vectors each time
    ).wv
    nothing = np.zeros((1, args.vector_size), dtype=np.float32)

    def means(of_part: list[str]) -> np.ndarray:
        return np.stack([np.mean([vectors[word] for word in words(text)] or nothing, axis=0) for text in of_part])

    features = {part: means(of_part) for part, of_part in texts.items()}
    scaler = StandardScaler().fit(features["train"])
    return {part: scaler.transform(matrix) for part, matrix in features.items()}


def words(text: str) -> list[str]:
    return re.findall(WORD, text)
