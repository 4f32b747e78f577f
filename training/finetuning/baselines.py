"""Simple methods that a model has to beat: the commonest label, TF-IDF, fastText, and a CRF for words."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from modeling_bilma.tokenization_bilma import normalize
from training.common.arguments import check_each, option
from training.common.errors import InputError, as_input_error
from training.common.progress import ProgressBar, say
from training.finetuning.folds import check_folds, check_part_files, check_seeds
from training.texts.corpus import open_corpus
from training.texts.labelled import LabelledSplits, label_ids
from training.texts.splits import is_test, split_hash
from training.texts.tagged import OUTSIDE, TOKEN_TASK, TaggedArguments, TaggedSplits

if TYPE_CHECKING:
    from sklearn.svm import LinearSVC

WORD = r"[a-z0-9]+|[^\sa-z0-9]"  # what a word is to a BILMA
METHODS = ("majority", "char_tfidf", "word_tfidf", "tfidf", "regional_tfidf", "pooled_tfidf", "fasttext")
SEEDED = ("fasttext",)  # the others give the same with every seed
TOKEN_METHODS = ("majority", "crf")  # of --task tokens
FEWEST_OF_REGION = 50  # training texts; fewer may share no n-gram
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
CHARACTERS = {"analyzer": "char_wb", "ngram_range": (2, 5)}
WORDS = {"token_pattern": WORD, "ngram_range": (1, 2)}
Features = dict[str, Any]  # of each part, a matrix with a row for each text
Predictions = dict[str, np.ndarray]  # of each part, the number of each text's predicted class
TaggedPredictions = dict[str, list[list[str]]]  # of each part, the predicted tags of each text


@dataclass(kw_only=True)
class BaselineArguments(TaggedArguments):
    """The flags of `training/baselines.py`."""

    output_dir: str = field(metadata={"help": "folder for a folder of each method"})
    overwrite: bool = option(False, "replace the baselines that the output folder holds")
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare labels weigh as much as common ones")
    embedding_file: list[str] = field(
        default_factory=list,
        metadata={"help": "more texts to learn the fastText vectors from, such as the corpus of a region"},
    )
    vector_size: int = option(100, "size of the fastText vectors")
    fasttext_epochs: int = option(10, "passes over the texts to learn the fastText vectors")
    seeds: list[int] = field(default_factory=lambda: [0], metadata={"help": "seeds of the fastText vectors"})
    folds: int = option(
        0,
        "also cross-validate with this many folds, each text in the test part once; for test parts of under 500 texts",
    )


class EmbeddingTexts:
    """The words of the training texts, and of further texts that are not kept for testing, anew for every pass."""

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
    """Check the values of flags, and that the libraries are installed.

    Raises:
        InputError: if one is out of range, contradicts another, or a library is missing.
    """
    needed = ("sklearn_crfsuite", "seqeval") if args.task == TOKEN_TASK else ("sklearn", "gensim")
    for package in needed:
        if not find_spec(package):
            raise InputError(f'{package} is not installed: pip install -e ".[baselines,tagging]"')
    check_each(args, "1 or more", "vector_size", "fasttext_epochs")
    check_seeds(args.seeds)
    check_folds(args.folds, args.task)
    check_part_files(args)


def check_embedding_files(args: BaselineArguments) -> None:
    """Read the further texts once, before any method is measured, and say how many there are and what is left out.

    Raises:
        InputError: as reading them does, and if there is none.
    """
    if not args.embedding_file:
        return
    corpus = open_corpus(args, args.embedding_file)
    count = sum(1 for _ in ProgressBar(corpus, "reading --embedding_file", unit=" texts", unit_scale=True))
    if not count:
        raise corpus.no_text_error()
    say(f"--embedding_file: {count:,} texts; {corpus.report.summary()}")


def methods_of_texts(
    args: BaselineArguments, own: LabelledSplits, pooled: LabelledSplits
) -> dict[str, Callable[[int], Predictions]]:
    """Return what predicts the classes of the texts of each part with a seed, by the name of the method.

    Args:
        own: the task, of one region or of all.
        pooled: the texts of all regions, whose training texts `pooled_tfidf` learns from.
    """
    labels = {name: label_ids(part, own.label_names, name) for name, part in own.parts().items()}
    texts = {name: [normalize(text) for text in part.texts] for name, part in own.parts().items()}
    known = [number for number, label in enumerate(pooled.train.labels) if label in own.label_names]
    all_texts = texts | {"train": [normalize(pooled.train.texts[number]) for number in known]}
    all_labels = labels | {"train": np.array([own.label_names.index(pooled.train.labels[number]) for number in known])}
    regions = {name: np.array([region or "" for region in part.regions]) for name, part in own.parts().items()}
    methods: dict[str, Callable[[int], Predictions]] = {
        "majority": lambda _: majority(labels),
        "char_tfidf": lambda _: linear(tfidf(texts, CHARACTERS), labels, args.class_weights),
        "word_tfidf": lambda _: linear(tfidf(texts, WORDS), labels, args.class_weights),
        "tfidf": lambda _: linear(tfidf(texts, CHARACTERS, WORDS), labels, args.class_weights),
        "regional_tfidf": lambda _: regional_tfidf(texts, labels, regions, args.class_weights),
        "pooled_tfidf": lambda _: linear(tfidf(all_texts, CHARACTERS, WORDS), all_labels, args.class_weights),
        "fasttext": lambda seed: linear(fasttext(args, texts, seed), labels, args.class_weights),
    }
    if len(set(regions["train"])) == 1:
        del methods["regional_tfidf"]  # the same as tfidf
    return methods


def methods_of_words(splits: TaggedSplits) -> dict[str, Callable[[int], TaggedPredictions]]:
    """Return what predicts the tags of the words of each part, by the name of the method; seeds change nothing."""
    return {
        "majority": lambda _: {
            name: [[OUTSIDE] * len(words) for words in part.words] for name, part in splits.parts().items()
        },
        "crf": lambda _: crf(splits),
    }


def majority(labels: Predictions) -> Predictions:
    """Predict the commonest label of the training texts, always."""
    commonest = np.bincount(labels["train"]).argmax()
    return {part: np.full_like(right, commonest) for part, right in labels.items()}


def linear(features: Features, labels: Predictions, class_weights: str) -> Predictions:
    """Train a linear support vector machine and predict."""
    machine = best_linear(features, labels, class_weights)
    return {part: machine.predict(matrix) for part, matrix in features.items()}


def best_linear(features: Features, labels: Predictions, class_weights: str) -> "LinearSVC":
    """Train linear support vector machines of several strengths; return the best one on the validation texts."""
    from sklearn.svm import LinearSVC

    weights = None if class_weights == "none" else class_weights
    machines = [
        LinearSVC(C=strength, class_weight=weights, random_state=0).fit(features["train"], labels["train"])
        for strength in STRENGTHS
    ]
    return max(machines, key=lambda machine: machine.score(features["validation"], labels["validation"]))


def regional_tfidf(
    texts: dict[str, list[str]], labels: Predictions, regions: dict[str, np.ndarray], class_weights: str
) -> Predictions:
    """Let a classifier of each region, trained on its own texts, predict its texts.

    A region with few training texts, one label in them, or no validation text gets the commonest label of all regions.
    """
    predicted = majority(labels)
    for region in np.unique(regions["train"]):
        places = {part: np.flatnonzero(of_part == region) for part, of_part in regions.items()}
        own_labels = {part: labels[part][numbers] for part, numbers in places.items()}
        few = len(own_labels["train"]) < FEWEST_OF_REGION or len(set(own_labels["train"])) < 2
        if few or not len(own_labels["validation"]):
            continue
        own = {part: [texts[part][number] for number in numbers] for part, numbers in places.items()}
        for part, guessed in linear(tfidf(own, CHARACTERS, WORDS), own_labels, class_weights).items():
            predicted[part][places[part]] = guessed
    return predicted


def tfidf(texts: dict[str, list[str]], *kinds: dict[str, Any]) -> Features:
    """Compute TF-IDF of n-grams that occur in two training texts or more, with logarithmic counts.

    Args:
        kinds: settings of each kind of n-gram, whose features stand side by side.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    vectorizer = make_union(*(TfidfVectorizer(lowercase=False, sublinear_tf=True, min_df=2, **kind) for kind in kinds))
    with as_input_error(ValueError):  # nothing occurs in two texts
        vectorizer.fit(texts["train"])
    return {part: vectorizer.transform(of_part) for part, of_part in texts.items() if of_part}


def fasttext(args: BaselineArguments, texts: dict[str, list[str]], seed: int) -> Features:
    """Average the fastText vectors of each text's words, scaled by the training texts: (texts, vector_size)."""
    from gensim.models import FastText
    from sklearn.preprocessing import StandardScaler

    vectors = FastText(
        sentences=EmbeddingTexts(args, texts["train"]),
        vector_size=args.vector_size,
        epochs=args.fasttext_epochs,
        min_count=2,
        sg=1,
        bucket=200_000,  # the default, ten times as many, takes a gigabyte
        seed=seed,
        workers=1,  # more are faster and give other vectors each time
    ).wv
    nothing = np.zeros((1, args.vector_size), dtype=np.float32)

    def means(of_part: list[str]) -> np.ndarray:
        return np.stack([np.mean([vectors[word] for word in words(text)] or nothing, axis=0) for text in of_part])

    features = {part: means(of_part) for part, of_part in texts.items()}
    scaler = StandardScaler().fit(features["train"])
    return {part: scaler.transform(matrix) for part, matrix in features.items()}


def words(text: str) -> list[str]:
    """Cut a normalised text into words."""
    return re.findall(WORD, text)


def crf(splits: TaggedSplits) -> TaggedPredictions:
    """Train a conditional random field on the form of each word and its neighbours, and predict tags."""
    from sklearn_crfsuite import CRF

    model = CRF(algorithm="lbfgs", c1=0.1, c2=0.1, max_iterations=100, all_possible_transitions=True)
    features = {name: [word_features(text) for text in part.words] for name, part in splits.parts().items()}
    model.fit(features["train"], splits.train.tags)
    return {name: [list(tags) for tags in model.predict(texts)] for name, texts in features.items()}


def word_features(text: Sequence[str]) -> list[dict[str, str | bool]]:
    """Describe each word of a text: its form, its ends, its letters, and its two neighbours on either side."""
    rows = []
    for place, word in enumerate(text):
        row: dict[str, str | bool] = {"title": word.istitle(), "upper": word.isupper(), "letters": word.isalpha()}
        row |= {f"first {size}": word[:size].lower() for size in (1, 2, 3)}
        row |= {f"last {size}": word[-size:].lower() for size in (2, 3, 4)}
        row["quoted"] = text[place - 1] in "\"'«“‘" if place else False
        for distance in range(-2, 3):
            inside = 0 <= place + distance < len(text)
            row[f"word {distance}"] = text[place + distance].lower() if inside else ""
        rows.append(row)
    return rows
