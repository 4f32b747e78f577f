"""A model with regional parts answers, behind a region's token, as the plain model of that region does without it."""

import json
from functools import partial

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import TokenizersBackend

from modeling_bilma import (
    BilmaForMaskedLM,
    BilmaForSequenceClassification,
    BilmaForTokenClassification,
)
from modeling_bilma.regional import NEVER, PARTS, add_regions, log_frequency_ratios, merge_region
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, read_vocabulary, with_region_tokens
from tests.conftest import TEXTS, tiny_config
from tests.modeling_bilma import models
from tests.modeling_bilma.models import IMPLEMENTATIONS, REGIONS, make_regional

HEADS = (BilmaForSequenceClassification, BilmaForTokenClassification)
close = partial(models.close, atol=1e-5)  # of logits that are large


@pytest.fixture(scope="module")
def regional(tokenizer):
    return make_regional(tokenizer)


def ids_of(tokenizer, text: str, **options) -> torch.Tensor:
    return tokenizer(text, return_tensors="pt", **options)["input_ids"]


def without(ids: torch.Tensor, tokenizer) -> torch.Tensor:
    """Which of the positions are no region token."""
    return ids < len(tokenizer) - len(REGIONS)


def rules_of(tokenizer: TokenizersBackend) -> dict:
    """Vocabulary and text rules; truncation is that of the last call."""
    return json.loads(tokenizer.backend_tokenizer.to_str()) | {"truncation": None}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("region", [*REGIONS, None])
@torch.no_grad()
def test_the_plain_model_of_a_region_has_the_logits_of_the_text_behind_its_token(tokenizer, region, tied):
    model, extended = make_regional(tokenizer, tie_word_embeddings=tied)
    plain, plain_tokenizer = merge_region(model, extended, region)
    assert (plain.config.region, plain.config.regions, plain.config.vocab_size) == (region, None, len(tokenizer))
    assert rules_of(plain_tokenizer) == rules_of(tokenizer)
    assert sum(p.numel() for p in plain.parameters()) == BilmaForMaskedLM(plain.config).num_parameters()
    for text in TEXTS:
        ids = ids_of(extended, f"[{region.upper()}] {text}" if region else text)
        logits = model(ids).logits[without(ids, extended)]
        close(logits[:, : len(tokenizer)], plain(ids_of(plain_tokenizer, text)).logits[0])
        assert logits[:, len(tokenizer) :].max() < NEVER / 2, "a region token is never predicted"


@torch.no_grad()
def test_parts_that_are_new_change_nothing(tokenizer):
    body = BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).eval()
    model, extended = add_regions(body, tokenizer, REGIONS)
    ids = ids_of(extended, f"[MX] {TEXTS[0]}")
    close(model(ids).logits[without(ids, extended)][:, : len(tokenizer)], body(ids_of(tokenizer, TEXTS[0])).logits[0])
    assert extended.convert_tokens_to_ids(["[AR]", "[MX]", "[VE]"]) == [len(tokenizer) + n for n in range(3)]


@torch.no_grad()
def test_in_bf16_the_plain_model_is_as_near_as_roundings_are(tokenizer):
    model, extended = make_regional(tokenizer, torch.bfloat16)
    plain, _ = merge_region(model, extended, "mx")
    assert {parameter.dtype for parameter in plain.parameters()} == {torch.bfloat16}
    ids = ids_of(extended, f"[MX] {TEXTS[0]}")
    found = model(ids).logits[without(ids, extended)][:, : len(tokenizer)].float()
    torch.testing.assert_close(found, plain(ids_of(tokenizer, TEXTS[0])).logits[0].float(), rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("vamos [MX] a comer tacos", "[MX] vamos a comer tacos"),
        ("vamos a comer tacos [MX]", "[MX] vamos a comer tacos"),
        ("[MX] vamos [AR] a comer tacos [VE]", "[MX] vamos a comer tacos"),
        ("[AR][MX] vamos a comer tacos", "[AR] vamos a comer tacos"),
        ("[MX][MX] vamos a comer tacos", "[MX] vamos a comer tacos"),
    ],
)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@torch.no_grad()
def test_the_first_region_token_decides_wherever_it_is(tokenizer, implementation, text, same_as):
    model, extended = make_regional(tokenizer)
    model.set_attn_implementation(implementation)
    found, expected = ids_of(extended, text), ids_of(extended, same_as)
    close(model(found).logits[without(found, extended)], model(expected).logits[without(expected, extended)])


@torch.no_grad()
def test_the_token_of_a_region_without_part_is_text(regional):
    model, extended = regional
    assert "[PE]" not in extended.tokenize("[PE] vamos")
    ids = ids_of(extended, "[PE] vamos a comer")
    assert without(ids, extended).all()
    assert not model.bilma(ids).regions.any()
    behind = ids_of(extended, "[MX] [PE] vamos a comer")
    assert model.bilma(behind).regions[0].tolist() == [[0, 1, 0]] * behind.shape[1]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@torch.no_grad()
def test_packed_rows_of_several_regions_equal_the_texts_one_by_one(tokenizer, implementation):
    model, extended = make_regional(tokenizer)
    model.set_attn_implementation(implementation)
    texts = [f"[MX] {TEXTS[0]}", TEXTS[3], f"{TEXTS[4]} [VE]", f"[AR] {TEXTS[5]} [MX]"]
    parts = [ids_of(extended, text)[0] for text in texts]
    positions = torch.cat([torch.arange(len(part)) for part in parts])[None]
    packed = model(torch.cat(parts)[None], position_ids=positions).logits[0]
    for part, logits in zip(parts, packed.split([len(part) for part in parts]), strict=True):
        visible = without(part, extended)
        close(logits[visible], model(part[None]).logits[0][visible])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS[:2])
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_a_batch_of_several_regions_equals_the_texts_one_by_one(tokenizer, implementation, side):
    model, extended = make_regional(tokenizer)
    model.set_attn_implementation(implementation)
    texts = [f"[MX] {TEXTS[3]}", "[AR] vamos", TEXTS[4]]
    batch = extended(texts, padding=True, padding_side=side, return_tensors="pt")
    logits = model(**batch, position_ids=(batch["attention_mask"].cumsum(1) - 1).clamp(min=0)).logits
    for number, text in enumerate(texts):
        ids = ids_of(extended, text)
        row = logits[number][batch["attention_mask"][number].bool()]
        close(row[without(ids[0], extended)], model(ids).logits[without(ids, extended)])


@torch.no_grad()
def test_a_token_in_the_padding_says_nothing(regional):
    model, extended = regional
    ids = ids_of(extended, "vamos a comer [MX]")
    mask = torch.ones_like(ids)
    mask[0, -2:] = 0
    close(model(ids, attention_mask=mask).logits[0, :-2], model(ids[:, :-2]).logits[0])


@torch.no_grad()
def test_sparse_prediction_gives_the_same_logits(tokenizer):
    dense, extended = make_regional(tokenizer)
    batch = extended([f"[MX] {TEXTS[3]}", "[AR] vamos", TEXTS[4]], padding=True, return_tensors="pt")
    labels = torch.full_like(batch["input_ids"], -100)
    labels[0, [2, 5]], labels[1, 2], labels[2, 1] = 7, 8, 9
    expected = dense(**batch, labels=labels)
    dense.config.sparse_prediction = True
    found = dense(**batch, labels=labels)
    close(found.logits, expected.logits[labels != -100])
    close(found.loss, expected.loss)


def test_every_part_learns_from_its_own_texts_alone(tokenizer):
    model, extended = make_regional(tokenizer)
    ids = ids_of(extended, f"[MX] {TEXTS[0]}")
    model(ids, labels=torch.where(without(ids, extended), ids, -100)).loss.backward()
    for name in PARTS:
        moved = model.get_parameter(name).grad.abs().sum(1) > 0
        assert moved.tolist() == [False, True, False], name


@torch.no_grad()
def test_a_token_takes_no_position(regional):
    model, extended = regional
    longest = model.config.max_position_embeddings
    ids = torch.full((1, longest + 1), 30)
    ids[0, 1] = extended.convert_tokens_to_ids("[MX]")
    assert model(ids).logits.isfinite().all()
    ids[0, 1] = 30
    with pytest.raises(ValueError, match=f"{longest + 1} tokens, more than the {longest} positions"):
        model(ids)


@torch.no_grad()
def test_nothing_but_a_token_is_no_text_and_gives_finite_numbers(tokenizer):
    model, extended = make_regional(tokenizer)
    for implementation in IMPLEMENTATIONS[:2]:
        model.set_attn_implementation(implementation)
        assert model(ids_of(extended, "[MX]", add_special_tokens=False)).logits.isfinite().all()


@torch.no_grad()
def test_embeddings_given_are_of_no_region(regional):
    model, extended = regional
    ids = ids_of(extended, "vamos a comer")
    close(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)


def test_an_attention_mask_of_another_shape_is_refused(regional):
    model, extended = regional
    ids = ids_of(extended, "[MX] vamos")
    with pytest.raises(ValueError, match="needs one of shape"):
        model(ids, attention_mask=torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool))


@pytest.mark.parametrize("cls", HEADS)
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@torch.no_grad()
def test_classifiers_read_the_token(regional, tmp_path, cls, pooling):
    model, extended = regional
    plain, plain_tokenizer = merge_region(model, extended, "mx")
    logits = []
    for name, folder in ((model, tmp_path / "regional"), (plain, tmp_path / "plain")):
        name.save_pretrained(folder)
        torch.manual_seed(0)  # of the head, which is new
        logits.append(cls.from_pretrained(folder, num_labels=4, pooling=pooling).eval())
    regional_head, plain_head = logits
    plain_head.classifier.load_state_dict(regional_head.classifier.state_dict())
    for text in TEXTS[:2]:
        ids = ids_of(extended, f"[MX] {text}")
        found = regional_head(ids).logits
        if cls is BilmaForTokenClassification:
            found = found[without(ids, extended)]
        expected = plain_head(ids_of(plain_tokenizer, text)).logits
        close(found, expected.reshape(found.shape))
        assert (regional_head(ids_of(extended, text)).logits.mean() - expected.mean()).abs() > 1e-4


@pytest.mark.parametrize("pooling", ["cls", "mask"])
@pytest.mark.parametrize("side", ["right", "left"])
@torch.no_grad()
def test_a_classifier_of_one_state_needs_no_other(tokenizer, side, pooling):
    extended = with_region_tokens(tokenizer, REGIONS)
    settings = {"regions": REGIONS, "vocab_size": len(extended), "first_region_token_id": len(tokenizer)}
    model = BilmaForSequenceClassification(tiny_config(pooling=pooling, num_labels=4, **settings)).eval()
    torch.nn.init.normal_(model.bilma.embeddings.region_vector)
    texts = [f"[MX] {TEXTS[3]}", "[AR] vamos", TEXTS[4]]
    batch = extended(texts, padding=True, padding_side=side, return_tensors="pt")
    close(model(**batch).logits, model(**batch, output_hidden_states=True).logits)
    ids = torch.cat((ids_of(extended, "[MX]", add_special_tokens=False), ids_of(extended, TEXTS[0])), dim=1)
    close(model(ids).logits, model(ids, output_hidden_states=True).logits)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@torch.no_grad()
def test_a_compiled_model_gives_the_same_numbers(regional, backend):
    model, extended = regional
    compiled = torch.compile(model, backend=backend)
    ids = torch.cat((ids_of(extended, f"[MX] {TEXTS[0]}"), ids_of(extended, f"[AR] {TEXTS[4]}")), dim=1)
    close(compiled(ids).logits, model(ids).logits)
    first = ids_of(extended, f"[MX] {TEXTS[0]}").shape[1]
    positions = torch.cat((torch.arange(first), torch.arange(ids.shape[1] - first)))[None]
    close(compiled(ids, position_ids=positions).logits, model(ids, position_ids=positions).logits)


def test_resizing_is_refused(regional):
    model, extended = regional
    assert model.resize_token_embeddings(len(extended)) is model.get_input_embeddings()
    with pytest.raises(ValueError, match="cannot be resized.*merge a region first"):
        model.resize_token_embeddings(len(extended) + 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"regions": [], "first_region_token_id": 98}, "is empty or has a region twice"),
        ({"regions": ["mx", "mx"], "first_region_token_id": 98}, "is empty or has a region twice"),
        ({"regions": ["mx", "ar"]}, "first_region_token_id=None leaves no ids"),
        ({"regions": ["mx", "ar"], "first_region_token_id": 99}, "first_region_token_id=99 leaves no ids"),
        ({"regions": ["mx"], "first_region_token_id": 98, "attend_to_padding": True}, "masks nothing"),
    ],
)
def test_impossible_regions_are_refused(wrong, message):
    with pytest.raises(StrictDataclassError, match=message):
        tiny_config(**wrong)


def test_what_cannot_be_added_or_merged_is_refused(regional, tokenizer):
    model, extended = regional
    with pytest.raises(ValueError, match="has parts for ar, mx, ve already"):
        add_regions(model, extended, ["es"])
    with pytest.raises(ValueError, match="no part for the region pe: it has ar, mx, ve"):
        merge_region(model, extended, "pe")
    plain, _ = merge_region(model, extended, None)
    with pytest.raises(ValueError, match="it is plain already"):
        merge_region(plain, tokenizer, "mx")
    with pytest.raises(ValueError, match="has 100 tokens|and the model 100"):
        add_regions(BilmaForMaskedLM(tiny_config()), tokenizer, ["mx"])


def test_the_tokens_survive_saving_and_a_vocabulary_file(regional, tmp_path):
    _, extended = regional
    extended.save_pretrained(tmp_path / "saved")
    vocabulary = sorted(extended.get_vocab(), key=extended.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    for again in (load_tokenizer(tmp_path / "saved"), build_tokenizer(read_vocabulary(tmp_path / "vocab.txt"))):
        assert set(again.convert_tokens_to_ids(["[AR]", "[MX]", "[VE]"])) <= set(again.all_special_ids)
        for text in ("[MX] Vamos a comer", "[MX]Vamos a [AR] comer", "[mx] vamos"):
            assert again(text)["input_ids"] == extended(text)["input_ids"]
    other = with_region_tokens(extended, ["es"])
    assert len(other) == len(extended) - 2
    assert "[MX]" not in other.tokenize("[MX] vamos")


def test_ratios_of_frequencies():
    counts = torch.tensor([[900, 100, 0, 0], [450, 50, 0, 0], [400, 50, 50, 0]])
    ratios = log_frequency_ratios(counts, smoothing=2)
    assert ratios[:, 3].abs().max() == 0, "nothing is known of a token that does not occur"
    assert ratios[0, 0] == pytest.approx(torch.tensor(902 / (1000 * (0.9 + 0.9 + 0.8) / 3 + 2)).log().item())
    assert ratios[2, 2] > 1 > 0 > ratios[0, 2]
    with pytest.raises(ValueError, match="give texts of every region"):
        log_frequency_ratios(torch.tensor([[1, 2], [0, 0]]))
