import json

import numpy as np
import pytest

from training.common.errors import InputError
from training.evaluation.results import SCHEMA_VERSION, check_new, read_results, write_result

RESULT = {"schema_version": SCHEMA_VERSION, "kind": "region_words"}


def test_results_come_back(tmp_path):
    values = {"counts": np.arange(2), "number": np.float64(0.1)}
    write_result(tmp_path / "new", RESULT | values)
    assert read_results(tmp_path / "new")["region_words"] == RESULT | {
        "counts": [0, 1],
        "number": 0.1,
    }
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["region_words.json"]


def test_what_json_cannot_hold_replaces_nothing(tmp_path):
    write_result(tmp_path, RESULT)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path, RESULT | {"value": float("nan")})
    assert read_results(tmp_path)["region_words"] == RESULT


def test_results_are_not_replaced_unless_told_to(tmp_path):
    write_result(tmp_path, RESULT)
    check_new(tmp_path, ["mlm_matrix", "completions"], overwrite=False)
    check_new(tmp_path, ["region_words"], overwrite=True)
    with pytest.raises(InputError, match="already holds region_words.json.*--overwrite"):
        check_new(tmp_path, ["mlm_matrix", "region_words"], overwrite=False)
    with pytest.raises(InputError, match="is a file"):
        check_new(tmp_path / "region_words.json", [], overwrite=True)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps(RESULT | {"schema_version": 0}), '{"kind": "other"}'])
def test_files_that_are_no_results(tmp_path, content):
    (tmp_path / "region_words.json").write_text(content)
    with pytest.raises(InputError):
        read_results(tmp_path)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(InputError, match="no result in this folder"):
        read_results(tmp_path)
