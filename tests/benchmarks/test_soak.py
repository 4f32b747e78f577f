"""The short form of `make soak`: every fault once, and three random kills."""

from functools import partial

import pytest

from benchmarks.hostile_texts import KINDS, LINES_OF_A_MEGABYTE, feed_hostile_texts
from benchmarks.laboratory import Laboratory
from benchmarks.soak import TRIALS, die_at_random


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Laboratory(tmp_path_factory.mktemp("laboratory"))


RANDOM_KILLS = {f"kill -9 at random moment {n}": partial(die_at_random, seed=n) for n in range(1, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIALS | RANDOM_KILLS)
def test_a_run_survives(lab, name):
    (TRIALS | RANDOM_KILLS)[name](lab, name)


def test_hostile_texts_go_through_without_a_crash_or_a_nan(tmp_path):
    number = 240 * len(KINDS)
    became = feed_hostile_texts(tmp_path, number, long_lines=len(LINES_OF_A_MEGABYTE))
    assert became["trained_on"] > number / 2
    assert became["empty"] > 120 and became["not_unicode"] >= 60
