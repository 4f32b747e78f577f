"""The stages as they are planned; and one small family, interrupted, gone on with, and protected from what changed."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event, Lock, Thread, Timer

import pytest
import yaml

from tests.conftest import ROOT, TINY
from tests.training.conftest import write_texts
from training import train_family
from training.common.arguments import RECIPES
from training.common.errors import InputError, run
from training.engine.signals import STOPPED
from training.family import runner
from training.family import texts as family_texts
from training.family.arguments import TrainFamilyArguments, check_arguments
from training.family.plan import plan
from training.family.runner import Scripts, the_only_run_in
from training.family.stages import Stage, first_difference
from training.finetuning.baselines import METHODS
from training.texts.synthetic import generate_texts

SIZES = {name: value for name, value in TINY.items() if name != "max_position_embeddings"}
PRETRAIN = {
    "config_overrides": ",".join(f"{name}={value}" for name, value in SIZES.items()),
    "max_length": 32,
    "learning_rate": 0.01,
    "mixed_precision": '"no"',
    "eval_steps": 0.5,
    "save_steps": 5,
}
ADAPT = {name: value for name, value in PRETRAIN.items() if name != "config_overrides"}
FINETUNE = {"num_train_epochs": 1, "max_length": 32, "mixed_precision": '"no"'}


def write_recipe(path: Path, settings: dict) -> Path:
    path.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with `corpora/{ar,mx}.jsonl` and small recipes, the first of which is family.yaml."""
    home = tmp_path_factory.mktemp("home")
    (home / "corpora").mkdir()
    for region in ("ar", "mx"):
        write_texts(home / "corpora" / f"{region}.jsonl", generate_texts(region, 300))
    for name, settings in (("pretrain", PRETRAIN), ("adapt", ADAPT), ("finetune", FINETUNE)):
        write_recipe(home / f"{name}.yaml", settings)
    write_recipe(
        home / "family.yaml",
        {
            "vocab_size": 400,
            "min_frequency": 2,
            "test_fraction": 0.2,
            "base_recipe": home / "pretrain.yaml",
            "adapt_recipe": home / "adapt.yaml",
            "base_epochs": 20,
            "adapt_epochs": 2,
            "finetune_recipe": home / "finetune.yaml",
            "min_labelled_texts": 10,
            "num_threads": 1,
        },
    )
    return home


def arguments(home, **changes):
    settings = {"corpora": str(home / "corpora"), "output_dir": str(home / "family"), "min_labelled_texts": 10}
    return TrainFamilyArguments(**settings | changes)


def planned(home, **changes):
    args = arguments(home, **changes)
    check_arguments(args)
    return plan(args, family_texts.read_regions(args.corpora, args.labelled, args.tasks))


# --- the plan


def test_stages_in_the_order_in_which_they_need_each_other(home):
    stages = planned(home)
    assert [stage.name for stage in stages] == [
        *("tokenizer", "base", "bilma-ar", "bilma-mx", "results"),
        *("bilma-ar-emoji", "bilma-mx-emoji", "baselines-ar-emoji", "baselines-mx-emoji", "results-emoji"),
    ]
    for number, stage in enumerate(stages):
        assert not stage.waits_for(stages[number:])
    assert stages[-1].waits_for([stage for stage in stages if stage.name == "baselines-mx-emoji"])


def test_flags_are_those_of_the_scripts(home):
    """Every stage's flags are read by the script's own parser and checks."""
    by_name = {stage.name: stage.resolved() for stage in planned(home, test_fraction=0.1)}
    assert by_name["tokenizer"]["vocab_size"] == 29025
    assert by_name["base"]["region"] == "all"
    assert by_name["bilma-mx"]["region"] == "mx"
    assert by_name["bilma-mx"]["learning_rate"] == 5e-4  # of the recipe it names
    assert by_name["bilma-mx-emoji"]["task"] == "emoji15"
    assert {flags["test_fraction"] for flags in by_name.values()} == {0.1}


def test_every_way_reads_the_same_number_of_texts(home):
    stages = planned(home, ways=["scratch", "adapted", "one_model"], base_epochs=4, adapt_epochs=2)
    texts = {stage.name: stage.texts for stage in stages}
    assert texts["bilma-ar"] + texts["bilma-mx"] == 6 * 600
    assert texts["base"] + texts["adapted-ar"] + texts["adapted-mx"] == 6 * 600
    assert texts["one-model"] == 6 * 600
    by_name = {stage.name: stage for stage in stages}
    assert "init_from" not in by_name["bilma-ar"].inputs
    assert [path.name for path in by_name["adapted-ar"].inputs["init_from"]] == ["base"]
    assert [path.name for path in by_name["results"].inputs["models"]] == ["bilma-ar", "bilma-mx"]
    assert [path.name for path in by_name["ways"].inputs["models"]] == [
        *("bilma-ar", "bilma-mx", "adapted-ar", "adapted-mx", "one-model")
    ]


def test_one_model_from_the_base_reads_as_many_texts_as_all_adaptations(home):
    stages = {stage.name: stage for stage in planned(home, ways=["adapted", "one_adapted"], adapt_epochs=2)}
    one, adaptations = stages["one-adapted"], [stages["bilma-ar"], stages["bilma-mx"]]
    assert one.texts == sum(stage.texts for stage in adaptations) == 2 * 600
    assert one.inputs["init_from"] == adaptations[0].inputs["init_from"]
    assert one.resolved()["region_tokens"] and one.resolved()["region"] == "all"
    assert [path.name for path in stages["ways"].inputs["models"]] == ["bilma-ar", "bilma-mx", "one-adapted"]


def test_a_small_region_is_passed_over_more_often(home):
    """300 texts a region, of which an adaptation is to read 900: by every way as many, over all regions."""
    ways = {"ways": ["adapted", "scratch", "one_model", "one_adapted"], "base_epochs": 2, "adapt_epochs": 0.5}
    stages = {stage.name: stage for stage in planned(home, adapt_min_texts=900, **ways)}
    assert stages["bilma-ar"].texts == 900
    assert stages["one-adapted"].texts == 2 * 900
    assert stages["scratch-ar"].texts == 2 * 300 + 900
    assert stages["one-model"].texts == 2 * (2 * 300 + 900)
    enough = {stage.name: stage for stage in planned(home, adapt_min_texts=100, **ways)}
    assert enough["bilma-ar"].texts == 150


def test_the_family_and_its_results_come_before_the_other_ways(home):
    names = [stage.name for stage in planned(home, ways=["adapted", "one_model", "scratch"])]
    assert names[:-4] == [stage.name for stage in planned(home)]
    assert names[-4:] == ["one-model", "scratch-ar", "scratch-mx", "ways"]


def test_emoji_models_of_regions_with_enough_labelled_texts(home, tmp_path):
    rows = [("mx", "train")] * 12 + [("ar", "train")] * 9 + [("ar", "test")] * 5
    texts = [f"texto {number}" for number in range(len(rows))]
    regions, splits = zip(*rows, strict=True)
    labelled = write_texts(tmp_path / "labelled.jsonl", texts, label=["😍"] * len(rows), region=regions, split=splits)
    stages = planned(home, labelled=str(labelled))
    emoji = [stage for stage in stages if stage.script == "finetune.py"]
    assert [stage.name for stage in emoji] == ["bilma-mx-emoji"]
    assert emoji[0].resolved()["label_column"] == "label"
    assert emoji[0].texts == 12 * emoji[0].resolved()["num_train_epochs"]
    baselines = [home / "family" / "baselines-mx-emoji" / method for method in METHODS]
    asked = {"emoji_models": [emoji[0].output_dir], "emoji_files": [labelled], "emoji_baselines": baselines}
    assert stages[-1].inputs == asked


def test_classifiers_of_further_tasks_beside_their_baselines(home, tmp_path):
    """Of every region of the file that has a model, on the same texts."""
    regions = ["mx"] * 12 + ["pe"] * 12 + ["ar"] * 9
    columns = {"label": ["P", "N", "P"] * 11, "region": regions}
    file = write_texts(tmp_path / "sentiment.v1.jsonl", [f"texto {number}" for number in range(33)], **columns)
    stages = planned(home, tasks=[str(file)])
    assert [stage.name for stage in stages if "sentiment-ar" in stage.name or "pe" in stage.name] == []
    classifier, baselines = stages[-2:]
    assert (classifier.name, baselines.name) == ("sentiment-mx", "baselines-sentiment-mx")
    assert classifier.inputs == {"model": [home / "family" / "bilma-mx"], "train_file": [file]}
    assert classifier.texts == 12 * classifier.resolved()["num_train_epochs"]
    assert baselines.inputs == {"train_file": [file], "embedding_file": [home / "corpora" / "mx.jsonl"]}
    assert (classifier.resolved()["task"], classifier.resolved()["region"]) == ("sentiment", "mx")


def test_baselines_learn_from_what_the_classifier_does(home, tmp_path):
    settings = {"validation_fraction": 0.2, "class_weights": "balanced", "text_column": "tweet", "strict": "true"}
    recipe = write_recipe(tmp_path / "mine.yaml", settings)
    by_name = {stage.name: stage.resolved() for stage in planned(home, finetune_recipe=str(recipe))}
    classifier, baselines = by_name["bilma-mx-emoji"], by_name["baselines-mx-emoji"]
    same = ("task", "test_fraction", *settings)
    assert [baselines[name] for name in same] == [classifier[name] for name in same]
    assert baselines["validation_fraction"] == 0.2


def test_what_every_baseline_holds_is_part_of_the_comparison(home, tmp_path):
    *_, stage = planned(home, output_dir=str(tmp_path))
    for paths in stage.inputs.values():
        for path in paths:
            if path.is_relative_to(tmp_path):
                path.mkdir(parents=True)
                (path / "metrics.json").write_text("{}")
    before = stage.identity()
    assert len([key for key in before if key.startswith("emoji_baselines ")]) == 2 * len(METHODS)
    (tmp_path / "baselines-ar-emoji" / "majority" / "metrics.json").write_text('{"test": 1}')
    assert first_difference(before, stage.identity(), stage.inputs) == "baselines-ar-emoji/majority has changed"


def test_a_task_whose_name_is_taken(home, tmp_path):
    columns = {"label": ["P", "N"] * 10, "region": ["mx"] * 20}
    file = write_texts(tmp_path / "bilma.jsonl", [f"texto {number}" for number in range(20)], **columns)
    with pytest.raises(InputError, match="bilma-mx would be made twice: rename the file of the task"):
        planned(home, tasks=[str(file)])


def test_whole_trainings_lower_the_rate_as_late_as_adaptations_do(home):
    ways = {"ways": ["adapted", "scratch"], "whole_recipe": "family_whole", "base_epochs": 3, "adapt_epochs": 1}
    by_name = {stage.name: stage.resolved() for stage in planned(home, **ways)}
    assert by_name["scratch-mx"]["decay_ratio"] == 0.25
    assert by_name["scratch-mx"]["num_train_epochs"] == 4
    assert planned(home, ways=["scratch"])[1].resolved()["decay_ratio"] is None  # a recipe whose rate falls all along


def test_the_recipe_of_whole_trainings_is_that_of_the_family():
    family, whole = (
        yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("family", "family_whole")
    )
    assert whole["decay_ratio"] == family["adapt_epochs"] / (family["base_epochs"] + family["adapt_epochs"])


@pytest.mark.parametrize(
    ("label", "region", "message"),
    [("🌮", "mx", "label '🌮' is none of the fifteen emoji"), ("😍", "mexico", "region 'mexico' is no code")],
)
def test_labels_and_regions_of_odd_names(tmp_path, label, region, message):
    labelled = write_texts(tmp_path / "labelled.jsonl", ["hola"], label=[label], region=[region])
    with pytest.raises(InputError, match=message):
        family_texts.count_emoji(labelled)


def test_files_of_odd_names(tmp_path):
    write_texts(tmp_path / "tweets.jsonl", ["hola"])
    with pytest.raises(InputError, match="tweets.jsonl: the name holds no region's two letters"):
        family_texts.read_regions(str(tmp_path), None)


def test_folders_inside_are_not_the_familys(home, tmp_path):
    (tmp_path / "extra").mkdir()
    write_texts(tmp_path / "extra" / "pe.jsonl", ["hola"])
    with pytest.raises(InputError, match="the text files are in folders inside"):
        family_texts.read_regions(str(tmp_path), None)
    write_texts(tmp_path / "mx.jsonl", ["hola", "hola 😍"])
    (found,) = family_texts.read_regions(str(tmp_path), None)
    assert (found.code, found.texts, found.emoji_texts) == ("mx", 2, 1)
    with pytest.raises(InputError, match="of 2 texts about 1 would be kept out"):
        family_texts.check_enough([found], 0.5)
    assert list(family_texts.describe([found], ["ar", "mx", "ve"]))[-1].startswith("no texts of ar, ve:")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ways": ["best"]}, "--ways best: choose of adapted, scratch, one_model"),
        ({"ways": ["scratch", "scratch"]}, "each once"),
        ({"ways": []}, "give one or more"),
        ({"ways": ["one_model"]}, "it makes no model of a region"),
        ({"ways": ["one_adapted", "adapted"]}, "it makes no model of a region"),
        ({"ways": ["scratch", "one_adapted"]}, "it goes on from the base of adapted: name that too"),
        ({"tasks": ["a/mood.csv", "b/mood.jsonl"]}, "two files have one name"),
        ({"tasks": ["baselines.csv"]}, "a name that begins with baselines is taken"),
        ({"base_epochs": 0}, "--base_epochs 0 is not above 0"),
        ({"test_fraction": 0}, "--test_fraction 0 is not between 0 and 1"),
        ({"min_labelled_texts": 0}, "--min_labelled_texts 0 is not 1 or more"),
    ],
)
def test_values_that_cannot_be(home, changes, message):
    with pytest.raises(InputError, match=message):
        check_arguments(arguments(home, **changes))


# --- running it


def test_stages_at_a_time_wait_for_what_they_read(home, monkeypatch):
    made, both = [], Barrier(2, timeout=20)

    def make(stage, number, count, scripts, num_threads, to_file):
        if stage.script == "pretrain.py" and stage.name != "base":
            both.wait()  # breaks unless the models of both regions are made at the same time
        assert not stage.waits_for([one for one in stages if one.name not in made])
        assert (count, to_file) == (len(stages), True)
        made.append(stage.name)

    stages = planned(home)
    monkeypatch.setattr(runner, "make", make)
    runner.make_all(list(enumerate(stages, 1)), None, len(stages), jobs=2)
    assert sorted(made) == sorted(stage.name for stage in stages)


def test_stages_share_the_cores_with_those_that_run_beside_them(home, monkeypatch, tmp_path):
    """The base is alone and has all; the adaptations have half each."""
    threads = {}

    def make(stage, number, count, scripts, num_threads, to_file):
        threads[stage.name] = num_threads
        time.sleep(0.05)

    monkeypatch.setattr(runner, "make", make)
    monkeypatch.setattr(runner, "available_cores", lambda: 8)
    stages = planned(home, output_dir=str(tmp_path))
    runner.make_all(list(enumerate(stages, 1)), None, len(stages), jobs=2)
    assert [threads[name] for name in ("base", "bilma-ar", "bilma-mx", "results")] == [8, 4, 4, 4]
    runner.make_all(list(enumerate(stages, 1)), None, len(stages), jobs=2, num_threads=3)
    assert set(threads.values()) == {3}


def test_no_more_threads_than_cores(home, monkeypatch, tmp_path):
    """One model of all regions runs from the beginning, beside the base and then beside the adaptations."""
    at_work, most, lock = [], [], Lock()

    def make(stage, number, count, scripts, num_threads, to_file):
        with lock:
            at_work.append(num_threads)
            most.append(sum(at_work))
        time.sleep(0.3 if stage.name == "one-model" else 0.05)
        with lock:
            at_work.remove(num_threads)

    monkeypatch.setattr(runner, "make", make)
    monkeypatch.setattr(runner, "available_cores", lambda: 8)
    stages = planned(home, output_dir=str(tmp_path), min_labelled_texts=1000, ways=["adapted", "one_model"])
    runner.make_all(list(enumerate(stages, 1)), None, len(stages), jobs=4)
    assert max(most) == 8


def test_what_is_finished_takes_no_cores(home, monkeypatch, tmp_path):
    threads = {}

    def make(stage, number, count, scripts, num_threads, to_file):
        threads[stage.name] = num_threads

    monkeypatch.setattr(runner, "make", make)
    monkeypatch.setattr(runner, "available_cores", lambda: 8)
    monkeypatch.setattr(Stage, "is_finished", lambda stage: stage.name in ("tokenizer", "base", "bilma-ar"))
    stages = planned(home, output_dir=str(tmp_path), min_labelled_texts=1000)
    runner.make_all(list(enumerate(stages, 1)), None, len(stages), jobs=2)
    assert threads["bilma-mx"] == threads["results"] == 8


def test_threads_change_no_result(home):
    base, vocabulary = planned(home)[1], planned(home)[0]
    assert base.command(3)[-3:] == ["--num_threads", "3", "--resume"]
    assert "--num_threads" not in vocabulary.command(3)  # which has no such flag
    threaded = replace(base, settings=base.settings | {"num_threads": 3})
    assert threaded.resolved() == base.resolved()  # so a family may be gone on with by more jobs


SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.parametrize("begun_before", [True, False])
def test_a_stage_that_fails_stops_the_one_beside_it(home, monkeypatch, tmp_path, begun_before):
    """Whether the other one's script runs already, or is only about to."""
    statuses, failed, began = [], Event(), Event()

    def make(stage, number, count, scripts, num_threads, to_file):
        if stage.name == "bilma-mx":
            assert not begun_before or began.wait(20)
            failed.set()
            raise InputError("bilma-mx failed")
        if stage.name == "bilma-ar":
            if begun_before:
                Timer(0.5, began.set).start()
            else:
                assert failed.wait(20)
                time.sleep(0.2)
            statuses.append(scripts.run(SLEEP)[0])

    stages = planned(home, min_labelled_texts=1000)
    monkeypatch.setattr(runner, "make", make)
    with the_only_run_in(tmp_path) as lock, Scripts(lock) as scripts:
        with pytest.raises(InputError, match="bilma-mx failed"):
            runner.make_all(list(enumerate(stages, 1)), scripts, len(stages), jobs=2)
        with pytest.raises(SystemExit):
            scripts.check_not_stopped()
    assert statuses == [-signal.SIGTERM]


def test_a_folder_is_one_stages_at_a_time(home, monkeypatch):
    """Both comparisons write into results."""
    busy = set()

    def make(stage, number, count, scripts, num_threads, to_file):
        assert stage.output_dir not in busy
        busy.add(stage.output_dir)
        time.sleep(0.05)
        busy.remove(stage.output_dir)

    stages = [stage for stage in planned(home) if stage.script == "evaluate_family.py"]
    assert len({stage.output_dir for stage in stages}) < len(stages) == 2
    monkeypatch.setattr(runner, "make", make)
    runner.make_all(list(enumerate(stages, 1)), None, 2, jobs=2)


@pytest.fixture
def flags(home):
    (home / "one").mkdir(exist_ok=True)
    corpus = home / "one" / "mx.jsonl"
    corpus.write_bytes((home / "corpora" / "mx.jsonl").read_bytes())
    return ["--corpora", corpus.parent, "--output_dir", home / "family", "--recipe", home / "family.yaml"]


@pytest.fixture
def family_main(monkeypatch, capfd, home):
    """Run the script in this process; returns its exit status, what it said, and its errors and progress."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HF_HOME", str(home / "hf_home"))

    def call(flags) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["training/train_family.py", *map(str, flags)])
        with pytest.raises(SystemExit) as stop:
            run(train_family.main)
        said = capfd.readouterr()
        return stop.value.code or 0, said.out, said.err.replace("\r", "\n")

    return call


def test_interrupted_gone_on_with_and_protected(home, flags, family_main):
    family = home / "family"
    process = subprocess.Popen(
        [sys.executable, ROOT / "training" / "train_family.py", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HOME": str(home / "hf_home")},
    )
    while process.poll() is None and not list((family / "base").glob("unfinished_run/step-*")):
        time.sleep(0.02)
    status, _, error = family_main(flags)  # while the other one is at work
    assert (status, "another run is at work there" in error) == (2, True)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert process.returncode == STOPPED
    assert "What is left to train, on this machine\n  base " in said
    assert said.rstrip().split("\n")[-1].startswith("stopped by SIGTERM: go on with the same command")
    assert not (family / "base" / "config.json").exists()

    status, said, error = family_main([*flags, "--jobs", 2])
    assert status == 0, error
    assert json.loads((family / "stages" / "base.json").read_text())["finished"]
    assert "[1/7] tokenizer: is there" in said
    assert "2 at a time: " in said
    assert "going on from step" in (family / "stages" / "base.log").read_text()
    results = {path.stem for path in (family / "results").glob("*.json")}
    assert {"mlm_matrix", "completions", "emoji15_matrix"} <= results
    matrix = json.loads((family / "results" / "mlm_matrix.json").read_text())
    assert [(model["name"], model["region"]) for model in matrix["models"]] == [("bilma-mx", "mx")]
    assert json.loads((family / "bilma-mx" / "training_args.json").read_text())["init_from"] == "base"
    assert json.loads((family / "base" / "config.json").read_text()).get("region") is None

    before = {path: path.stat().st_mtime_ns for path in family.rglob("*") if path.suffix in (".json", ".safetensors")}
    status, said, _ = family_main(flags)
    assert status == 0
    assert said.count(": is there") == 7
    assert {path: path.stat().st_mtime_ns for path in before} == before

    status, _, error = family_main([*flags, "--adapt_epochs", 3])
    assert status == 2
    assert "bilma-mx was made from something else: num_train_epochs was 2.0 and is now 3.0" in error
    corpus = home / "one" / "mx.jsonl"
    corpus.write_text(corpus.read_text().replace("tacos", "tortas"))
    status, _, error = family_main(flags)
    assert (status, "tokenizer was made from something else: mx.jsonl has changed" in error) == (2, True)


def test_files_that_came_and_went_are_named():
    before, now = {"train_file mx.jsonl": "1", "seed": 0}, {"train_file mx.jsonl": "1", "seed": 0}
    assert first_difference(before, now, {"train_file"}) is None
    assert first_difference(before, now | {"train_file ar.jsonl": "2"}, {"train_file"}) == "ar.jsonl is new"
    assert first_difference(before, {"seed": 0}, {"train_file"}) == "mx.jsonl is gone"
    assert first_difference(before, now | {"seed": 1}, {"train_file"}) == "seed was 0 and is now 1"


DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_second_ctrl_c_ends_a_script_that_does_not_stop(tmp_path):
    is_deaf = tmp_path / "is_deaf"

    def ctrl_c_twice():
        while not is_deaf.exists():
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    with the_only_run_in(tmp_path) as lock, Scripts(lock) as scripts:
        Thread(target=ctrl_c_twice).start()
        status, _ = scripts.run([sys.executable, "-c", DEAF, str(is_deaf)])
        assert status == -signal.SIGKILL
        with pytest.raises(SystemExit) as stop:
            scripts.check_not_stopped()
        assert stop.value.code == STOPPED


def test_a_signal_reaches_all_scripts_at_work(tmp_path):
    with the_only_run_in(tmp_path) as lock, Scripts(lock) as scripts, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(scripts.run, SLEEP) for _ in range(2)]
        deadline = time.monotonic() + 20
        while len(scripts.children) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        assert [one.result()[0] for one in both] == [-signal.SIGTERM] * 2
        with pytest.raises(SystemExit) as stop:
            scripts.check_not_stopped()
        assert stop.value.code == STOPPED


def test_a_script_that_outlived_its_run_keeps_others_out(tmp_path):
    with the_only_run_in(tmp_path) as lock:
        orphan = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    message = "another run is at work there, or a script that it started"
    with pytest.raises(InputError, match=message), the_only_run_in(tmp_path):
        pass
    orphan.communicate(b"\n")
    with the_only_run_in(tmp_path):
        pass


def test_what_was_not_made_here_is_not_taken(flags, family_main, tmp_path):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    status, _, error = family_main([*flags, "--output_dir", tmp_path])
    assert (status, "tokenizer was not made here" in error) == (2, True)
    assert (tmp_path / "tokenizer" / "tokenizer.json").read_text() == "{}"


def test_a_stage_that_fails_beside_others_names_its_log(home, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    files = {"train_file": [home / "corpora" / "mx.jsonl"]}
    stage = Stage("train_tokenizer.py", tmp_path / "tokenizer", files, {"vocab_size": 10})
    failed = pytest.raises(InputError, match=r"failed with status 2, for the reason at the end of .*/tokenizer\.log")
    with the_only_run_in(tmp_path) as lock, Scripts(lock) as scripts, failed:
        runner.make(stage, 1, 1, scripts, num_threads=1, to_file=True)
    assert "error: vocab_size=10 is less than" in (tmp_path / "stages" / "tokenizer.log").read_text().splitlines()[-1]


def test_a_wrong_recipe_is_said_before_anything_is_trained(flags, family_main, tmp_path):
    recipe = write_recipe(tmp_path / "wrong.yaml", {"lerning_rate": 1})
    status, _, error = family_main([*flags, "--output_dir", tmp_path / "family", "--finetune_recipe", recipe])
    assert (status, "unknown key lerning_rate: did you mean learning_rate?" in error) == (2, True)
    assert not (tmp_path / "family").exists()


def test_a_stage_that_fails(flags, family_main, tmp_path):
    status, _, error = family_main([*flags, "--output_dir", tmp_path / "family", "--vocab_size", 10])
    assert status == 2
    own, last = error.strip().splitlines()[-2:]
    assert own.startswith("train_tokenizer.py: error: vocab_size=10 is less than")
    assert last.startswith("train_family.py: error: tokenizer failed with status 2")
    assert last.endswith("--vocab_size 10")
