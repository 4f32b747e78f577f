import json

import numpy as np
import pytest

from training.common.errors import InputError
from training.evaluation.intervals import Estimate
from training.evaluation.results import SCHEMA, check_new, read_results, write_result

RESULT = {"schema_version": SCHEMA, "kind": "similarity"}


def test_results_come_back(tmp_path):
    values = {"estimate": Estimate(0.5, 0.4, 0.6), "counts": np.arange(2), "number": np.float64(0.1)}
    write_result(tmp_path / "new", RESULT | values)
    assert read_results(tmp_path / "new")["similarity"] == RESULT | {
        "estimate": {"value": 0.5, "low": 0.4, "high": 0.6},
        "counts": [0, 1],
        "number": 0.1,
    }
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["similarity.json"]


def test_what_json_cannot_hold_replaces_nothing(tmp_path):
    write_result(tmp_path, RESULT)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_result(tmp_path, RESULT | {"value": float("nan")})
    assert read_results(tmp_path)["similarity"] == RESULT


def test_results_are_not_replaced_unless_told_to(tmp_path):
    write_result(tmp_path, RESULT)
    check_new(tmp_path, ["mlm_matrix", "completions"], overwrite=False)
    check_new(tmp_path, ["similarity"], overwrite=True)
    with pytest.raises(InputError, match="already holds similarity.json.*--overwrite"):
        check_new(tmp_path, ["mlm_matrix", "similarity"], overwrite=False)
    with pytest.raises(InputError, match="is a file"):
        check_new(tmp_path / "similarity.json", [], overwrite=True)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps(RESULT | {"schema_version": 0}), '{"kind": "other"}'])
def test_files_that_are_no_results(tmp_path, content):
    (tmp_path / "similarity.json").write_text(content)
    with pytest.raises(InputError):
        read_results(tmp_path)


def test_a_folder_without_results(tmp_path):
    with pytest.raises(InputError, match="no result in this folder"):
        read_results(tmp_path)
