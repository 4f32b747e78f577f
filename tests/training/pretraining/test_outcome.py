import pytest

from training.pretraining.outcome import doubt_about


@pytest.mark.parametrize(
    ("best", "steps", "said"),
    [
        (0, [0, 10, 20], "the model of --init_from, which is kept unchanged"),
        (10, [10, 20], "the first evaluation, at step 10"),
        (20, [10, 20], None),
        (10, [0, 10, 20], None),
        (10, [10], None),
    ],
)
def test_a_training_that_did_not_help_is_doubted(best, steps, said):
    history = [{"step": step, "eval_loss": 1.0} for step in steps] + [{"step": 5, "loss": 2.0}]
    doubt = doubt_about({"step": best}, history)
    assert doubt is None if said is None else said in doubt
