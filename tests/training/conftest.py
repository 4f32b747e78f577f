"""Scripts run in this process, and a small family: two regions of the synthetic corpus, models with one vocabulary."""

import json
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from huggingface_hub import constants

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import add_regions
from modeling_bilma.tokenization_bilma import build_tokenizer, load_tokenizer, train_vocabulary
from tests.conftest import TINY_OVERRIDES
from tests.training.publishing.trained_folder import write_family
from training import evaluate_family, finetune, pretrain
from training.common.errors import run
from training.texts.synthetic import generate_texts

REGIONS = ("ar", "mx")
SAVED = {  # files that every training leaves
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("configuration_bilma.py", "modeling_bilma.py", "metrics.json", "training_args.json"),
}
TEST_FRACTION = 0.2


def write_texts(path: Path, texts: Sequence[str], **columns: Sequence[str]) -> Path:
    rows = [
        {"text": text} | {name: values[number] for name, values in columns.items()}
        for number, text in enumerate(texts)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def save_body(family: Path, folder: Path) -> Path:
    """Save a model with regional parts for `REGIONS`, made of `bilma-mx`; the parts' biases are random."""
    model, tokenizer = add_regions(
        BilmaForMaskedLM.from_pretrained(family / "bilma-mx"), load_tokenizer(family / "tokenizer"), REGIONS
    )
    torch.manual_seed(0)
    with torch.no_grad():
        model.region_bias[:, : model.config.first_region_token_id].normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run_main(script: ModuleType, *argv: object, **flags: object) -> Path:
    """Run a script of training/ in this process and return its output folder; what is in `argv` replaces a flag."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    words = [Path(script.__file__).name]
    for name, value in flags.items():
        if f"--{name}" not in argv:
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*words, *map(str, argv)])
        script.main()
    return Path(flags.get("output_dir", ""))


@pytest.fixture
def refusal(capsys, monkeypatch) -> Callable[..., str]:
    """`refusal(script, main)`: the line that `main` ends with for wrong input, without the script's name."""

    def refusal(script: ModuleType, main: Callable[[], object]) -> str:
        name = Path(script.__file__).name
        monkeypatch.setattr(sys, "argv", [name])  # as it is for a user; `run_main` takes its own back when it ends
        with pytest.raises(SystemExit) as stop:
            run(main)
        assert stop.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        start = f"{name}: error: "
        assert line.startswith(start)
        return line.removeprefix(start)

    return refusal


@pytest.fixture(scope="session")
def family(tmp_path_factory) -> Path:
    """A folder with `corpora/{ar,mx}.jsonl`, `tokenizer`, and `bilma-ar` and `bilma-mx` as pretrain.py writes them."""
    home = tmp_path_factory.mktemp("family")
    (home / "corpora").mkdir()
    texts = {region: generate_texts(region, 400) for region in REGIONS}
    for region in REGIONS:
        write_texts(home / "corpora" / f"{region}.jsonl", texts[region])
    build_tokenizer(train_vocabulary(chain(*texts.values()), 500)).save_pretrained(home / "tokenizer")
    for region in REGIONS:
        run_main(
            pretrain,
            region=region,
            train_file=home / "corpora" / f"{region}.jsonl",
            output_dir=home / f"bilma-{region}",
            tokenizer=home / "tokenizer",
            cache_dir=home / "cache",
            config_overrides=TINY_OVERRIDES,
            test_fraction=TEST_FRACTION,
            max_steps=40,
            eval_steps=40,
            save_steps=40,
            max_length=32,
            texts_per_step=64,
            learning_rate=0.02,
            mixed_precision="no",
            num_threads=1,
        )
    return home


@pytest.fixture(scope="session")
def evaluated_family(family, tmp_path_factory) -> Path:
    """A folder with `bilma-mx-emoji` as finetune.py writes it, and `results`, where it and the family are compared."""
    home = tmp_path_factory.mktemp("evaluated")
    run_main(
        finetune,
        model=family / "bilma-mx",
        task="emoji15",
        train_file=family / "corpora" / "mx.jsonl",
        output_dir=home / "bilma-mx-emoji",
        test_fraction=TEST_FRACTION,
        num_train_epochs=2,
        learning_rate=0.02,
        max_length=24,
        mixed_precision="no",
        num_threads=1,
    )
    run_main(
        evaluate_family,
        models=[family / f"bilma-{region}" for region in REGIONS],
        emoji_models=home / "bilma-mx-emoji",
        corpora=family / "corpora",
        output_dir=home / "results",
        test_fraction=TEST_FRACTION,
        max_length=24,
        mask_draws=1,
        resamples=100,
        max_test_texts=60,
    )
    return home


@pytest.fixture(scope="session")
def made(tokenizer, tmp_path_factory) -> Path:
    """A folder with `bilma`, `bilma-mx-emoji` and `results` like those of the scripts, but not trained."""
    home = tmp_path_factory.mktemp("made")
    write_family(home, tokenizer)
    return home


@pytest.fixture
def online(monkeypatch, tmp_path):
    """`online(xet)` lets clients of this process out, over Xet or LFS, and makes them not wait before they retry.

    The tests' environment says offline, which the library reads once, at its import.
    """
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))  # and not the user's own
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def choose(xet: bool) -> None:
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)

    choose(False)
    return choose


@pytest.fixture(scope="session")
def awkward_texts() -> list[str]:
    """Texts that might be treated differently in a batch and alone."""
    return [
        *("", "  ", "\n-", "1", "ja", "jaja\n", "@ana", "#viernes", "https://", "\u0301acento", "a\u0323"),
        *("[START]", "vamos[END]comer", "[MASK] a [PAD]", "[END", "START]", "[", "]"),
        *("\uffff", "a \uffff b", "\x1e", "vamos\x1ea\x1e"),
        *("x" * 5000, "vamos " * 3000),
    ]
