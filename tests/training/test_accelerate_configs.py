"""Runs on several machines, as `accelerate launch` starts them with our configurations; here on loopback and CPUs."""

import json
import os
import socket
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.conftest import ROOT, TINY_OVERRIDES
from training.texts.synthetic import generate_texts

CONFIGS = ROOT / "training" / "accelerate_configs"
KINDS = {"two_nodes": DistributedType.MULTI_GPU}


def test_every_configuration_is_tested():
    assert {path.stem for path in CONFIGS.iterdir()} == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_configurations_name_only_known_keys(name):
    path = CONFIGS / f"{name}.yaml"
    config = ClusterConfig.from_yaml_file(str(path))  # refuses unknown keys
    assert config.distributed_type == KINDS[name]
    assert set(yaml.safe_load(path.read_text())) >= {"num_machines", "num_processes", "distributed_type"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    texts = list(generate_texts("mx", 400))
    for number in range(4):
        pq.write_table(pa.table({"text": texts[number::4]}), folder / f"{number}.parquet", row_group_size=30)
    build_tokenizer(train_vocabulary(texts, 400, 5)).save_pretrained(folder / "tokenizer")
    return folder


def flags(corpus, output_dir) -> list[str]:
    settings = {
        "--region": "mx",
        "--train_file": corpus,
        "--tokenizer": corpus / "tokenizer",
        "--output_dir": output_dir,
        "--cache_dir": corpus.parent / "cache",
        "--config_overrides": f"{TINY_OVERRIDES},hidden_dropout_prob=0",
        "--max_steps": 6,
        "--max_length": 32,
        "--texts_per_step": 31,
        "--tokens_per_micro_batch": 200,
        "--mixed_precision": "no",
        "--num_threads": 1,
        "--eval_steps": 3,
        "--save_steps": 2,
    }
    return [str(word) for pair in settings.items() for word in pair]


def start(config: str, *command: object, port: int) -> subprocess.Popen:
    launcher = ["-m", "accelerate.commands.launch", "--config_file", CONFIGS / f"{config}.yaml", "--num_processes", 2]
    environment = {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, [sys.executable, *launcher, "--main_process_port", port, *command])),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=os.environ | environment,
    )


def wait(*processes: subprocess.Popen) -> None:
    try:
        for process in processes:
            said, _ = process.communicate(timeout=120)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def alone(corpus, tmp_path_factory, run_script):
    """The same run in one process, for each way of reading."""

    def alone(*more: str):
        out = tmp_path_factory.mktemp("alone") / "out"
        run_script("pretrain.py", *flags(corpus, out), *more, ACCELERATE_USE_CPU="true")
        return out

    return alone


def assert_same_run(one, other) -> None:
    curves = [json.loads((out / "metrics.json").read_text())["history"] for out in (one, other)]
    losses = [[point.get("loss", point.get("eval_loss")) for point in curve] for curve in curves]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    weights = [load_file(out / "model.safetensors") for out in (one, other)]
    assert set(weights[0]) == set(weights[1])
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-3, atol=1e-5)
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}


@pytest.mark.slow
def test_two_machines_that_stream_end_as_one_does(corpus, alone, tmp_path):
    script = ("training/pretrain.py", *flags(corpus, tmp_path / "out"), "--streaming", "--streaming_lanes", 3)
    port = free_port()
    wait(
        *(
            start("two_nodes", "--main_process_ip", "127.0.0.1", "--machine_rank", rank, *script, port=port)
            for rank in (0, 1)
        )
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["machine"]["processes"] == 2
    assert_same_run(alone("--streaming", "--streaming_lanes", "3"), tmp_path / "out")
