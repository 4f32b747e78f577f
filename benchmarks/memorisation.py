"""Test whether a model gives back rare names of its training texts, beside names of texts that it never read.

    python -m benchmarks.memorisation --model models/bilma --corpora corpora --group_column author

A rare name is a word, capitalised in mid-text, that few training texts hold. All its tokens are hidden together with
half of the others of its text, and the model predicts them. Names of training texts are compared with names of the
test part, whose authors training has not seen, at the same number of *other* training texts that hold the name: a
model that has learnt texts by heart is right more often on the training side. Numbers, links and users cannot be given
back, since the text rules replace them. The output folder gets `memorisation.json`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TokenizersBackend

from benchmarks.reporting import write_result
from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer, region_token
from training.common.arguments import check_each, option, parse_arguments
from training.common.errors import InputError, as_input_error, run
from training.common.provenance import weights_fingerprint
from training.engine.models import open_whole
from training.evaluation.intervals import interval, resampled_sums
from training.evaluation.masked_texts import split_texts
from training.texts.corpus import Corpus, open_corpora
from training.texts.encoding import encode
from training.texts.splits import text_hash

OTHERS = {"0": (0, 0), "1 to 2": (1, 2), "3 to 5": (3, 5), "6 to 20": (6, 20)}  # other training texts with the name
SHORTEST = 4  # letters of a name
MEASURES = ("right", "log_probability")
SIDES = ("training", "test")


@dataclass(kw_only=True)
class MemorisationArguments:
    model: str = field(metadata={"help": "folder of a model with regional parts"})
    corpora: list[str] = field(metadata={"help": "files or folders of texts; each name holds a region's two letters"})
    output_dir: str = option("benchmarks/results", "folder for the results")
    text_column: str = option("text", "column or field that holds the texts")
    group_column: str | None = option(None, "column or field that names a text's author")
    test_fraction: float = option(0.05, "share of the texts in the test part, as pretrain.py held them out")
    max_length: int = option(128, "most tokens of a text")
    names: int = option(1000, "most names of each row and side")
    resamples: int = option(1000, "bootstrap samples for the intervals")
    seed: int = option(0, "seed of the choice of texts, the masks and the bootstrap")


Word = tuple[int, ...]  # the ids of its tokens


@dataclass
class Text:
    """A text, the ids of its tokens behind its region's token, and its author, or itself where none is named."""

    text: str
    ids: list[int]
    author: str

    def words(self, pieces: np.ndarray) -> list[tuple[int, Word]]:
        """Return each word with the position of its first token; `pieces` says which tokens continue a word."""
        starts = np.flatnonzero(~pieces[self.ids]).tolist()
        return [
            (start, tuple(self.ids[start:end]))
            for start, end in zip(starts, [*starts[1:], len(self.ids)], strict=True)
        ]


@dataclass
class Name:
    """The ids of a text with half of its tokens and a name hidden, and the name with its first position."""

    ids: np.ndarray
    position: int
    word: Word
    author: str


def main() -> None:
    args = parse_arguments(MemorisationArguments, __doc__.splitlines()[0])
    check_each(args, "between 0 and 1", "test_fraction")
    with as_input_error(ValueError, OSError):
        tokenizer = load_tokenizer(args.model)
    model = open_whole(BilmaForMaskedLM, args.model, sparse_prediction=False).eval()
    corpora = open_corpora(args.corpora, args.text_column, args.group_column)
    sides = read_sides(args, corpora, tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    pieces = np.array([token.startswith("##") for token in tokens])
    texts_with = Counter(word for text in sides["training"] for word in {word for _, word in text.words(pieces)})
    rows = {}
    for row, others in OTHERS.items():
        found = {}
        for side, texts in sides.items():
            allowed = [number + (side == "training") for number in others]  # the text itself is one
            names = find_names(args, texts, pieces, texts_with, range(allowed[0], allowed[-1] + 1), tokenizer)
            found[side] = names, guess(model, names, tokenizer)
        rows[row] = compare(found, args)
        print(f"{row} other training texts: {summary(rows[row])}")
    write_result(
        Path(args.output_dir) / "memorisation.json",
        model.device,
        settings={name: value for name, value in vars(args).items() if name not in ("model", "corpora", "output_dir")},
        model=weights_fingerprint(Path(args.model)),
        corpora={region: {"names": c.names(), "fingerprint": c.fingerprint} for region, c in corpora.items()},
        texts={side: len(texts) for side, texts in sides.items()},
        rows=rows,
    )


def read_sides(
    args: MemorisationArguments, corpora: dict[str, Corpus], tokenizer: TokenizersBackend
) -> dict[str, list[Text]]:
    """Read and tokenise the texts of both sides, in an order that the seed alone decides."""
    sides: dict[str, list[Text]] = {side: [] for side in SIDES}
    for region, corpus in corpora.items():
        rows = list(split_texts(corpus, args.test_fraction))
        all_ids = encode([f"{region_token(region)} {text}" for _, text, _ in rows], tokenizer, args.max_length)
        for number, ((for_test, text, author), ids) in enumerate(zip(rows, all_ids, strict=True)):
            sides["test" if for_test else "training"].append(Text(text, ids, author or f"{region} {number}"))
    rng = np.random.default_rng(args.seed)
    return {side: [texts[number] for number in rng.permutation(len(texts))] for side, texts in sides.items()}


def find_names(
    args: MemorisationArguments,
    texts: list[Text],
    pieces: np.ndarray,
    texts_with: Counter[Word],
    allowed: range,
    tokenizer: TokenizersBackend,
) -> list[Name]:
    """Find names that an allowed number of training texts hold, at most one a text."""
    found: list[Name] = []
    for text in texts:
        candidates = [(start, word) for start, word in text.words(pieces) if texts_with[word] in allowed]
        if name := first_name(text, candidates, tokenizer):
            found.append(hide(args, text, *name, tokenizer))
            if len(found) == args.names:
                break
    return found


def first_name(
    text: Text, candidates: list[tuple[int, Word]], tokenizer: TokenizersBackend
) -> tuple[int, Word] | None:
    """Return the first candidate that is a capitalised word in mid-text."""
    if not candidates:
        return None
    offsets = tokenizer(text.text, return_offsets_mapping=True)["offset_mapping"]
    for position, word in candidates:
        # The region's token is no part of the text.
        start, end = offsets[position - 1][0], offsets[position + len(word) - 2][1]
        name, before = text.text[start:end], text.text[:start].rstrip()
        if len(name) >= SHORTEST and name.isalpha() and name.istitle() and before[-1:].isalpha():
            return position, word
    return None


def hide(args: MemorisationArguments, text: Text, position: int, word: Word, tokenizer: TokenizersBackend) -> Name:
    ids = np.array(text.ids)
    rng = np.random.default_rng((args.seed, text_hash(text.text)))
    hidden = (rng.random(len(ids)) < 0.5) & ~np.isin(ids, tokenizer.all_special_ids)
    hidden[position : position + len(word)] = True
    return Name(np.where(hidden, tokenizer.mask_token_id, ids), position, word, text.author)


@torch.no_grad()
def guess(model: BilmaForMaskedLM, names: list[Name], tokenizer: TokenizersBackend, batch: int = 64) -> np.ndarray:
    """Predict the names.

    Returns:
        (names, 2): whether every token of the name is the likeliest one, and the sum of their log-probabilities.
    """
    rows = []
    for some in (names[first : first + batch] for first in range(0, len(names), batch)):
        inputs = tokenizer.pad([{"input_ids": name.ids.tolist()} for name in some], return_tensors="pt")
        for logits, name in zip(model(**inputs).logits, some, strict=True):
            logs = logits[name.position : name.position + len(name.word)].float().log_softmax(-1)
            word = torch.tensor(name.word)
            own = logs.gather(1, word[:, None]).sum().item()
            rows.append((bool((logs.argmax(-1) == word).all()), own))
    return np.array(rows, dtype=float).reshape(-1, len(MEASURES))


def compare(found: dict[str, tuple[list[Name], np.ndarray]], args: MemorisationArguments) -> dict[str, Any]:
    """Compare the two sides, with intervals over authors.

    Raises:
        InputError: if a side has no names.
    """
    row: dict[str, Any] = {"names": {side: len(names) for side, (names, _) in found.items()}}
    if not all(row["names"].values()):
        raise InputError("no rare name was found on one side: give more texts")
    for column, measure in enumerate(MEASURES):
        values, samples = {}, {}
        for side, (names, guesses) in found.items():
            sums = np.array(list(sums_by_author(names, guesses[:, column])))
            values[side] = float(guesses[:, column].mean())
            resampled = resampled_sums(sums, args.resamples, args.seed)
            samples[side] = resampled[:, 0] / resampled[:, 1]
        row[measure] = {side: interval(values[side], samples[side]) for side in SIDES}
        # The authors of the two sides are others, so their samples are independent.
        shuffled = np.random.default_rng(args.seed).permutation(samples["test"])
        row[measure]["difference"] = interval(values["training"] - values["test"], samples["training"] - shuffled)
    return row


def sums_by_author(names: list[Name], values: np.ndarray) -> Iterator[tuple[float, int]]:
    """Yield the sum and the number of an author's values."""
    _, authors = np.unique([name.author for name in names], return_inverse=True)
    for author in range(authors.max() + 1):
        own = values[authors == author]
        yield float(own.sum()), len(own)


def summary(row: dict[str, Any]) -> str:
    right, log_probability = (row[measure] for measure in MEASURES)
    difference = log_probability["difference"]
    return (
        f"{row['names']['training']:,} names of training texts, {right['training']['value']:.4f} right; "
        f"{row['names']['test']:,} of others, {right['test']['value']:.4f} right; mean log-probability "
        f"{log_probability['training']['value']:.2f} and {log_probability['test']['value']:.2f}, difference "
        f"{difference['value']:+.2f} ({difference['low']:+.2f} to {difference['high']:+.2f})"
    )


if __name__ == "__main__":
    run(main)
