"""The region of a record: a given one, a column, a file of rules, or the name of the dump."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import regex
import yaml

from training.common.errors import InputError
from training.corpus_preparation.records import Record, value_at
from training.texts.regions import region_of_file

RegionOf = Callable[[Record, str], str | None]  # of a record and the path of its dump
Rules = list[tuple[str, Callable[[str], str | None]]]  # columns, and the region of a value
_CODE = regex.compile("[a-z]{2}")
_KEYS = {"column", "values", "patterns"}


def region_finder(region: str | None, column: str | None, rules: str | None, files: tuple[Path, ...]) -> RegionOf:
    """Return what finds the region of a record, in the way that one of three flags says, or by the dumps' names.

    Raises:
        InputError: if several flags are given, a code is not two letters, the rules are not valid, or without a flag
            the name of a dump holds no region.
    """
    if sum(given is not None for given in (region, column, rules)) > 1:
        raise InputError("give one of --region, --region_column and --region_rules")
    if region is not None:
        return partial(_given, code=_code(region, "--region"))
    if column is not None:
        return partial(_by_rules, rules=[(column, _code_or_none)])
    if rules is not None:
        return partial(_by_rules, rules=read_rules(Path(rules)))
    for file in files:
        region_of_file(file)
    return _of_name


def _given(record: Record, path: str, code: str) -> str:
    return code


def _of_name(record: Record, path: str) -> str:
    return region_of_file(Path(path))


def _by_rules(record: Record, path: str, rules: Rules) -> str | None:
    """Return what the first rule says that knows the record's value."""
    for column, region_of_value in rules:
        value = value_at(record, column)
        if isinstance(value, str) and (region := region_of_value(value.strip())):
            return region
    return None


def _code_or_none(value: str) -> str | None:
    return value.lower() if _CODE.fullmatch(value.lower()) else None


def _code(value: Any, where: str) -> str:
    if isinstance(value, bool):
        raise InputError(f"{where}: YAML reads this code as {value}: write it in quotation marks")
    if not isinstance(value, str) or not _CODE.fullmatch(value.lower()):
        raise InputError(f"{where}: {value!r} is not a two-letter country code, such as mx")
    return value.lower()


def read_rules(path: Path) -> Rules:
    """Read a YAML list of rules, of which the first that knows a record decides.

    A rule has a `column`, and `values`, which maps values to regions regardless of case, or `patterns`, which maps
    regular expressions to regions; the first pattern found in the value decides.

    Raises:
        InputError: if the file cannot be read or is no such list.
    """
    try:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--region_rules {path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(rules, list) or not rules:
        raise InputError(f"--region_rules {path}: no list of rules, which begin with `- column: place.country_code`")
    return [_rule(rule, f"--region_rules {path}, rule {number}") for number, rule in enumerate(rules, start=1)]


def _rule(rule: Any, where: str) -> tuple[str, Callable[[str], str | None]]:
    ways = {"values", "patterns"} & set(rule) if isinstance(rule, dict) else set()
    if len(ways) != 1 or not isinstance(rule.get("column"), str) or set(rule) - _KEYS:
        raise InputError(f"{where}: give `column`, and `values` or `patterns`, and nothing else")
    (way,) = ways
    if not isinstance(rule[way], dict):
        raise InputError(f"{where}: {way} is no mapping to regions, such as `Argentina: ar`")
    regions = {str(key): _code(code, where) for key, code in rule[way].items()}
    if way == "values":
        return rule["column"], partial(_listed, values={key.lower(): code for key, code in regions.items()})
    try:
        patterns = [(regex.compile(key, regex.IGNORECASE), code) for key, code in regions.items()]
    except regex.error as error:
        raise InputError(f"{where}: not a regular expression ({error})") from error
    return rule["column"], partial(_matching, patterns=patterns)


def _listed(value: str, values: dict[str, str]) -> str | None:
    return values.get(value.lower())


def _matching(value: str, patterns: list[tuple[regex.Pattern[str], str]]) -> str | None:
    return next((code for pattern, code in patterns if pattern.search(value)), None)
