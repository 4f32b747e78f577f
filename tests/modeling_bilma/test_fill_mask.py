"""`pipeline("fill-mask")` scores the masks alone, and answers as the pipeline of transformers does."""

import json

import pytest
import torch
from transformers import AutoConfig, FillMaskPipeline, pipeline
from transformers.pipelines import PipelineException

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.regional import PARTS, add_regions
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.conftest import tiny_config

TEXTS = ["vamos a comer [MASK]", "[MASK] gusta tomar cafe [MASK] la mañana con @ana", "[MASK]"]


@pytest.fixture(scope="module")
def folders(tokenizer, tmp_path_factory):
    """A model of each kind as users save it: `plain`, `regional`, and `padded`, which attends to its padding."""
    home = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name in ("plain", "padded", "regional"):
        config = tiny_config(vocab_size=len(tokenizer), attend_to_padding=name == "padded")
        model, own_tokenizer = BilmaForMaskedLM(config), tokenizer
        if name == "regional":
            model, own_tokenizer = add_regions(model, tokenizer, ["ar", "mx"])
            for part in PARTS:
                torch.nn.init.normal_(model.get_parameter(part))
        model.save_pretrained(home / name)
        own_tokenizer.save_pretrained(home / name)
    return home


def open_pipeline(folder, **options):
    return pipeline("fill-mask", model=str(folder), trust_remote_code=True, **options)


@pytest.mark.parametrize("name", ["plain", "padded", "regional"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("options", [{}, {"top_k": 2}, {"targets": ["vamos", "cafe"]}])
def test_it_answers_as_the_pipeline_of_transformers_does(folders, name, batch_size, options):
    fill = open_pipeline(folders / name)
    assert type(fill).__name__ == "BilmaFillMaskPipeline"
    usual = FillMaskPipeline(model=fill.model, tokenizer=fill.tokenizer)
    texts = [f"[MX] {text}" for text in TEXTS] + TEXTS if name == "regional" else TEXTS
    found, expected = (pipe(texts, batch_size=batch_size, **options) for pipe in (fill, usual))
    for mine, theirs in zip(map(answers, found), map(answers, expected), strict=True):
        assert [answer["sequence"] for answer in mine] == [answer["sequence"] for answer in theirs]
        assert [answer["score"] for answer in mine] == pytest.approx([answer["score"] for answer in theirs], rel=1e-4)


def answers(of_text: list) -> list[dict]:
    """One list, whether the text has one mask or several."""
    return of_text if isinstance(of_text[0], dict) else [answer for of_mask in of_text for answer in of_mask]


def test_the_output_layer_is_computed_at_the_masks_alone(folders):
    fill = open_pipeline(folders / "plain")
    shapes = []
    fill.model.decoder.register_forward_hook(lambda layer, inputs, output: shapes.append(tuple(inputs[0].shape[:-1])))
    for text in TEXTS:
        fill(text)
    assert shapes == [(1, 1), (1, 2), (1, 1)]


@torch.no_grad()
def test_the_model_itself_still_gives_every_logit(folders, tokenizer):
    fill = open_pipeline(folders / "plain")
    inputs = tokenizer(TEXTS[0], return_tensors="pt")
    fill(TEXTS[0])
    logits = fill.model(**inputs).logits
    assert torch.equal(logits, BilmaForMaskedLM.from_pretrained(folders / "plain").eval()(**inputs).logits)
    positions = torch.tensor([[3, 0]])
    some = fill.model(**inputs, output_positions=positions, labels=inputs["input_ids"])
    torch.testing.assert_close(some.logits, logits[:, [3, 0]])
    expected = torch.nn.functional.cross_entropy(logits[0, [3, 0]], inputs["input_ids"][0, [3, 0]])
    torch.testing.assert_close(some.loss, expected)


def test_scores_of_a_bf16_model_add_up(folders):
    fill = open_pipeline(folders / "plain", dtype=torch.bfloat16)
    assert sum(answer["score"] for answer in fill(TEXTS[0], top_k=len(fill.tokenizer))) == pytest.approx(1, abs=1e-4)


def test_what_a_pipeline_holds_can_be_saved_again(folders, tmp_path):
    fill = open_pipeline(folders / "plain")
    fill.save_pretrained(tmp_path)
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())
    assert open_pipeline(tmp_path)(TEXTS[0]) == fill(TEXTS[0])


def test_a_classifier_names_no_fill_mask_pipeline(folders, tmp_path):
    BilmaForSequenceClassification.from_pretrained(folders / "plain").save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).custom_pipelines == {}
    assert AutoConfig.from_pretrained(folders / "plain").custom_pipelines.keys() == {"fill-mask"}


def test_a_text_without_a_mask_is_refused(folders):
    with pytest.raises(PipelineException, match="No mask_token"):
        open_pipeline(folders / "plain")("vamos a comer")


@pytest.mark.parametrize("instructions, dtype", [("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)])
def test_bf16_is_kept_where_the_cpu_multiplies_in_it(folders, tmp_path, monkeypatch, instructions, dtype):
    BilmaForMaskedLM.from_pretrained(folders / "plain", dtype=torch.bfloat16).save_pretrained(tmp_path)
    load_tokenizer(folders / "plain").save_pretrained(tmp_path)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    fill = open_pipeline(tmp_path)
    assert fill.model.dtype == dtype
    in_fp32 = open_pipeline(folders / "plain")
    assert fill(TEXTS[0])[0]["score"] == pytest.approx(in_fp32(TEXTS[0])[0]["score"], rel=0.05)
