"""What the Hub checks in the metadata at the head of a model card."""

import re

import yaml
from huggingface_hub.repocard_data import model_index_to_eval_results

METADATA = re.compile(r"\A---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
LICENSES = {"apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "gpl-3.0"}
LICENSES |= {"agpl-3.0", "openrail", "unknown", "other"}


def metadata(card: str) -> dict:
    """The YAML mapping at the head of a card, {} where there is none.

    Raises:
        ValueError: it is no YAML, or no mapping.
    """
    found = METADATA.match(card)
    try:
        data = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as error:
        raise ValueError(f"the metadata is no YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError("the metadata is no mapping")
    return data


def card_errors(card: str) -> list[str]:
    """What makes the Hub refuse a card."""
    try:
        data = metadata(card)
    except ValueError as error:
        return [str(error)]
    errors = []
    if data.get("license", "other") not in LICENSES:
        errors.append(f'"license" must be one of {sorted(LICENSES)}')
    languages = data.get("language", [])
    for language in [languages] if isinstance(languages, str) else languages:
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", str(language)):
            errors.append(f'"language" holds {language!r}, which is no language code')
    errors += [f'"{key}" must be a string' for key in ("pipeline_tag", "library_name") if not text(data.get(key, ""))]
    errors += [f'"{key}" must be strings' for key in ("tags", "datasets") if not all(map(text, data.get(key, [])))]
    if "model-index" in data:
        try:
            model_index_to_eval_results(data["model-index"])
        except (KeyError, TypeError, ValueError) as error:
            errors.append(f'"model-index" is not as documented: {error!r}')
    return errors


def text(value: object) -> bool:
    return isinstance(value, str)
