"""What the tests share: a tiny model, texts, and a way to run a script as a user does."""

import os
import subprocess
import sys
from pathlib import Path

# Read when transformers is imported, so set before any test module is.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import TokenizersBackend

from modeling_bilma import BilmaConfig
from modeling_bilma.tokenization_bilma import build_tokenizer, train_vocabulary
from tests.loopback_hub import LoopbackHub

ROOT = Path(__file__).parent.parent
TINY = {
    "hidden_size": 32,
    "head_dim": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
TINY_OVERRIDES = ",".join(f"{name}={value}" for name, value in TINY.items())
THREADS = torch.get_num_threads()
TEXTS = [
    "Vamos a comer tacos con @ana_42 y los primos.",
    "¿Qué onda, güey? jajajaja https://t.co/abc #Viernes",
    "Estoy en la ciudad de México desde las 10:30, ¡qué frío! 😍",
    "El camión subió de precio y la quincena no llega",
    "Me gusta tomar café en la mañana",
    "mañana hay partido y no tengo boleto 😭",
]


def tiny_config(**changes) -> BilmaConfig:
    return BilmaConfig(**{"vocab_size": 100, **TINY, **changes})


def assert_same_numbers(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare what two processes computed of the same weights; how memory is aligned may choose another kernel."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.fixture(autouse=True)
def fixed_seed_and_threads():
    """Scripts that run in this process set the number of threads, on which the last bits of a sum depend."""
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)


@pytest.fixture(scope="session")
def tokenizer() -> TokenizersBackend:
    return build_tokenizer(train_vocabulary(TEXTS * 3), max_length=TINY["max_position_embeddings"])


@pytest.fixture
def loopback_hub():
    """A Hub on 127.0.0.1; clients are processes of their own, with `loopback_hub.environment(token)`."""
    with LoopbackHub() as hub:
        yield hub


@pytest.fixture(scope="session")
def run_script(tmp_path_factory):
    """Run a script of training/ in its own process: `run_script("pretrain.py", "--region", "mx", ...)`."""
    home = tmp_path_factory.mktemp("hf_home")

    def run(script: str, *arguments: object, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        completed = subprocess.run(
            [sys.executable, ROOT / "training" / script, *map(str, arguments)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"} | environment,
        )
        if check:
            assert completed.returncode == 0, completed.stderr
        return completed

    return run
