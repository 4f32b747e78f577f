"""Tasks as the loop trains them, classes of texts or tags of words: token ids, labels as numbers, and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers import TokenizersBackend

from modeling_bilma import BilmaForSequenceClassification, BilmaForTokenClassification
from modeling_bilma.tokenization_bilma import region_token
from training.finetuning.arguments import FinetuneArguments
from training.finetuning.scores import Scores, classification_scores, entity_scores, scores_by_entity
from training.texts.batches import IGNORED
from training.texts.encoding import encode
from training.texts.labelled import LabelledSplits, LabelledTexts, label_ids, open_labelled
from training.texts.regions import region_token_id
from training.texts.tagged import OUTSIDE, TOKEN_TASK, TaggedSplits, TaggedTexts, open_tagged


@dataclass
class TextTask:
    """Classes of whole texts.

    Args:
        ids: token ids of the texts of each part.
        labels: the number of each text's class, (texts,), of each part.
        regions: the region of each test text; None where it is unknown.
    """

    metric: ClassVar[str] = "accuracy"  # that chooses the best epoch and seed
    model_class: ClassVar[type] = BilmaForSequenceClassification

    label_names: list[str]
    ids: dict[str, list[list[int]]]
    labels: dict[str, np.ndarray]
    regions: list[str | None]

    def training_labels(self) -> np.ndarray:
        """Return the labels of the training texts, (texts,)."""
        return self.labels["train"]

    def scores(self, part: str, predicted: np.ndarray) -> Scores:
        """Score the predicted classes of a part's texts, (texts,)."""
        return classification_scores(self.labels[part], predicted, len(self.label_names))

    def details(self, predicted: np.ndarray) -> dict[str, Any]:
        """Score the predicted classes of the test texts region by region, if they are of several."""
        by_region = {}
        for region in sorted(set(filter(None, self.regions))):
            own = np.array([other == region for other in self.regions])
            scores = classification_scores(self.labels["test"][own], predicted[own], len(self.label_names))
            by_region[region] = {"texts": int(own.sum()), **scores}
        return {"test_by_region": by_region} if len(by_region) > 1 else {}


@dataclass
class TokenTask:
    """BIO tags of the words of each text.

    Args:
        ids: token ids of the texts of each part.
        labels: the number of each token's tag, IGNORED for special tokens, of each part.
        first_pieces: of each word, the position of its first token; None if no token of it is left.
        tags: the tags of the words of each part.
    """

    metric: ClassVar[str] = "f1"
    model_class: ClassVar[type] = BilmaForTokenClassification

    label_names: list[str]
    ids: dict[str, list[list[int]]]
    labels: dict[str, list[list[int]]]
    first_pieces: dict[str, list[list[int | None]]]
    tags: dict[str, list[list[str]]]

    def training_labels(self) -> np.ndarray:
        """Return the labels of all tokens of the training texts, (tokens,)."""
        labels = np.concatenate([np.array(row) for row in self.labels["train"]])
        return labels[labels != IGNORED]

    def scores(self, part: str, predicted: np.ndarray) -> Scores:
        """Score the entities in the predicted tags of a part's tokens, (texts, longest text)."""
        return entity_scores(self.tags[part], self._tags_of_words(part, predicted))

    def details(self, predicted: np.ndarray) -> dict[str, Any]:
        """Score the entities of the test texts type by type, and count the words that no token is left of."""
        lost = sum(piece is None for pieces in self.first_pieces["test"] for piece in pieces)
        by_type = scores_by_entity(self.tags["test"], self._tags_of_words("test", predicted))
        return {"test_by_class": by_type, "test_words_without_token": lost}

    def _tags_of_words(self, part: str, predicted: np.ndarray) -> list[list[str]]:
        return [
            [OUTSIDE if piece is None else self.label_names[row[piece]] for piece in pieces]
            for pieces, row in zip(self.first_pieces[part], predicted, strict=True)
        ]


Task = TextTask | TokenTask


def open_task(args: FinetuneArguments, tokenizer: TokenizersBackend) -> tuple[LabelledSplits | TaggedSplits, Task]:
    """Open the labelled or tagged texts that flags name, and tokenise them.

    Raises:
        InputError: if they cannot be read, or make no task.
    """
    if args.task == TOKEN_TASK:
        tagged = open_tagged(args)
        return tagged, tokenise_tagged(tagged, tokenizer, args.max_length)
    labelled = open_labelled(args)
    return labelled, tokenise_texts(labelled, tokenizer, args.max_length, args.region_tokens)


def tokenise_texts(
    splits: LabelledSplits, tokenizer: TokenizersBackend, max_length: int, region_tokens: bool = False
) -> TextTask:
    """Turn labelled texts into token ids; with `region_tokens`, a text of known region begins with the region's token.

    Raises:
        InputError: if the tokenizer lacks the token of a region.
    """
    parts = splits.parts()
    if region_tokens:
        for region in sorted({region for part in parts.values() for region in part.regions if region}):
            region_token_id(tokenizer, region)
    return TextTask(
        label_names=splits.label_names,
        ids={name: encode(_begun(part, region_tokens), tokenizer, max_length) for name, part in parts.items()},
        labels={name: label_ids(part, splits.label_names, name) for name, part in parts.items()},
        regions=splits.test.regions,
    )


def _begun(part: LabelledTexts, region_tokens: bool) -> list[str]:
    if not region_tokens:
        return part.texts
    pairs = zip(part.texts, part.regions, strict=True)
    return [f"{region_token(region)} {text}" if region else text for text, region in pairs]


def tokenise_tagged(splits: TaggedSplits, tokenizer: TokenizersBackend, max_length: int) -> TokenTask:
    """Turn tagged words into token ids with a tag each.

    A word's first token carries its tag and decides when words are scored. Its further tokens are trained to carry on
    the entity: `aggregation_strategy="simple"` joins neighbours by every token's tag.
    """
    task = TokenTask(splits.label_names, ids={}, labels={}, first_pieces={}, tags={})
    numbers = {name: number for number, name in enumerate(splits.label_names)}
    for name, part in splits.parts().items():
        task.ids[name], words = words_of_tokens(part, tokenizer, max_length)
        task.tags[name] = part.tags
        task.labels[name], task.first_pieces[name] = [], []
        for tags, owners in zip(part.tags, words, strict=True):
            pieces: list[int | None] = [None] * len(tags)
            labels = [IGNORED] * len(owners)
            for position, word in enumerate(owners):
                if word is None:
                    continue
                tag = tags[word]
                if pieces[word] is None:
                    pieces[word] = position
                elif tag != OUTSIDE:
                    tag = f"I-{tag[2:]}"
                labels[position] = numbers[tag]
            task.labels[name].append(labels)
            task.first_pieces[name].append(pieces)
    return task


def words_of_tokens(
    part: TaggedTexts, tokenizer: TokenizersBackend, max_length: int
) -> tuple[list[list[int]], list[list[int | None]]]:
    """Tokenise the words of each text, joined by spaces.

    Returns:
        The token ids of each text, at most `max_length`, and the number of the word that each token is of, by its
        offset; None for special tokens.
    """
    pipeline = tokenizer.backend_tokenizer
    pipeline.no_truncation()
    pipeline.no_padding()
    all_ids, all_words = [], []
    for words, encoding in zip(part.words, pipeline.encode_batch(list(map(" ".join, part.words))), strict=True):
        ends = np.cumsum([len(word) + 1 for word in words])  # of each word with the space behind it
        starts = np.array([start for start, _ in encoding.offsets])
        owners = np.searchsorted(ends, starts, side="right").tolist()
        special = encoding.special_tokens_mask
        kept = _cut(len(encoding.ids), max_length)
        all_ids.append([encoding.ids[position] for position in kept])
        all_words.append([None if special[position] else owners[position] for position in kept])
    return all_ids, all_words


def _cut(length: int, max_length: int) -> Sequence[int]:
    """Return the positions of a text that are kept: the first ones, and the special token at its end."""
    return range(length) if length <= max_length else [*range(max_length - 1), length - 1]
