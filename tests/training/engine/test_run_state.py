import dataclasses
import json

import pytest

from training.common.errors import InputError
from training.engine.run_state import RunState


def test_a_state_is_read_as_it_was_written(tmp_path):
    best = {"step": 2, "loss": 1.5, "perplexity": 4.5, "masked_accuracy": 0.25, "scored_tokens": 8}
    state = RunState({"seed": 1}, 2, step=3, unlogged_loss=0.1, best=best, history=[{"step": 2, "eval_loss": 1.5}])
    state.write(tmp_path / "run_state.json")
    assert RunState.read(tmp_path / "run_state.json") == state


@pytest.mark.parametrize("change", [{"speed": 1}, {"step": None}])
def test_a_state_of_another_version_is_refused(tmp_path, change):
    content = dataclasses.asdict(RunState({}, 1)) | change
    path = tmp_path / "run_state.json"
    path.write_text(json.dumps({name: value for name, value in content.items() if name != "processes"}))
    with pytest.raises(InputError, match="another version .* --overwrite"):
        RunState.read(path)
    with pytest.raises(InputError, match="another version"):
        RunState.read(tmp_path / "progress.json")
