"""Collect what the family's page and cards show."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.common.errors import InputError
from training.common.files import read_json, write_text
from training.evaluation.figures import save
from training.evaluation.results import read_results
from training.family.arguments import BASELINES
from training.family.page import FIGURES, OURS, STAGES_FILE, FamilyModel, WaysComparison, open_model, published_figures
from training.family.plan import BASE, WAYS_RESULTS
from training.family.plan import RESULTS as FAMILY_RESULTS
from training.family.stages import RECORDS
from training.finetuning.baselines import METHODS
from training.publishing.eval_results import RESULTS
from training.publishing.publication import open_publication
from training.publishing.tree import LOSS_CURVE
from training.texts.emoji15 import EMOJI_TASK

PAGE, METRICS = "README.md", "metrics.json"
BEGIN, END = "<!-- family: made by training/present_family.py -->", "<!-- end of family -->"
# Of a repository's tree, what is shown here; all of it is replaced each time.
SHOWN = ("README.md", "metrics.json", "training_args.json", LOSS_CURVE, ".eval_results", RESULTS, FIGURES)


def read_page(path: Path) -> str:
    """The page with a null character in the place of the generated part.

    Raises:
        InputError: if the page or one of the marks is not there.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(
            f"{path}: no part to replace: write {BEGIN} and, below it, {END} where the family is to stand"
        )
    return f"{before}\0{after}"


def open_models(family: Path, results: dict[str, dict[str, Any]], org: str, tag: str | None) -> list[FamilyModel]:
    """The models that the results are of, from the folders that have their names.

    Raises:
        InputError: if there is no result of masked models, or a folder is not there.
    """
    if "mlm_matrix" not in results:
        raise InputError(f"{family / FAMILY_RESULTS}: no mlm_matrix.json: go on with train_family.py")
    names = [
        model["name"] for kind in ("mlm_matrix", "emoji15_matrix") for model in results.get(kind, {}).get("models", [])
    ]
    return [open_model(open_publication(family / name, org, tag), name) for name in names]


def copy_results(family: Path, results: dict[str, dict[str, Any]], new: Path) -> dict[str, float]:
    """Fill the results' folder; returns the seconds of each stage."""
    source = family / FAMILY_RESULTS
    (new / RESULTS / FIGURES).mkdir(parents=True)
    for path in [source / "report.md", *(source / f"{kind}.json" for kind in results), *source.glob("figures/*.png")]:
        shutil.copyfile(path, new / RESULTS / path.relative_to(source))
    for name, figure in published_figures(results):
        save(figure, new / RESULTS / FIGURES / name).with_suffix(".svg").unlink()
    told = {
        name: {"seconds": record["seconds"], "made_from": record["identity"]}
        for name, record in sorted(records(family).items(), key=lambda item: item[1]["number"])
    }
    write_text(new / STAGES_FILE, json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return {name: record["seconds"] for name, record in told.items()}


def records(family: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: read_json(path) for path in (family / RECORDS).glob("*.json")}


def copy_ways(family: Path, others: Sequence[Path], new: Path) -> list[WaysComparison]:
    """The family's own comparison of ways, if there is one, and those of other runs, beside the results.

    Raises:
        InputError: if one of the others is not there, or two have one name.
    """
    ways = []
    for run_folder in (family, *others):
        source, is_own = run_folder / WAYS_RESULTS / f"{WAYS}.json", run_folder == family
        if is_own and not source.exists():
            continue
        result = read_results(source.parent).get(WAYS)
        if result is None:
            raise InputError(f"{source.parent}: no {WAYS}.json: go on with train_family.py")
        file = f"{RESULTS}/{WAYS}.json" if is_own else f"{RESULTS}/{WAYS}-{run_folder.name}.json"
        if (new / file).exists():
            raise InputError(f"--ways {run_folder}: a folder of that name is shown already: rename one")
        shutil.copyfile(source, new / file)
        ways.append(ways_comparison(run_folder, result, file, is_own))
    return ways


def ways_comparison(family: Path, result: dict[str, Any], file: str, is_own: bool) -> WaysComparison:
    """The passes are those of the first way's models and, if there is one, of the base that they were made from."""
    identities = {name: record["identity"] for name, record in records(family).items()}
    ways = {model["name"]: way_of(model["name"], model["region"]) for model in result["models"]}
    first = [identities[name] for name, way in ways.items() if way == next(iter(ways.values()))]
    adapted = f"init_from {BASE}" in first[0]
    before = identities[BASE]["num_train_epochs"] if adapted else 0
    passes = [before + identity["num_train_epochs"] for identity in first]
    return WaysComparison(result, file, (min(passes), max(passes)), adapted, shown_above=is_own)


def classifier_scores(family: Path) -> list[dict[str, Any]]:
    """Of each classifier that stands beside baselines: its task, its model, and the test scores of all."""
    rows = []
    for folder in sorted(family.glob(f"{BASELINES}-*")):
        name = folder.name.removeprefix(f"{BASELINES}-")
        files = [path / METRICS for path in (family / f"bilma-{name}", family / name) if (path / METRICS).is_file()]
        if not files:
            raise InputError(f"{family / name}: not finished, though its baselines are: go on with train_family.py")
        own = read_json(files[0])
        methods = {method: read_json(folder / method / METRICS)["test"] for method in METHODS}
        facts = {"task": own["task"], "model": own["classifier"], "texts": own["texts"]}
        rows.append(facts | {"test": {OURS: own["test"]} | methods})
    return sorted(rows, key=lambda row: row["task"] != EMOJI_TASK)
