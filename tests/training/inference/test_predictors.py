import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, FillMaskPipeline, pipeline

from modeling_bilma import (
    BilmaForMaskedLM,
    BilmaForSequenceClassification,
    BilmaForTokenClassification,
    BilmaModel,
)
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.conftest import TEXTS, tiny_config
from training.common.errors import InputError
from training.inference.predictors import make_predictor

SETTINGS = {
    "dtype": "float32",
    "top_k": None,
    "all_scores": False,
    "threshold": None,
    "prefix": "",
    "region": None,
    "max_length": 40,
    "texts_per_batch": 4,
}
NAMES = {0: "N", 1: "P", 2: "NEU"}


@pytest.fixture
def predictor(tmp_path):
    """`predictor(model_class, **config)(**settings)`: a saved tiny model, and what it is opened as."""
    tokenizer = build_tokenizer([*train_vocabulary(TEXTS * 3), "[MX]"], max_length=40)

    def predictor(model_class, **changes):
        sizes = {"vocab_size": len(tokenizer), "initializer_range": 1.0, **changes}
        if model_class is BertForSequenceClassification:
            sizes |= {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
            config = BertConfig(max_position_embeddings=40, **sizes)
        else:
            config = tiny_config(**sizes)
        torch.manual_seed(0)
        model_class(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return lambda **settings: make_predictor(str(tmp_path), **(SETTINGS | settings))

    return predictor


@pytest.mark.parametrize("model_class", [BilmaForSequenceClassification, BertForSequenceClassification])
def test_classes_are_those_of_the_pipeline(predictor, tmp_path, model_class):
    open_it = predictor(model_class, id2label=NAMES)
    rows, _ = open_it(top_k=2, all_scores=True, prefix="m_")(TEXTS)
    expected = pipeline("text-classification", model=str(tmp_path))(TEXTS, top_k=None)
    for row, scores in zip(rows, expected, strict=True):
        assert [row["m_label"], row["m_label_2"]] == [answer["label"] for answer in scores[:2]]
        assert row["m_score_2"] == pytest.approx(scores[1]["score"], abs=1e-5)
        assert {name: row[f"m_score_{name}"] for name in NAMES.values()} == pytest.approx(
            {answer["label"]: answer["score"] for answer in scores}, abs=1e-5
        )


@pytest.mark.parametrize("instructions", [True, False])
def test_auto_is_bf16_where_the_machine_multiplies_in_it(predictor, monkeypatch, instructions):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("training.engine.accelerator.multiplies_bf16", lambda: instructions)
    model = predictor(BilmaForSequenceClassification)(dtype="auto").model
    assert model.dtype == (torch.bfloat16 if instructions else torch.float32)


def test_several_labels_are_those_above_the_threshold(predictor):
    open_it = predictor(BilmaForSequenceClassification, id2label=NAMES, problem_type="multi_label_classification")
    rows, _ = open_it(all_scores=True)(TEXTS)
    assert len({len(row["label"]) for row in rows}) > 1
    for row in rows:
        likely = [name for name in NAMES.values() if row[f"score_{name}"] >= 0.5]
        assert (row["label"], row["score"]) == (likely, [row[f"score_{name}"] for name in likely])
    strict, _ = open_it(threshold=0.999)(TEXTS)
    assert sum(len(row["label"]) for row in strict) < sum(len(row["label"]) for row in rows)


def test_numbers_are_the_outputs_of_a_regression(predictor, tmp_path):
    open_it = predictor(BilmaForSequenceClassification, num_labels=1)
    rows, _ = open_it()(TEXTS)
    expected = pipeline("text-classification", model=str(tmp_path), function_to_apply="none")(TEXTS)
    assert [row["score"] for row in rows] == pytest.approx([answer["score"] for answer in expected], abs=1e-4)
    two = predictor(BilmaForSequenceClassification, id2label={0: "joy", 1: "anger"}, problem_type="regression")
    assert set(two()(TEXTS)[0][0]) == {"score_joy", "score_anger"}


def test_spans_are_places_in_the_users_own_text(predictor):
    open_it = predictor(BilmaForTokenClassification, id2label={0: "O", 1: "B-LOC", 2: "I-LOC"})
    plain, _ = open_it()(TEXTS)
    spans = [(text, span) for text, row in zip(TEXTS, plain, strict=True) for span in row["spans"]]
    assert spans
    for text, span in spans:
        assert span["text"] == text[span["start"] : span["end"]]
        assert span["label"] == "LOC"
    marked, _ = open_it(region="mx")(TEXTS)
    for text, row in zip(TEXTS, marked, strict=True):
        assert all(span["text"] == text[span["start"] : span["end"]] for span in row["spans"])
    alone, _ = open_it()(TEXTS[:1])
    assert [span["text"] for span in alone[0]["spans"]] == [span["text"] for span in plain[0]["spans"]]


def test_every_mask_has_its_words(predictor):
    open_it = predictor(BilmaForMaskedLM)
    opened = open_it(top_k=3)
    texts = ["vamos a [MASK]", "nada", "[MASK] en la [MASK] mañana"]
    rows, counts = opened(texts)
    fill = FillMaskPipeline(model=opened.model, tokenizer=opened.tokenizer, top_k=3)
    assert [[len(words) for words in row["completions"]] for row in rows] == [[3], [], [3, 3]]
    assert counts["without [MASK]"] == 1
    assert [word["token"] for word in rows[0]["completions"][0]] == [word["token_str"] for word in fill(texts[0])]
    second = fill(texts[2])[1]
    scores = [word["score"] for word in rows[2]["completions"][1]]
    assert scores == pytest.approx([word["score"] for word in second], rel=1e-4)
    with_region, _ = open_it(top_k=3, region="mx")(texts)
    assert with_region[0] != rows[0]


def test_answers_do_not_depend_on_the_texts_beside_and_cut_ones_are_counted(predictor):
    answer = predictor(BilmaForSequenceClassification, id2label=NAMES)(max_length=12, texts_per_batch=2)
    together, counts = answer(TEXTS)
    alone = [answer([text])[0][0] for text in TEXTS]
    assert [row["label"] for row in together] == [row["label"] for row in alone]
    assert [row["score"] for row in together] == pytest.approx([row["score"] for row in alone], abs=1e-5)
    assert 0 < counts["cut"] < len(TEXTS)


def test_half_precision_is_close(predictor):
    open_it = predictor(BilmaForSequenceClassification, id2label=NAMES, initializer_range=0.2)
    exact, rounded = open_it(), open_it(dtype="bfloat16")
    assert rounded.model.dtype == torch.bfloat16
    scores = [row["score"] for row in exact(TEXTS)[0]]
    assert max(scores) - min(scores) > 0.02
    assert [row["score"] for row in rounded(TEXTS)[0]] == pytest.approx(scores, abs=0.005)


@pytest.mark.parametrize(
    ("model_class", "settings", "message"),
    [
        (BilmaForSequenceClassification, {"top_k": 3}, "--top_k 3 is more than the 2 labels"),
        (BilmaForMaskedLM, {"top_k": 10_000}, "--top_k 10000 is more than"),
        (BilmaForMaskedLM, {"region": "es"}, r"no special token \[ES\]"),
        (BilmaForMaskedLM, {"max_length": 41}, "--max_length 41 is more than the 40 positions"),
        (BilmaModel, {}, "is a BilmaModel: give a model for"),
    ],
)
def test_what_does_not_fit_the_model_is_named(predictor, model_class, settings, message):
    with pytest.raises(InputError, match=message):
        predictor(model_class)(**settings)
