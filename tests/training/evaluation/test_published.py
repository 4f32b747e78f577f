import pytest

from training.evaluation import published
from training.texts.regions import REGIONS


@pytest.mark.parametrize("name", ["mlm_accuracy", "emoji15_accuracy"])
def test_matrices_are_whole(name):
    matrix = published.matrix(name)
    assert set(matrix) == {(test, model) for test in REGIONS for model in REGIONS}
    assert all(0 < value < 1 for value in matrix.values())


def test_rows_are_the_regions_of_the_texts():
    assert published.matrix("mlm_accuracy")["es", "ar"] == 0.427  # the Argentine model on Spanish texts
    assert published.matrix("mlm_accuracy")["ar", "es"] == 0.379


def test_ten_words_for_each_phrase_and_region():
    for by_region in published.completions().values():
        assert set(by_region) == set(REGIONS)
        assert {len(words) for words in by_region.values()} == {10}
