"""One model of two regions, whose parts the token in front of a text chooses between."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import BIAS, VECTOR, merge_parts
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary, with_region_tokens
from tests.conftest import TINY_OVERRIDES
from tests.training.conftest import REGIONS, TEST_FRACTION, run_main, write_texts
from training import evaluate_family, pretrain, train_tokenizer
from training.common.errors import InputError
from training.evaluation.masked_texts import TestTexts, behind_token, mask_tokens
from training.pretraining.arguments import PretrainArguments, check_arguments
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.regions import get_region, region_token_id, tokens_of_files
from training.texts.splits import text_hash
from training.texts.token_cache import TokenRows, count_by_region, load_tokens

TEXTS = ["Vamos a comer tacos con @ana", "¿Qué onda, güey?", "estoy en [MX] la ciudad", "hola " * 30]


@pytest.fixture(scope="module")
def tokenizer():
    return with_region_tokens(build_tokenizer(train_vocabulary(TEXTS * 3, 300)), REGIONS)


def test_a_region_without_token(tokenizer):
    with pytest.raises(InputError, match=r"no special token \[VE\]"):
        region_token_id(tokenizer, "ve")


@pytest.fixture
def corpus(tmp_path):
    """Texts of two regions; an empty one and one that is no token are skipped, in the first file."""
    files = [write_texts(tmp_path / "ar.jsonl", [*TEXTS, ""]), write_texts(tmp_path / "tweets-mx.jsonl", TEXTS)]
    return Corpus(tuple(files))


def test_in_front_of_every_text_of_its_file(tokenizer, corpus, tmp_path):
    plain, plain_report = load_tokens(corpus, tokenizer, 16, tmp_path / "cache")
    tokens, report = load_tokens(corpus, tokenizer, 16, tmp_path / "cache", tokens_of_files(corpus.files, tokenizer))
    ar, mx = (region_token_id(tokenizer, region) for region in REGIONS)
    assert [ids[1] for ids in tokens["input_ids"]] == [ar] * 4 + [mx] * 4
    assert tokens["text_hash"] == plain["text_hash"] == [text_hash(text) for text in TEXTS] * 2
    for ids, without in zip(tokens["input_ids"], plain["input_ids"], strict=True):
        assert [ids[0], *ids[2:-1]] == without[: len(ids) - 2]
        assert ids[-1] == without[-1] == tokenizer.sep_token_id
        assert len(ids) <= 16
    assert (report.texts, report.empty) == (plain_report.texts, plain_report.empty) == (8, 1)
    assert report.tokens == sum(map(len, tokens["input_ids"]))


def test_the_same_texts_under_another_name_are_not_taken_from_the_cache(tokenizer, corpus, tmp_path):
    load_tokens(corpus, tokenizer, 16, tmp_path / "cache", tokens_of_files(corpus.files, tokenizer))
    renamed = Corpus((corpus.files[0].rename(tmp_path / "mx.jsonl"), corpus.files[1]))
    tokens, _ = load_tokens(renamed, tokenizer, 16, tmp_path / "cache", tokens_of_files(renamed.files, tokenizer))
    assert {ids[1] for ids in tokens["input_ids"]} == {region_token_id(tokenizer, "mx")}


def test_a_file_of_no_region_that_the_model_has_gets_no_token(tokenizer, tmp_path):
    files = [tmp_path / name for name in ("mx.jsonl", "base_youtube.jsonl", "pe.jsonl")]
    assert list(tokens_of_files(files, tokenizer).values()) == [region_token_id(tokenizer, "mx"), None, None]
    with pytest.raises(InputError, match="no name of the 2 files holds a region"):
        tokens_of_files(files[1:], tokenizer)


def test_a_share_of_the_texts_loses_its_token(tokenizer, corpus, tmp_path):
    tokens, _ = load_tokens(corpus, tokenizer, 16, tmp_path / "cache", tokens_of_files(corpus.files, tokenizer))
    texts = np.array([0, 1, 4, 5])  # the third holds a token of its own
    settings = {"texts_per_step": 4, "tokens_per_micro_batch": 1000, "mlm_probability": 1e-9}
    some, every = (MaskedSteps(tokens, texts, tokenizer, region_dropout=share, **settings) for share in (0.25, 0))
    ids = [region_token_id(tokenizer, region) for region in REGIONS]

    def count(steps: MaskedSteps, step: int) -> int:
        return int(np.isin(steps[step].micro_batches[0]["input_ids"].numpy(), ids).sum())

    assert {count(every, step) for step in range(20)} == {4}
    counts = [count(some, step) for step in range(200)]
    assert 0.2 < 1 - np.mean(counts) / 4 < 0.3
    assert counts == [count(some, step) for step in range(200)]


def test_tokens_are_counted_by_region(tokenizer, corpus, tmp_path):
    first_tokens = tokens_of_files(corpus.files, tokenizer) | {corpus.files[1]: None}
    tokens, _ = load_tokens(corpus, tokenizer, 16, tmp_path / "cache", first_tokens)
    first = region_token_id(tokenizer, "ar")
    counts = count_by_region(TokenRows(tokens), np.arange(8), first, 2, len(tokenizer))
    expected = np.bincount(np.concatenate([ids[2:] for ids in tokens["input_ids"][:4]]), minlength=len(tokenizer))
    assert counts.tolist() == [expected.tolist(), [0] * len(tokenizer)]


def test_no_mask_hits_them(tokenizer, corpus, tmp_path):
    tokens, _ = load_tokens(corpus, tokenizer, 16, tmp_path / "cache", tokens_of_files(corpus.files, tokenizer))
    steps = MaskedSteps(tokens, np.arange(len(tokens)), tokenizer, 8, 1000, mlm_probability=0.9)
    labels = np.concatenate([steps[step].micro_batches[0]["labels"].numpy().ravel() for step in range(20)])
    assert (labels > 4).any()
    assert not np.isin(labels, [region_token_id(tokenizer, region) for region in REGIONS]).any()


def test_region_tokens_do_not_change_the_targets(tokenizer):
    test = TestTexts("mx", Corpus(), TEXTS, [text_hash(text) for text in TEXTS], [None] * len(TEXTS))
    plain = mask_tokens(test, tokenizer, 16, 0.3, 2, 0)
    token = region_token_id(tokenizer, "mx")
    behind = behind_token(plain, token)
    assert (behind.targets == plain.targets).all() and (behind.texts == plain.texts).all()
    for row, other in zip(behind.rows, plain.rows, strict=True):
        assert row.input_ids[:2].tolist() == [tokenizer.cls_token_id, token]
        assert np.delete(row.input_ids, 1).tolist() == other.input_ids.tolist()
        assert (row.input_ids[row.positions] == tokenizer.mask_token_id).all()


@pytest.mark.parametrize("flags", [{"streaming": True, "tokenizer": "t"}, {"dataset_name": "org/d", "train_file": []}])
def test_the_region_is_that_of_a_file(flags):
    args = PretrainArguments(
        **{"region": "all", "output_dir": "out", "train_file": ["mx.jsonl"], "max_steps": 1, "region_tokens": True}
        | flags
    )
    with pytest.raises(InputError, match="--region_tokens takes a text's region from the name of its file"):
        check_arguments(args, get_region("all"))


@pytest.fixture(scope="module")
def trained(family, tmp_path_factory):
    """A folder with `one-model`, of both regions with their tokens, and `plain-mx` of one vocabulary with it."""
    home = tmp_path_factory.mktemp("one")
    shared = {"test_fraction": TEST_FRACTION, "output_dir": home / "tokenizer", "train_file": family / "corpora"}
    run_main(train_tokenizer, **shared, vocab_size=500)
    settings = shared | {
        "tokenizer": home / "tokenizer",
        "cache_dir": home / "cache",
        "config_overrides": TINY_OVERRIDES,
        "max_length": 32,
        "learning_rate": 0.02,
        "mixed_precision": "no",
        "num_threads": 1,
        "eval_steps": 0.5,
        "save_steps": 0.5,
    }
    one = {"region": "all", "output_dir": home / "one-model", "region_tokens": True, "max_steps": 60}
    one |= {"add_regions": list(REGIONS), "region_dropout": 0.15, "regional_learning_rate": 0.05}
    run_main(pretrain, **settings | one)
    mx = {
        "region": "mx",
        "output_dir": home / "plain-mx",
        "train_file": family / "corpora" / "mx.jsonl",
        "max_steps": 4,
    }
    run_main(pretrain, **settings | mx)
    return home


@pytest.mark.slow
def test_the_folder_remembers_and_the_pipeline_listens(trained):
    config = json.loads((trained / "one-model" / "config.json").read_text())
    assert config["regions"] == list(REGIONS)
    assert config.get("region") is None
    assert json.loads((trained / "plain-mx" / "config.json").read_text()).get("regions") is None
    fill = pipeline("fill-mask", model=str(trained / "one-model"), trust_remote_code=True)
    answers = {
        region: {answer["token"]: answer["score"] for answer in fill(f"[{region.upper()}] vamos a [MASK]", top_k=500)}
        for region in REGIONS
    }
    difference = max(abs(answers["mx"][token] - answers["ar"][token]) for token in answers["mx"])
    assert difference > 1e-3


@pytest.mark.slow
def test_it_is_compared_with_models_that_have_none(trained, family, tmp_path):
    settings = {
        "corpora": family / "corpora",
        "output_dir": tmp_path / "results",
        "test_fraction": TEST_FRACTION,
        "max_length": 32,
        "mask_draws": 1,
        "resamples": 100,
        "max_test_texts": 20,
    }
    run_main(evaluate_family, models=[trained / "one-model", trained / "plain-mx"], **settings)
    matrix = json.loads((tmp_path / "results" / "mlm_matrix.json").read_text())
    assert [(model["name"], model["region"]) for model in matrix["models"]] == [
        ("one-model", None),
        ("one-model-ar", "ar"),
        ("one-model-mx", "mx"),
        ("plain-mx", "mx"),
    ]
    counts = {(cell["model"], cell["region"]): cell["count"] for cell in matrix["cells"] if cell["targets"] == "all"}
    assert all(counts["one-model", region] == counts["plain-mx", region] > 0 for region in REGIONS)


def test_the_parts_alone_are_trained_and_merged(trained, family, tmp_path):
    settings = {
        "train_file": family / "corpora",
        "cache_dir": trained / "cache",
        "test_fraction": TEST_FRACTION,
        "max_length": 32,
        "max_steps": 3,
        "eval_steps": 3,
        "mixed_precision": "no",
        "num_threads": 1,
        "learning_rate": 0.01,
        "init_from": trained / "one-model",
    }
    before = load_file(trained / "one-model" / "model.safetensors")
    parts = {"region": "all", "output_dir": tmp_path / "parts", "region_tokens": True, "train_only": "regional"}
    run_main(pretrain, **settings | parts)
    after = load_file(tmp_path / "parts" / "model.safetensors")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {BIAS, VECTOR}

    run_main(pretrain, **settings | {"region": "mx", "output_dir": tmp_path / "grown", "learning_rate": 1e-9})
    config = json.loads((tmp_path / "grown" / "config.json").read_text())
    assert (config["region"], config.get("regions")) == ("mx", None)
    one = BilmaForMaskedLM.from_pretrained(trained / "one-model", dtype=torch.float32)
    merged = merge_parts(one, "mx").state_dict()
    grown = load_file(tmp_path / "grown" / "model.safetensors")
    assert grown.keys() <= merged.keys()
    for name, weight in grown.items():  # rounded to the 8 significant bits of bf16
        torch.testing.assert_close(weight.float(), merged[name], rtol=2**-8, atol=1e-8)
