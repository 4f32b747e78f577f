"""The commands of docs/cluster.md, from dumps to a model, on two local processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, TINY_OVERRIDES
from training.texts.synthetic import generate_texts

TINY_RUN = (
    *("--config_overrides", TINY_OVERRIDES, "--max_steps", "4", "--max_length", "32", "--texts_per_step", "32"),
    *("--streaming_lanes", "2", "--mixed_precision", "no", "--num_threads", "1", "--eval_steps", "4"),
)


def commands() -> list[list[str]]:
    """Return the commands of the page's section, one a list of words."""
    section = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8").split("## From dumps to a model")[1]
    lines = [line.strip() for line in section.split("### The corpus")[0].splitlines() if line.startswith("    ")]
    return [
        command.split()
        for command in " ".join(lines)
        .replace("\\ ", "")
        .replace(" python ", "\npython ")
        .replace(" torchrun ", "\ntorchrun ")
        .splitlines()
    ]


@pytest.mark.slow
def test_the_commands_of_the_page_lead_to_a_model(tmp_path):
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    for number in range(2):
        texts = list(generate_texts("mx", 600, seed=number))
        records = [
            {"full_text": text, "user": {"id_str": str(author % 90)}, "place": {"country_code": "MX"}}
            for author, text in enumerate(texts)
        ]
        (dumps / f"{number}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    install, prepare, tokenize, estimate, train = commands()
    assert install[:2] == ["pip", "install"]
    # Here without SLURM and GPUs, on a tiny model.
    start = prepare.index("--executor")
    end = prepare.index("--workers")
    prepare[start : end + 2] = ["--workers", "2"]
    tokenize += ["--vocab_size", "400", "--min_frequency", "2"]
    estimate += TINY_RUN
    train[train.index("--nproc_per_node") + 1] = "2"
    train += TINY_RUN
    for command in (prepare, tokenize, estimate, train):
        run(command, tmp_path)
    assert (tmp_path / "bilma-mx" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "bilma-mx" / "metrics.json").read_text())["machine"]["processes"] == 2


def run(command: list[str], scratch: Path) -> None:
    words = [word.replace("$SCRATCH", str(scratch)) for word in command]
    start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "torch.distributed.run"]
    more = {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    more["HF_HOME"] = str(scratch / "huggingface")
    done = subprocess.run(
        [*start, *words[1:]], cwd=ROOT, env=os.environ | more, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
