import pytest

from benchmarks.predict import DTYPES, MAX_LENGTH, ROOT, measure, save_classifier, shares_of_time, speeds, write_texts
from modeling_bilma import BilmaForMaskedLM
from tests.conftest import TEXTS, tiny_config


@pytest.fixture
def classifier(tokenizer, tmp_path):
    config = tiny_config(vocab_size=len(tokenizer), max_position_embeddings=MAX_LENGTH)
    BilmaForMaskedLM(config).save_pretrained(tmp_path / "body")
    tokenizer.save_pretrained(tmp_path / "body")
    save_classifier(str(tmp_path / "body"), "cls", tmp_path / "model")
    return tmp_path / "model"


def test_the_start_is_what_two_sizes_have_in_common():
    """A start of 2 seconds, 1 of them of processor time, and 100 texts per second, 200 of processor time."""
    found = speeds(100, 500, [(3, 1.5)] * 2, [(7, 3.5)] * 2)
    medians = {name: speed["median"] for name, speed in found.items()}
    assert medians["clock, start excluded"] == pytest.approx(100)
    assert medians["processor time, start excluded"] == pytest.approx(200)
    assert medians["clock, start included"] == pytest.approx(500 / 7, rel=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_shares_are_of_all_the_time(classifier, tmp_path, dtype):
    shares = shares_of_time(classifier, write_texts(tmp_path / "in.csv", TEXTS, 300), dtype)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert min(shares.values()) >= 0 and shares["matrix products"] > 0


@pytest.mark.slow
def test_the_script_of_a_checkout_is_timed(classifier, tmp_path):
    files = {size: write_texts(tmp_path / f"{size}.csv", TEXTS, size) for size in (5, 300)}
    found = measure({"now": ROOT}, classifier, files, rounds=1)
    assert set(found) == set(DTYPES)
    for of_dtype in found.values():
        assert set(of_dtype) == {"now"}
        assert all(speed["clock, start included"]["median"] > 0 for speed in of_dtype.values())
    with pytest.raises(SystemExit, match="ended with status 2"):
        measure({"now": ROOT}, tmp_path / "nothing", files, rounds=1)
