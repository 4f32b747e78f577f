"""Read every repository back from the Hub as a visitor would, and check its first answer or file."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi

from training.publishing.card import card_example
from training.publishing.hub import HUB_ERRORS, MODEL, Upload, in_one_line
from training.publishing.opening import open_in_clean_process
from training.publishing.tree import CARD, files_of


def read_back(api: HfApi, uploads: Sequence[Upload], private: bool) -> dict[str, str]:
    """Run the example on every model's card, and download a file of every other repository.

    Returns:
        What is wrong, by repository; {} if nothing is.
    """
    models = [upload for upload in uploads if upload.kind == MODEL]
    wrong = compare_examples(api, models, private) if models else {}
    for upload in uploads:
        if upload.kind != MODEL and (reason := compare_file(api, upload)):
            wrong[upload.repo_id] = reason
    return wrong


def compare_examples(api: HfApi, uploads: Sequence[Upload], private: bool) -> dict[str, str]:
    """Run the example on each card with transformers alone, and report those whose output differs from the card."""
    examples = [card_example((upload.tree / CARD).read_text(encoding="utf-8")) for upload in uploads]
    environment = {"HF_ENDPOINT": api.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if private and isinstance(api.token, str):
        environment["HF_TOKEN"] = api.token
    reports = open_in_clean_process([{"code": code} for code, _ in examples], **environment)
    wrong = {}
    for upload, (_, shown), report in zip(uploads, examples, reports, strict=True):
        if "error" in report:
            wrong[upload.repo_id] = f"does not open when read back: {' '.join(report['error'].split())}"
        elif report["printed"] != shown:
            wrong[upload.repo_id] = f"prints {report['printed']!r} when read back, but its card shows {shown!r}"
    return wrong


def compare_file(api: HfApi, upload: Upload) -> str | None:
    """Compare a file of a data set or Space with what was sent; return what is wrong, or None."""
    name = next((path for path in files_of(upload.tree) if path.endswith((".jsonl", ".html"))), CARD)
    with TemporaryDirectory() as folder:
        try:
            path = Path(api.hf_hub_download(upload.repo_id, name, repo_type=upload.kind, local_dir=folder))
        except HUB_ERRORS as error:
            return f"{name} cannot be read back: {in_one_line(error, api)}"
        content = path.read_bytes()
    if content != (upload.tree / name).read_bytes():
        return f"{name} differs from what was sent when read back"
    return None
