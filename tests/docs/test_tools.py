"""Each program of docs/tools.md runs as it stands there, in a process of its own, and its result is usable."""

import ast
import csv
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

THINGS = ["el café", "la película", "el hotel", "la comida", "el concierto", "la serie", "el partido", "la clase"]
GOOD = ["me encantó", "recomiendo mucho", "valió la pena", "qué alegría"]
BAD = ["me decepcionó", "no recomiendo", "no valió la pena", "qué tristeza"]
CITIES = [["Lima"], ["Buenos", "Aires"], ["Bogotá"], ["La", "Paz"]]


def programs() -> dict[str, str]:
    """Return the Python block of each section of the page by its heading."""
    page = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    sections = (section.split("\n", 1) for section in page.split("\n## ")[1:])
    blocks = {title: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for title, text in sections}
    return {title: code for title, (code,) in ((title, found) for title, found in blocks.items() if found)}


class Reader:
    """Someone who follows the page in a folder of their own, without this repository on the path."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.warnings = ""  # of the last program

    def python(self, *arguments: str) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        completed = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment | {"HF_HOME": str(self.folder / "home"), "CUDA_VISIBLE_DEVICES": ""},
        )
        assert completed.returncode == 0, completed.stderr
        self.warnings = completed.stderr
        return completed.stdout

    def run(self, heading: str, *launcher: str) -> str:
        """Return what the program under a heading of the page prints."""
        (self.folder / "program.py").write_text(programs()[heading], encoding="utf-8")
        return self.python(*launcher, "program.py")

    def answers(self, task: str, model: str, *texts: str) -> list:
        """Return what a pipeline says of texts with a model that a program saved."""
        code = f"""
import json
from transformers import pipeline
ask = pipeline({task!r}, model={model!r}, trust_remote_code=True)
print(json.dumps(ask({list(texts)!r}), default=float))
"""
        return json.loads(self.python("-c", code).splitlines()[-1])


@pytest.fixture
def reader(tmp_path) -> Reader:
    """A reader with the files that the page names."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    opinions = [
        (f"{verb} {thing}", label) for label, verbs in ((0, BAD), (1, GOOD)) for verb in verbs for thing in THINGS
    ]
    _write_csv(tmp_path / "opinions.csv", ("text", "label"), opinions)
    pairs = [(f"{verb} {thing}", f"{thing} {verb}") for verb, thing in product(GOOD + BAD, THINGS)]
    _write_csv(tmp_path / "pairs.csv", ("anchor", "positive"), pairs)
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text, _ in opinions), encoding="utf-8")
    with (tmp_path / "words.jsonl").open("w", encoding="utf-8") as file:
        for verb, city in product(("vivo", "trabajo", "estudio", "nací"), CITIES):
            tags = ["O", "O", "B-PLACE", *["I-PLACE"] * (len(city) - 1)]
            file.write(json.dumps({"tokens": [verb, "en", *city], "tags": tags}) + "\n")
    return Reader(tmp_path)


def _write_csv(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def test_the_tokenizer_opens_without_question_or_warning(reader):
    found = ast.literal_eval(reader.run("The tokenizer alone"))
    text = "[MX] cuesta 1250 pesos, @ana"
    assert [(token, text[first:last]) for token, (first, last) in found if token in ("0", "_", "usr", "pesos")] == [
        ("0", "0"),
        ("pesos", "pesos"),
        ("_", "@"),
        ("usr", "a"),
    ]
    assert "wish to run" not in reader.warnings and "can yield errors" not in reader.warnings


def test_masked_language_model(reader):
    printed = reader.run("Trainer: masked language modelling")
    assert float(re.search(r"'eval_loss': '?([\d.]+)", printed)[1]) < 10
    (best, *_) = reader.answers("fill-mask", "bilma-continued", "me encantó la [MASK]")
    assert best["token_str"] in {"pelicula", "comida", "serie", "clase"}  # as the uncased model writes them


def test_classes_of_texts(reader):
    printed = reader.run("Trainer: classes of texts")
    assert float(printed.splitlines()[-1]) > 0.8
    found = reader.answers("text-classification", "bilma-opinions", "me encantó el hotel", "no recomiendo el café")
    assert [answer["label"] for answer in found] == ["positive", "negative"]


def test_classes_of_words(reader):
    reader.run("Trainer: classes of words")
    (found,) = reader.answers("token-classification", "bilma-places", "vivo en Bogotá")
    assert [(entity["entity"], entity["start"]) for entity in found] == [("B-PLACE", 8)]


def test_several_processes(reader):
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2")
    printed = reader.run("Trainer: classes of texts", *launcher)
    accuracies = re.findall(r"^[\d.]+$", printed, re.MULTILINE)
    assert len(accuracies) == 2 and accuracies[0] == accuracies[1]
    assert float(accuracies[0]) > 0.8


def test_lora_is_merged_into_a_plain_model(reader, tmp_path):
    reader.run("LoRA: peft")
    adapter = load_file(tmp_path / "bilma-opinions-adapter" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in adapter if "lora_A" in name} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    }
    found = reader.answers(
        "text-classification", "bilma-opinions-merged", "me encantó el hotel", "no recomiendo el café"
    )
    assert [answer["label"] for answer in found] == ["LABEL_1", "LABEL_0"]


def test_pairs_bring_their_vectors_together(reader):
    reader.run("Sentence vectors: sentence-transformers")
    code = """
from sentence_transformers import SentenceTransformer
encoder = SentenceTransformer("bilma-sentences", trust_remote_code=True)
first, same, other = encoder.encode(["me encantó el hotel", "el hotel me encantó", "la serie me decepcionó"])
print(float(encoder.similarity(first, same)), float(encoder.similarity(first, other)))
"""
    near, far = map(float, reader.python("-c", code).split())
    assert near > far + 0.1


def test_few_examples(reader):
    printed = reader.run("Few examples: SetFit")
    assert re.search(r"\[1,? 0\]", printed.splitlines()[-1])


def test_compiled_model(reader):
    printed = reader.run("torch.compile").splitlines()[-1]
    found = reader.answers("fill-mask", "models/bilma", "[MX] vamos a comer [MASK]", "[AR] ¿[MASK] que hacer?")
    assert printed == str([best["token_str"] for best, *_ in found])


@pytest.mark.skipif(
    not find_spec("torchao"), reason="torchao, which slows every start of transformers, is not installed"
)
def test_int8(reader):
    printed = reader.run("Int8: torchao").splitlines()[-1]
    (best, *_) = reader.answers("fill-mask", "models/bilma", "[MX] vamos a comer [MASK]")
    assert printed == str([best["token_str"]])
