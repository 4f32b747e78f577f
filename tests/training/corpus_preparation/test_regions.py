"""Which region a record is of."""

from pathlib import Path

import pytest

from training import corpus_preparation
from training.common.errors import InputError
from training.corpus_preparation.regions import region_finder

RULES = Path(corpus_preparation.__file__).parent / "region_rules.yaml"


@pytest.mark.parametrize(
    ("record", "region"),
    [
        ({"place": {"country_code": "UY"}, "user": {"location": "Madrid"}}, "uy"),
        ({"place": {"country_code": "PE"}, "user": {"location": "Bogotá, Colombia"}}, "co"),
        ({"place": None, "user": {"location": "vivo en CDMX"}}, "mx"),
        ({"user": {"location": "la luna"}}, None),
        ({}, None),
    ],
)
def test_the_rules_that_come_with_the_script(record, region):
    assert region_finder(None, None, str(RULES), ())(record, "") == region


def test_a_column_holds_codes():
    find = region_finder(None, "country", None, ())
    assert [find({"country": value}, "") for value in ("MX", "pe", "Perú", None, 3)] == ["mx", "pe", None, None, None]


def test_the_name_of_a_dump():
    dumps = (Path("tweets-cl.jsonl.gz"),)
    assert region_finder(None, None, None, dumps)({}, str(dumps[0])) == "cl"
    with pytest.raises(InputError, match="holds no region's two letters"):
        region_finder(None, None, None, (Path("dump-000.jsonl"),))


def test_two_ways_at_once_are_refused():
    with pytest.raises(InputError, match="give one of"):
        region_finder("mx", "country", None, ())


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("x: 1", "no list of rules"),
        ("- column: a", "rule 1: give `column`"),
        ("- {column: a, values: {Norge: no}}", "YAML reads this code as False"),
        ("- {column: a, values: [AR]}", "no mapping"),
        ("- {column: a, patterns: {'(': ar}}", "not a regular expression"),
        ("[", "not readable as YAML"),
    ],
)
def test_rules_that_are_wrong(tmp_path, rules, message):
    path = tmp_path / "rules.yaml"
    path.write_text(rules)
    with pytest.raises(InputError, match=message):
        region_finder(None, None, str(path), ())
