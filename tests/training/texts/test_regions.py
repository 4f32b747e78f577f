import csv

import pytest

from tests.conftest import ROOT
from training.common.errors import InputError
from training.texts.regions import REGIONS, get_region, region_of_name

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


@pytest.mark.parametrize(
    ("name", "region"),
    [("bilma-mx", "mx"), ("news_tweets_es", "es"), ("MX", "mx"), ("pe", "pe"), ("de_ar_y_mx", "ar"), ("beto", None)],
)
def test_the_region_that_a_name_holds(name, region):
    assert region_of_name(name) == region
