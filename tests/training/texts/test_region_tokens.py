"""One model of two regions, told by a token in front of every text which one a text is of."""

import json

import numpy as np
import pytest
from transformers import pipeline

from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, read_vocabulary, train_vocabulary
from tests.conftest import TINY_OVERRIDES
from tests.training.conftest import REGIONS, TEST_FRACTION, run_main, write_texts
from training import evaluate_family, pretrain, train_tokenizer
from training.common.errors import InputError
from training.evaluation.questions import AskedTexts, behind_token, masked_tokens
from training.pretraining.arguments import PretrainArguments, check_arguments
from training.pretraining.steps import MaskedSteps
from training.texts.corpus import Corpus
from training.texts.regions import get_region, region_token_id, tokens_of_files
from training.texts.splits import text_hash
from training.texts.token_cache import load_tokens

TEXTS = ["Vamos a comer tacos con @ana", "¿Qué onda, güey?", "estoy en [MX] la ciudad", "hola " * 30]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(train_vocabulary(TEXTS * 3, 300, regions=REGIONS))


def test_a_token_for_each_region(tokenizer, tmp_path):
    ids = {region: region_token_id(tokenizer, region) for region in REGIONS}
    assert ids == {"ar": 5, "mx": 6}
    assert set(ids.values()) <= set(tokenizer.all_special_ids)
    plain = tokenizer("Vamos a comer")["input_ids"]
    for text in ("[MX] Vamos a comer", "[MX]Vamos a comer"):
        assert tokenizer(text)["input_ids"] == [plain[0], 6, *plain[1:]]
    assert 6 not in tokenizer("[mx] Vamos")["input_ids"]
    tokenizer.save_pretrained(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert region_token_id(again, "mx") == 6
    assert again("[MX] Vamos a comer")["input_ids"] == [plain[0], 6, *plain[1:]]


def test_a_vocabulary_file_keeps_them(tokenizer, tmp_path):
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    assert region_token_id(build_tokenizer(read_vocabulary(tmp_path / "vocab.txt")), "ar") == 5


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
    assert [ids[1] for ids in tokens["input_ids"]] == [5] * 4 + [6] * 4
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
    assert {ids[1] for ids in tokens["input_ids"]} == {6}


def test_no_mask_hits_them(tokenizer, corpus, tmp_path):
    tokens, _ = load_tokens(corpus, tokenizer, 16, tmp_path / "cache", tokens_of_files(corpus.files, tokenizer))
    steps = MaskedSteps(tokens, np.arange(len(tokens)), tokenizer, 8, 1000, mlm_probability=0.9)
    labels = np.concatenate([steps[step].micro_batches[0]["labels"].numpy().ravel() for step in range(20)])
    assert (labels > 6).any()
    assert not np.isin(labels, [5, 6]).any()


def test_the_same_targets_are_asked(tokenizer):
    test = AskedTexts("mx", Corpus(), TEXTS, [text_hash(text) for text in TEXTS])
    plain = masked_tokens(test, tokenizer, 16, 0.3, 2, 0)
    behind = behind_token(plain, 6)
    assert (behind.targets == plain.targets).all() and (behind.texts == plain.texts).all()
    for row, other in zip(behind.rows, plain.rows, strict=True):
        assert row.input_ids[:2].tolist() == [tokenizer.cls_token_id, 6]
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
    run_main(train_tokenizer, **shared, vocab_size=500, regions=list(REGIONS))
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
    run_main(pretrain, **settings | one)
    mx = {
        "region": "mx",
        "output_dir": home / "plain-mx",
        "train_file": family / "corpora" / "mx.jsonl",
        "max_steps": 4,
    }
    run_main(pretrain, **settings | mx)
    return home


def test_the_folder_remembers_and_the_pipeline_listens(trained):
    config = json.loads((trained / "one-model" / "config.json").read_text())
    assert config["region_tokens"] is True
    assert config.get("region") is None
    assert not json.loads((trained / "plain-mx" / "config.json").read_text()).get("region_tokens")
    fill = pipeline("fill-mask", model=str(trained / "one-model"), trust_remote_code=True)
    answers = {
        region: {answer["token"]: answer["score"] for answer in fill(f"[{region.upper()}] vamos a [MASK]", top_k=500)}
        for region in REGIONS
    }
    difference = max(abs(answers["mx"][token] - answers["ar"][token]) for token in answers["mx"])
    assert difference > 1e-3


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
        ("plain-mx", "mx"),
    ]
    counts = {(cell["model"], cell["region"]): cell["count"] for cell in matrix["cells"] if cell["targets"] == "all"}
    assert all(counts["one-model", region] == counts["plain-mx", region] > 0 for region in REGIONS)
