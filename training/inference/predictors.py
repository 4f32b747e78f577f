"""What a model says of texts: classes, numbers, entities, or words for masks, as columns of a table."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    TokenClassificationPipeline,
    TokenizersBackend,
)

from modeling_bilma.tokenization_bilma import MASK, region_token
from training.common.errors import InputError
from training.inference.outputs import batched_outputs, check_max_length, encode_texts, open_config, open_model
from training.inference.tables import Row
from training.texts.regions import region_token_id

TEXT, NUMBER = pa.string(), pa.float64()


class Predictor(ABC):
    """Answers texts, for `annotate`.

    Args:
        top_k: number of classes, or of words for a mask, in an answer.
        all_scores: whether the probability of every class has a column.
        threshold: minimum probability of a label, where a text may have several.
        prefix: beginning of the names of the new columns.
        region: code of the region whose token begins every text; None for no token.
    """

    takes: tuple[str, ...] = ()  # which of top_k, all_scores and threshold mean something for this kind
    columns: dict[str, pa.DataType]

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: TokenizersBackend,
        *,
        top_k: int,
        all_scores: bool,
        threshold: float,
        prefix: str,
        region: str | None,
        max_length: int,
        texts_per_batch: int,
    ):
        check_max_length(max_length, model)
        if region:
            region_token_id(tokenizer, region)
        self.model, self.tokenizer = model, tokenizer
        self.top_k, self.all_scores, self.threshold = top_k, all_scores, threshold
        self.max_length, self.texts_per_batch = max_length, texts_per_batch
        self.prefix = prefix
        self.beginning = f"{region_token(region)} " if region else ""
        self.columns = self.make_columns()
        self.schema = pa.schema({f"{prefix}{name}": kind for name, kind in self.columns.items()})

    @abstractmethod
    def make_columns(self) -> dict[str, pa.DataType]:
        """Return the columns of an answer without the prefix."""

    @abstractmethod
    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        """Return a value for each column of each text, and what the user should know of, counted."""

    def __call__(self, texts: Sequence[str], bar: tqdm | None = None) -> tuple[list[Row], Counter[str]]:
        """Answer each text; see `annotate`."""
        answers, counts = self.predict([self.beginning + text for text in texts], bar)
        return [dict(zip(self.schema.names, answer, strict=True)) for answer in answers], counts

    def logits(self, texts: Sequence[str], bar: tqdm | None) -> tuple[Tensor, int]:
        """Return the logits of a text classifier, (texts, labels), and the number of texts that were cut."""
        ids, cut = encode_texts(texts, self.tokenizer, self.max_length)
        logits = torch.zeros(len(texts), len(self.label_names()))
        for batch, _, outputs in batched_outputs(ids, self.model, self.tokenizer, self.texts_per_batch, bar):
            logits[torch.from_numpy(batch)] = outputs.logits.float().cpu()
        return logits, cut

    def label_names(self) -> list[str]:
        """Return the names of the model's labels in the order of its outputs."""
        return [name for _, name in sorted((self.model.config.id2label or {}).items())]


class Classes(Predictor):
    """The likeliest classes of a text with their probabilities, best first."""

    takes = ("top_k", "all_scores")

    def make_columns(self) -> dict[str, pa.DataType]:
        names = self.label_names()
        if self.top_k > len(names):
            raise InputError(f"--top_k {self.top_k} is more than the {len(names)} labels of the model")
        columns = {"label": TEXT, "score": NUMBER}
        for rank in range(2, self.top_k + 1):
            columns |= {f"label_{rank}": TEXT, f"score_{rank}": NUMBER}
        return columns | ({f"score_{name}": NUMBER for name in names} if self.all_scores else {})

    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        logits, cut = self.logits(texts, bar)
        probabilities = logits.softmax(-1)
        best = probabilities.topk(self.top_k)
        names = self.label_names()
        answers = []
        for scores, labels, every in zip(
            best.values.tolist(), best.indices.tolist(), probabilities.tolist(), strict=True
        ):
            ranked = [value for pair in zip((names[label] for label in labels), scores, strict=True) for value in pair]
            answers.append((*ranked, *(every if self.all_scores else ())))
        return answers, Counter(cut=cut)


class Labels(Predictor):
    """All labels of a text that are likely enough, and their probabilities, as lists."""

    takes = ("all_scores", "threshold")

    def make_columns(self) -> dict[str, pa.DataType]:
        scores = {f"score_{name}": NUMBER for name in self.label_names()} if self.all_scores else {}
        return {"label": TEXT, "score": TEXT} | scores

    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        logits, cut = self.logits(texts, bar)
        names = self.label_names()
        answers = []
        for scores in logits.sigmoid().tolist():
            given = [number for number, score in enumerate(scores) if score >= self.threshold]
            lists = ([names[number] for number in given], [scores[number] for number in given])
            answers.append((*lists, *(scores if self.all_scores else ())))
        return answers, Counter(cut=cut)


class Numbers(Predictor):
    """The outputs of a regression as they are."""

    def make_columns(self) -> dict[str, pa.DataType]:
        names = self.label_names()
        return dict.fromkeys(["score"] if len(names) == 1 else [f"score_{name}" for name in names], NUMBER)

    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        logits, cut = self.logits(texts, bar)
        return [tuple(values) for values in logits.tolist()], Counter(cut=cut)


class Entities(Predictor):
    """The entities of a text: type, probability, and place in the text as it was given."""

    def make_columns(self) -> dict[str, pa.DataType]:
        return {"spans": TEXT}

    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        self.tokenizer.model_max_length = self.max_length  # where the pipeline cuts
        tag = TokenClassificationPipeline(model=self.model, tokenizer=self.tokenizer, aggregation_strategy="simple")
        ids, cut = encode_texts(texts, self.tokenizer, self.max_length)
        order = sorted(range(len(texts)), key=lambda number: -len(ids[number]))
        found = tag([texts[number] for number in order], batch_size=self.texts_per_batch)
        answers: list[tuple[Any, ...]] = [()] * len(texts)
        for number, entities in zip(order, found, strict=True):
            answers[number] = (self._spans(texts[number], entities),)
        if bar is not None:
            bar.update(len(texts))
        return answers, Counter(cut=cut)

    def _spans(self, text: str, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the entities places in the text without the region's token in front, which may be tagged itself."""
        shift = len(self.beginning)
        spans = []
        for entity in entities:
            start, end = max(entity["start"], shift), entity["end"]
            if end > start:
                found = {"label": entity["entity_group"], "text": text[start:end], "score": float(entity["score"])}
                spans.append(found | {"start": start - shift, "end": end - shift})
        return spans


class MaskedWords(Predictor):
    """The likeliest tokens for each mask of a text, best first, with their probabilities."""

    takes = ("top_k",)

    def make_columns(self) -> dict[str, pa.DataType]:
        if self.top_k > len(self.tokenizer):
            raise InputError(f"--top_k {self.top_k} is more than the {len(self.tokenizer)} tokens of the model")
        return {"completions": TEXT}

    def predict(self, texts: Sequence[str], bar: tqdm | None) -> tuple[list[tuple[Any, ...]], Counter[str]]:
        mask, mask_id = self.tokenizer.mask_token, self.tokenizer.mask_token_id
        ids, cut = encode_texts([text.replace(MASK, mask) for text in texts], self.tokenizer, self.max_length)
        answers: list[tuple[Any, ...]] = [()] * len(texts)
        for batch, inputs, outputs in batched_outputs(ids, self.model, self.tokenizer, self.texts_per_batch, bar):
            masked = inputs["input_ids"] == mask_id
            best = outputs.logits[masked].float().softmax(-1).topk(self.top_k)
            ranked = [
                [{"token": self.tokenizer.decode([token]), "score": score} for token, score in zip(*pair, strict=True)]
                for pair in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
            for number, masks in zip(batch, masked.sum(-1).tolist(), strict=True):
                answers[number] = (ranked[:masks],)
                ranked = ranked[masks:]
        without = sum(mask_id not in text for text in ids)
        return answers, Counter({"cut": cut, f"without {MASK}": without})


def make_predictor(
    path_or_id: str,
    dtype: str = "auto",
    trust_remote_code: bool = False,
    top_k: int | None = None,
    all_scores: bool = False,
    threshold: float | None = None,
    **settings: Any,
) -> Predictor:
    """Open a model with what answers texts by its kind of head, which its configuration names.

    Args:
        top_k: None for 1 class, or 5 words for a mask.
        threshold: None for 0.5.
        settings: further arguments of `Predictor`.

    Raises:
        InputError: if the model cannot be opened, has no head, or does not fit the settings.
    """
    config = open_config(path_or_id, trust_remote_code)
    architecture = (config.architectures or [""])[0]
    auto_class: Any
    kind: type[Predictor]
    if architecture.endswith("ForSequenceClassification"):
        auto_class, kind = AutoModelForSequenceClassification, Classes
        if config.problem_type == "multi_label_classification":
            kind = Labels
        elif config.problem_type == "regression" or config.num_labels == 1:
            kind = Numbers
    elif architecture.endswith("ForTokenClassification"):
        auto_class, kind = AutoModelForTokenClassification, Entities
    elif architecture.endswith("ForMaskedLM"):
        auto_class, kind = AutoModelForMaskedLM, MaskedWords
    else:
        raise InputError(
            f"{path_or_id} is a {architecture or 'model without a head'}: give a model for sequence classification, "
            "token classification or masked language modelling"
        )
    given = {"top_k": top_k is not None, "all_scores": all_scores, "threshold": threshold is not None}
    if pointless := [name for name in given if given[name] and name not in kind.takes]:
        raise InputError(f"--{pointless[0]} means nothing for this {architecture}: leave it out")
    model, tokenizer = open_model(auto_class, path_or_id, dtype, trust_remote_code)
    settings |= {"all_scores": all_scores, "threshold": 0.5 if threshold is None else threshold}
    return kind(model, tokenizer, top_k=top_k or (5 if kind is MaskedWords else 1), **settings)
