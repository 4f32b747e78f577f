"""Tests of regional knowledge: does a model find the forms of its region likelier than those of the others?

An item is a sentence with a gap and the forms that each region puts there. The score of a form is its pseudo-log-
likelihood in the sentence (Salazar et al. 2020): the sum over its tokens of the log-probability of the token, which is
masked together with the later tokens of its word (Kauf & Ivanova 2023), while everything else is visible. Scores are
sums, for all models alike, and not divided by the number of tokens.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForMaskedLM

from modeling_bilma.metrics import is_chosen
from training.common.errors import InputError
from training.evaluation.intervals import interval, resampled_sums
from training.evaluation.masked_texts import MaskedText, MaskedTexts, behind_token
from training.evaluation.models import ModelFolder
from training.evaluation.per_word import token_places
from training.evaluation.predictions import log_probabilities_by_batch
from training.evaluation.results import Estimate, ItemCell

GAP = "[MASK]"
ALL_KINDS = "all"


@dataclass(frozen=True)
class Item:
    """A sentence with a gap, and for each region the forms that fill it there."""

    id: str
    kind: str
    concept: str
    sentence: str
    forms: dict[str, tuple[str, ...]]

    def all_forms(self) -> list[str]:
        return list(dict.fromkeys(chain(*self.forms.values())))

    def rivals(self, region: str) -> list[str]:
        """The forms that other regions use and this one does not."""
        return [form for form in self.all_forms() if form not in self.forms[region]]


Scores = list[dict[str, float]]  # of each item the log-likelihood of every form that the tokenizer can spell


def read_items(folder: Path) -> tuple[list[Item], str]:
    """Read the items of `folder/data/*.jsonl`, and the SHA-256 of these files.

    Raises:
        InputError: if there is none, or a line is no item.
    """
    files = sorted((folder / "data").glob("*.jsonl"))
    if not files:
        raise InputError(f"{folder}: no data/*.jsonl in this folder: give the folder of the tests as --tests")
    digest, items = hashlib.sha256(), []
    for path in files:
        content = path.read_bytes()
        digest.update(content)
        for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
            try:
                items.append(item_of(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{path}, line {number}: not an item ({error!r})") from error
    if not items:
        raise InputError(f"{folder}: its data/*.jsonl hold no items: give the folder of the tests as --tests")
    return items, digest.hexdigest()


def item_of(record: dict[str, Any]) -> Item:
    """Make an item of a cloze, or of a pair of sentences that differ in one marked span.

    Raises:
        KeyError: if a field is missing.
        ValueError: if the sentence has no gap or several, or the pair differs elsewhere too.
    """
    if record["kind"] == "grammar_pair":
        sentence = pair_sentence(record)
        forms: dict[str, tuple[str, ...]] = {region: (record["marked_a"],) for region in record["prefer_a"]}
        forms |= {region: (record["marked_b"],) for region in record["prefer_b"]}
    else:
        sentence = record["sentence"]
        forms = {region: tuple(own) for region, own in record["forms"].items() if own}
    if sentence.count(GAP) != 1:
        raise ValueError(f"the sentence of {record['id']} has {sentence.count(GAP)} gaps, not one")
    return Item(record["id"], record["kind"], record["concept"], sentence, forms)


def pair_sentence(record: dict[str, Any]) -> str:
    """Put the gap where the sentences of a pair differ."""
    sentences, marked = ([record[f"{name}_{side}"] for side in "ab"] for name in ("sentence", "marked"))
    for place in re.finditer(re.escape(marked[0]), sentences[0]):
        sentence = sentences[0][: place.start()] + GAP + sentences[0][place.end() :]
        if sentence.replace(GAP, marked[1]) == sentences[1]:
            return sentence
    raise ValueError(f"the sentences of {record['id']} differ in more than the marked span")


@dataclass
class FormRows:
    """The rows that score every form of every item, each row once.

    `queries` has for each token of each form the item's number, the form, the row and the token's id.
    """

    rows: list[MaskedText]
    queries: list[tuple[int, str, int, int]]


def form_rows(items: Sequence[Item], folder: ModelFolder) -> FormRows:
    """Mask the tokens of all forms; a form that the tokenizer cannot spell has no query."""
    numbers: dict[tuple[bytes, int], int] = {}
    found = FormRows([], [])
    for item_number, item in enumerate(items):
        for form in item.all_forms():
            for row in rows_of_form(item, form, folder):
                key = row.input_ids.tobytes(), int(row.positions[0])
                if key not in numbers:
                    numbers[key] = len(found.rows)
                    found.rows.append(row)
                found.queries.append((item_number, form, numbers[key], int(row.targets[0])))
    return found


def rows_of_form(item: Item, form: str, folder: ModelFolder) -> Iterator[MaskedText]:
    """Yield one row for each token of the form, or none if a word of it cannot be spelled."""
    start = item.sentence.index(GAP)
    spans = [(start + word.start(), start + word.end()) for word in re.finditer(r"\S+", form)]
    ids, words = token_places(item.sentence.replace(GAP, form), spans, folder, folder.longest)
    if not all(len(word) for word in words):
        return
    for word in words:
        for number, position in enumerate(word):
            masked = ids.copy()
            masked[word[number:]] = folder.tokenizer.mask_token_id
            yield MaskedText(0, masked, np.array([position]), ids[[position]])


def score_forms(
    items: Sequence[Item], columns: Sequence[ModelFolder], tokens_per_batch: int, device: torch.device
) -> dict[str, Scores]:
    """Score every form with every column; the columns of one folder share the model and the rows.

    Raises:
        InputError: if a model cannot be opened.
    """
    scores: dict[str, Scores] = {}
    for path in dict.fromkeys(column.path for column in columns):
        of_folder = [column for column in columns if column.path == path]
        model = of_folder[0].open(AutoModelForMaskedLM, device)
        found = form_rows(items, of_folder[0])
        for column in of_folder:
            rows = behind_token(MaskedTexts(found.rows), column.token_id).rows
            targets: list[list[int]] = [[] for _ in rows]
            for number, (_, _, row, _) in enumerate(found.queries):
                targets[row].append(number)
            values = np.empty(len(found.queries))
            for numbers, log_probabilities, _ in log_probabilities_by_batch(
                model, rows, column.tokenizer.pad_token_id, tokens_per_batch, column.name
            ):
                for row, of_row in zip(numbers, log_probabilities, strict=True):
                    ids = [found.queries[number][3] for number in targets[row]]
                    values[targets[row]] = of_row[ids].double().cpu().numpy()
            scores[column.name] = [{} for _ in items]
            for (item, form, _, _), value in zip(found.queries, values, strict=True):
                of_item = scores[column.name][item]
                of_item[form] = of_item.get(form, 0.0) + float(value)
        del model  # before the next one is opened
    return scores


def chosen(item: Item, region: str, scores: dict[str, float]) -> bool | None:
    """Whether the region's best form beats every rival form; None if no form of one side can be spelled."""
    own = [scores[form] for form in item.forms[region] if form in scores]
    rivals = [scores[form] for form in item.rivals(region) if form in scores]
    return is_chosen(own, rivals)


def steered(item: Item, region: str, own: dict[str, float], others: dict[str, dict[str, float]]) -> list[bool]:
    """For each other region, whether the forms that it lacks are likelier under the own region's model than under its.

    Args:
        own: scores of the item's forms under the model of `region`.
        others: the same under the models of other regions, by region.
    """
    found = []
    for other in (code for code in item.forms if code in others):
        forms = [form for form in item.forms[region] if form not in item.forms[other] and form in own]
        if forms:
            here, there = (np.logaddexp.reduce([scores[form] for form in forms]) for scores in (own, others[other]))
            found.append(bool(here > there))
    return found


class KnowledgeTable:
    """Shares by model, region and kind of item, from the scores of all forms."""

    def __init__(
        self,
        items: Sequence[Item],
        columns: Sequence[ModelFolder],
        scores: dict[str, Scores],
        resamples: int,
        seed: int,
    ):
        self.items, self.columns, self.scores = items, columns, scores
        self.resamples, self.seed = resamples, seed
        self.concepts = np.unique([item.concept for item in items], return_inverse=True)[1]

    def cells(self) -> list[ItemCell]:
        regions = sorted({region for item in self.items for region in item.forms})
        kinds = [ALL_KINDS, *dict.fromkeys(item.kind for item in self.items)]
        found = (self.cell(column, region, kind) for kind in kinds for region in regions for column in self.columns)
        return [cell for cell in found if cell is not None]

    def cell(self, column: ModelFolder, region: str, kind: str) -> ItemCell | None:
        """The shares of one model on one region's items of a kind; None if there is no item to score."""
        numbers = [
            number
            for number, item in enumerate(self.items)
            if kind in (item.kind, ALL_KINDS) and region in item.forms and item.rivals(region)
        ]
        hits = self.hits(column, region, numbers)
        if not hits:
            return None
        reference = self.reference(column)
        return {
            "model": column.name,
            "region": region,
            "kind": kind,
            "count": len(hits),
            "left_out": len(numbers) - len(hits),
            "chosen": self.share(hits),
            "reference": reference.name if reference else None,
            "gain": self.gain(hits, self.hits(reference, region, list(hits))) if reference else None,
            "steered": self.steered(column, region, list(hits)) if column.region == region else None,
        }

    def hits(self, column: ModelFolder, region: str, numbers: Sequence[int]) -> dict[int, float]:
        """For each item that the model can score, 1 if it chooses the region's form, else 0."""
        found = {number: chosen(self.items[number], region, self.scores[column.name][number]) for number in numbers}
        return {number: float(hit) for number, hit in found.items() if hit is not None}

    def share(self, hits: dict[int, float], counts: dict[int, float] | None = None) -> Estimate:
        """Hits over counts (1 an item), by item, with an interval from resampled concepts."""
        of_items = self.concepts[list(hits)]
        weights = list(hits.values()), list(counts.values()) if counts else [1.0] * len(hits)
        sums = np.stack([np.bincount(of_items, weight, self.concepts.max() + 1) for weight in weights], axis=1)
        with np.errstate(invalid="ignore"):
            samples = resampled_sums(sums, self.resamples, self.seed)
            return interval(sums[:, 0].sum() / sums[:, 1].sum(), samples[:, 0] / samples[:, 1])

    def gain(self, hits: dict[int, float], theirs: dict[int, float]) -> Estimate | None:
        """The share chosen less that of a model of no region, over the items that both can score."""
        differences = {number: hits[number] - theirs[number] for number in hits if number in theirs}
        return self.share(differences) if differences else None

    def reference(self, column: ModelFolder) -> ModelFolder | None:
        """The model of no region to compare a regional one with: its own body, else the first."""
        if column.region is None:
            return None
        bodies = [other for other in self.columns if other.region is None]
        return next((body for body in bodies if body.path == column.path), bodies[0] if bodies else None)

    def steered(self, column: ModelFolder, region: str, numbers: Sequence[int]) -> Estimate | None:
        """The share of comparisons with models of other regions, of the same body or all plain ones, that it wins."""
        others = {
            other.region: self.scores[other.name]
            for other in self.columns
            if other.region is not None
            and other.region != region
            and (other.path == column.path if column.token_region else not other.token_region)
        }
        won, compared = {}, {}
        for number in numbers:
            of_others = {code: scores[number] for code, scores in others.items()}
            found = steered(self.items[number], region, self.scores[column.name][number], of_others)
            if found:
                won[number], compared[number] = float(sum(found)), float(len(found))
        return self.share(won, compared) if won else None
