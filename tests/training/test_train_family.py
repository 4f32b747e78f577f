"""The stages as planned, and one small family: interrupted, continued, and protected from changed inputs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY
from tests.training.conftest import run_main, write_texts
from training import train_family
from training.common.errors import InputError
from training.common.locks import only_run_in
from training.engine.signals import STOPPED
from training.family.arguments import TrainFamilyArguments, check_arguments, task_of
from training.family.plan import files_in, plan
from training.family.stages import first_difference
from training.texts.synthetic import generate_texts

REGIONS = ("ar", "mx")
SIZES = {name: value for name, value in TINY.items() if name != "max_position_embeddings"}
SHARED = {"max_length": 32, "learning_rate": 0.01, "mixed_precision": '"no"', "eval_steps": 4, "save_steps": 2}
BODY = SHARED | {"config_overrides": ",".join(f"{name}={value}" for name, value in SIZES.items())}


def write_recipe(path: Path, settings: dict) -> Path:
    path.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with `corpora/{ar,mx}.jsonl`, whose texts have authors, and small recipes."""
    home = tmp_path_factory.mktemp("home")
    (home / "corpora").mkdir()
    for region in REGIONS:
        texts = generate_texts(region, 300)
        write_texts(home / "corpora" / f"{region}.jsonl", texts, author=[f"{region}{n % 100}" for n in range(300)])
    body, regional = write_recipe(home / "body.yaml", BODY), write_recipe(home / "regional.yaml", SHARED)
    sizes = {"vocab_size": 400, "min_frequency": 2, "test_fraction": 0.2, "group_column": "author", "mask_draws": 1}
    sizes["vector_size"] = TINY["hidden_size"]
    epochs = {"body_recipe": body, "body_epochs": 6, "regional_recipe": regional, "regional_epochs": 2}
    write_recipe(home / "family.yaml", sizes | epochs)
    return home


def planned(home, **changes):
    args = TrainFamilyArguments(corpora=str(home / "corpora"), output_dir=str(home / "family"), **changes)
    check_arguments(args)
    return plan(args)


def test_stages_in_the_order_of_the_recipe(home):
    assert [stage.name for stage in planned(home)] == ["tokenizer", "vectors", "body", "bilma", "results"]
    seeded = planned(home, seeds=3)
    assert [stage.name for stage in seeded] == [
        *("tokenizer", "vectors", "body", "bilma", "bilma-seed1", "bilma-seed2", "results")
    ]
    assert [stage.settings["seed"] for stage in seeded[3:6]] == [0, 1, 2]


def test_classifiers_are_compared_with_their_baselines_over_all_seeds(home):
    stages = {stage.name: stage for stage in planned(home, labelled=["emoji15.jsonl", "tass_es.jsonl"], seeds=3)}
    assert list(stages)[-5:] == [
        *("bilma-emoji15", "baselines-emoji15", "bilma-tass", "baselines-tass", "classifier-results")
    ]
    assert {flag: [path.name for path in paths] for flag, paths in stages["classifier-results"].inputs.items()} == {
        "classifiers": ["bilma-emoji15", "bilma-tass"],
        "baselines": ["baselines-emoji15", "baselines-tass"],
    }
    assert {tuple(stages[name].settings["seeds"]) for name in list(stages)[-5:-1]} == {(0, 1, 2)}


def test_every_script_accepts_the_flags_of_its_stage(home):
    changes = {"test_fraction": 0.1, "group_column": "author"}
    stages = planned(home, labelled=["emoji15.jsonl"], regional_tests="tests", seeds=2, **changes)
    flags = {stage.name: stage.resolved() for stage in stages}
    assert flags["tokenizer"]["vocab_size"] == 29025
    assert flags["body"]["learning_rate"] == 6e-4  # of the recipe that the stage names
    assert flags["bilma"]["add_regions"] == list(REGIONS)
    of_results = ("regional-results", "classifier-results")  # which read no corpus
    assert all(flags[name].items() >= changes.items() for name in flags if name not in of_results)


def test_files_in_subfolders_are_counted(tmp_path, capsys):
    (tmp_path / "more").mkdir()
    for name in ("mx.txt", "more/ar.txt"):
        (tmp_path / name).write_text("uno\n")
    assert files_in(str(tmp_path)) == [tmp_path / "mx.txt"]
    assert "not taken: 1 files in its subfolders" in capsys.readouterr().out


def test_corpora_without_texts_or_regions_are_refused(home, tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        planned(home, more=[]) and plan(TrainFamilyArguments(corpora=str(tmp_path / "none")))
    (tmp_path / "texts.jsonl").write_text('{"text": "hola"}\n')
    with pytest.raises(InputError, match=r"texts\.jsonl"):
        plan(TrainFamilyArguments(corpora=str(tmp_path)))


def test_a_family_that_another_run_trains_is_refused(home, tmp_path):
    with only_run_in(tmp_path / "out"), pytest.raises(InputError, match="another run writes there"):
        run_main(train_family, corpora=home / "corpora", recipe=home / "family.yaml", output_dir=tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_a_change_is_named():
    before = {"learning_rate": 1.0, "train_file mx.jsonl": "a"}
    assert first_difference(before, before, ["train_file"]) is None
    assert first_difference(before, before | {"learning_rate": 2.0}, []) == "learning_rate was 1.0 and is now 2.0"
    assert first_difference(before, before | {"train_file mx.jsonl": "b"}, ["train_file"]) == "mx.jsonl has changed"


def test_a_task_is_called_by_the_beginning_of_its_file():
    assert task_of("labelled/emoji15_regions.jsonl.gz") == "emoji15"


@pytest.mark.slow
def test_a_family_is_interrupted_continued_and_protected(home):
    family = home / "family"
    script = str(ROOT / "training" / "train_family.py")
    command = [sys.executable, script, "--corpora", home / "corpora", "--output_dir", family]
    command = [*map(str, command), "--recipe", str(home / "family.yaml"), "--num_threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(home / "hf_home")}

    def finish(*flags: str) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *flags], capture_output=True, text=True, env=environment)

    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    training = next((line for line in process.stdout if line.startswith("step 4: validation loss")), "never trained")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate()
    assert process.returncode == STOPPED, training + output
    assert "the same command continues" in output
    assert list((family / "body").glob("unfinished_run/step-*"))
    assert not (family / "body" / "config.json").exists()

    continued = finish()
    assert continued.returncode == 0, continued.stderr
    last = f"the models are in {family / 'bilma'}, the report is {family / 'results' / 'report.md'}"
    assert continued.stdout.splitlines()[-1].endswith(last)
    assert "[1/5] tokenizer: finished before" in continued.stdout
    assert json.loads((family / "bilma" / "config.json").read_text())["regions"] == list(REGIONS)
    matrix = json.loads((family / "results" / "mlm_matrix.json").read_text())
    assert {cell["model"] for cell in matrix["cells"]} >= {"bilma", "bilma-ar", "bilma-mx"}

    files = [path for path in family.rglob("*") if path.suffix in (".json", ".safetensors")]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert finish().stdout.count("finished before") == 5
    assert {path: path.stat().st_mtime_ns for path in files} == before

    refused = finish("--regional_epochs", "3")
    assert refused.returncode == 2
    assert "num_train_epochs was 2.0 and is now 3.0" in refused.stderr
