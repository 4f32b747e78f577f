import csv

import pytest

from tests.conftest import ROOT
from training.errors import InputError
from training.regions import REGIONS, get_region

PUBLISHED = ROOT.parent / "shared" / "published" / "regions.csv"


def test_there_are_eight_regions():
    assert sorted(REGIONS) == ["ar", "cl", "co", "es", "mx", "us", "uy", "ve"]


def test_published_facts():
    mexico = get_region("MX")
    assert (mexico.country, mexico.tweets_millions, mexico.published_epochs) == ("Mexico", 115.53, 1)
    assert {code for code, region in REGIONS.items() if region.published_epochs == 3} == {"cl", "us", "uy", "ve"}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the authors' table is not beside the checkout")
def test_facts_are_those_of_the_authors_table():
    for row in csv.DictReader(PUBLISHED.read_text().splitlines()):
        region = REGIONS[row["code"].lower()]
        assert region.country == row["country"]
        for name in ("users_thousands", "tweets_millions", "tokens_millions", "published_epochs"):
            assert getattr(region, name) == float(row[name]), (row["code"], name)


def test_another_country_has_no_facts():
    assert get_region("pe").published_epochs is None


@pytest.mark.parametrize("code", ["mexico", "m1", "", "méx"])
def test_what_is_no_country_code_is_refused(code):
    with pytest.raises(InputError, match="give a two-letter country code"):
        get_region(code)
