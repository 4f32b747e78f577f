"""A classifier of all regions, trained, compared and evaluated by the scripts: its tree, its card, its figures."""

import json
import re

import pytest
from huggingface_hub import ModelCard

from modeling_bilma.published import EMOJI_15
from tests.training.conftest import REGIONS, TEST_FRACTION, run_main, save_body, write_texts
from training import baselines, compare_classifiers, evaluate_family, finetune
from training.evaluation.results import number, read_results
from training.publishing.preparation import prepare
from training.publishing.publication import open_publications
from training.texts.synthetic import generate_texts

EMOJI = EMOJI_15[:2]


@pytest.fixture(scope="module")
def home(family, tmp_path_factory):
    """`bilma-emoji` and `results`: texts of two regions, whose emoji is told by their first word."""
    home = tmp_path_factory.mktemp("pooled")
    texts = [text for pair in zip(*(generate_texts(region, 300) for region in REGIONS), strict=True) for text in pair]
    labels = [EMOJI[number // 2 % 2] for number in range(len(texts))]
    worded = [f"{'bueno' if label == EMOJI[0] else 'malo'} {text}" for text, label in zip(texts, labels, strict=True)]
    file = write_texts(home / "emoji.jsonl", worded, label=labels, region=[*REGIONS] * 300)
    data = {"task": "emoji15", "label_column": "label", "train_file": file, "test_fraction": TEST_FRACTION}
    run_main(
        finetune,
        *("--region_tokens", "--soup"),
        **data,
        model=save_body(family, home / "bilma"),
        output_dir=home / "bilma-emoji",
        pooling="mask",
        seeds=[0, 1],
        mlm_weight=0,
        num_train_epochs=1,
        learning_rate=0.005,
        max_length=24,
        mixed_precision="no",
        num_threads=1,
    )
    run_main(baselines, **data, output_dir=home / "simple")
    run_main(
        compare_classifiers,
        classifiers=home / "bilma-emoji",
        baselines=home / "simple",
        output_dir=home / "results",
        resamples=100,
    )
    run_main(
        evaluate_family,
        emoji_models=home / "bilma-emoji",
        emoji_files=file,
        output_dir=home / "results",
        test_fraction=TEST_FRACTION,
        max_length=24,
        resamples=100,
    )
    return home


@pytest.fixture(scope="module")
def results(home):
    return read_results(home / "results")


@pytest.fixture(scope="module")
def tree(home, results, tmp_path_factory):
    """Opened in a clean process, and checked."""
    publications = list(open_publications(home / "bilma-emoji", "org", None, home / "merged"))
    [tree] = prepare(publications, home / "results", results, tmp_path_factory.mktemp("trees"))
    return tree


@pytest.fixture
def card(tree):
    return ModelCard((tree / "README.md").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_rows_are_regions_and_not_repositories_that_do_not_exist(card, results):
    cells = {(cell["model"], cell["region"]): number(cell["accuracy"]) for cell in results["emoji15_matrix"]["cells"]}
    for region in REGIONS:
        behind, without = cells[f"bilma-emoji-{region}", region], cells["bilma-emoji", region]
        assert f"| {region} | {behind} | {without} |" in card.text
    assert not re.search("emoji-(ar|mx)|bilma-(ar|mx)-emoji", card.content)
    assert [(score.metric_name[-2:], round(score.metric_value, 3)) for score in card.data.eval_results] == [
        (region.upper(), float(cells[f"bilma-emoji-{region}", region][:5])) for region in REGIONS
    ]


@pytest.mark.slow
def test_the_headline_is_that_of_the_comparison_over_all_regions(card, results, tree):
    [task] = results["classifiers"]["tasks"]
    shown = {cell["method"]: number(cell["accuracy"]) for cell in task["cells"] if cell["region"] == "all"}
    own = shown.pop("bilma-emoji (average)")
    assert f"its accuracy is **{own}**" in card.text
    del shown["bilma-emoji"]
    assert any(f"{name}: {score}" in card.text for name, score in shown.items() if score == max(shown.values()))
    assert json.loads((tree / "results" / "classifiers.json").read_text())["tasks"] == [task]


@pytest.mark.slow
def test_the_example_is_behind_the_token_of_a_region(card):
    assert 'pipe("[AR] ' in card.text and all(one["text"].startswith("[AR] ") for one in card.data.widget)
    assert {"es-AR", "es-MX"} <= set(card.data.tags)
