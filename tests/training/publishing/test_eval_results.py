"""The results as huggingface_hub reads them again, from both formats."""

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from tests.training.publishing.trained_folder import emoji_results, mlm_results, publication
from training.common.errors import InputError
from training.publishing.eval_results import eval_entries, eval_result_files, model_index


def read_back(own, results):
    """The entries of the one file that there is."""
    [(path, text)] = eval_result_files(own, results).items()
    assert path == ".eval_results/bilma-benchmark.yaml"
    return parse_eval_result_entries(yaml.safe_load(text))


def test_masked_accuracy_on_every_region_the_own_one_first(tmp_path):
    own = publication(tmp_path)
    results = mlm_results(own)
    entries = read_back(own, results)
    assert entries == eval_entries(own, results)
    assert [(entry.task_id, entry.value) for entry in entries] == [("mlm_mx", 0.3457), ("mlm_ar", 0.31)]
    for entry in entries:
        assert entry.dataset_id == "org/bilma-benchmark"
        validate_repo_id(entry.dataset_id)
        assert entry.source_url == "https://huggingface.co/org/bilma-mx/blob/v1.0/results/mlm_matrix.json"
    assert entries[0].notes == (
        "4,000 hidden tokens of 900 texts of mx.jsonl.gz (fingerprint mxmxmxmxmxmx), 15 % hidden, all as [MASK]; "
        "95 % interval 0.3357 to 0.3557"
    )


def test_emoji_accuracy(tmp_path):
    own = publication(tmp_path, emoji=True)
    entries = read_back(own, emoji_results(own))
    assert [(entry.task_id, entry.value) for entry in entries] == [("emoji15_mx", 0.28), ("emoji15_ar", 0.2)]
    assert entries[0].notes == "130 texts of mx.jsonl.gz (fingerprint mxmxmxmxmxmx); 95 % interval 0.2000 to 0.3600"


@pytest.mark.parametrize(("emoji", "metrics"), [(False, ["accuracy", "perplexity"]), (True, ["accuracy", "f1"])])
def test_the_older_format_holds_the_same_numbers(tmp_path, emoji, metrics):
    own = publication(tmp_path, emoji=emoji)
    results = emoji_results(own) if emoji else mlm_results(own)
    scores = model_index(own, results)
    name, read = model_index_to_eval_results(eval_results_to_model_index(own.name, scores))
    assert (name, read) == (own.name, scores)
    assert [score.metric_type for score in scores] == 2 * metrics
    headline = {score.dataset_config: score.metric_value for score in scores if score.metric_type == "accuracy"}
    assert headline == {entry.task_id: entry.value for entry in eval_entries(own, results)}


def test_results_of_other_weights_are_refused(tmp_path):
    own, other = publication(tmp_path / "own"), publication(tmp_path / "other")
    (other.folder / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(InputError, match=r"none of those in mlm_matrix.json \(other, run-7\): run evaluate_family.py"):
        eval_result_files(other, mlm_results(own))
