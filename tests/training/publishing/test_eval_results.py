"""The results as huggingface_hub reads them again, from both formats."""

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from training.common.errors import InputError
from training.publishing.eval_results import eval_result_file, model_index, name_in


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("bilma", [("over words, AR", 0.21), ("over words, MX", 0.22)]),
        (
            "bilma-mx",
            [("accuracy over words, MX", 0.2467), ("Perplexity over words, MX", 60), ("all tokens, MX", 0.3467)],
        ),
        ("bilma-mx-emoji", [("Accuracy, MX", 0.31), ("Macro-F1, MX", 0.155)]),
    ],
)
def test_the_headline_figures(publications, results, name, figures):
    scores = model_index(publications[name], results)
    assert len(scores) == len(figures)
    for score, (ending, value) in zip(scores, figures, strict=True):
        assert score.metric_name.endswith(ending) and score.metric_value == pytest.approx(value)
    assert model_index_to_eval_results(eval_results_to_model_index(name, scores)) == (name, scores)


def test_regional_tests_of_a_regional_model(publications, results):
    entries = parse_eval_result_entries(yaml.safe_load(eval_result_file(publications["bilma-mx"], results)))
    assert [(entry.task_id, entry.value) for entry in entries] == [("lexical_cloze_mx", 0.625), ("all_mx", 0.625)]
    assert {entry.dataset_id for entry in entries} == {"org/bilma-regional-tests"}
    assert "0.5250 to 0.7250" in entries[0].notes


@pytest.mark.parametrize("name", ["bilma", "bilma-mx-emoji"])
def test_models_that_the_regional_tests_do_not_measure(publications, results, name):
    assert eval_result_file(publications[name], results) is None


def test_a_model_is_known_by_its_weights_and_region(publications, results):
    result = results["mlm_matrix"]
    assert [name_in(result, publications[name]) for name in ("bilma", "bilma-mx")] == ["bilma", "bilma-mx"]
    classifier = publications["bilma-mx-emoji"]
    command = f"evaluate_family.py --emoji_models {classifier.trained} --corpora CORPORA --output_dir RESULTS"
    line = rf"not among those in mlm_matrix.json \(bilma, bilma-ar, bilma-mx\): run {command}, .*RESULTS as --results"
    with pytest.raises(InputError, match=line):
        name_in(result, classifier)
    with pytest.raises(InputError, match=f"--models {publications['bilma'].trained} --corpora"):
        name_in({"kind": "mlm_matrix", "models": []}, publications["bilma"])
