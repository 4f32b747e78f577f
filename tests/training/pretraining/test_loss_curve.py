from training.pretraining.loss_curve import draw_loss_curve


def test_a_picture_is_drawn_from_the_metrics_alone(tmp_path):
    history = [{"step": step, "loss": 5 / step, "masked_accuracy": 0.1} for step in (10, 20)]
    history.append({"step": 20, "eval_loss": 1.0, "eval_masked_accuracy": 0.2})
    metrics = {"region": "mx", "history": history, "validation": {"masked_accuracy": 0.2, "step": 20}}
    draw_loss_curve(metrics, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
