"""A saved folder ships its own code: it opens in a process that does not have this package."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import pipeline

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.regional import merge_region
from tests.conftest import assert_same_numbers, tiny_config
from tests.modeling_bilma.models import make_regional

AUTO_CLASSES = (
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
)

CLIENT = """
import json, sys
sys.modules["modeling_bilma"] = None  # any import of the package fails
import torch, transformers
from transformers import AutoConfig, AutoTokenizer, pipeline

folder, results = sys.argv[1], {}
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
results["tokenizer"] = type(tokenizer).__name__
inputs = tokenizer("vamos a comer [MASK] con @ana", return_tensors="pt")
results["config"] = type(AutoConfig.from_pretrained(folder, trust_remote_code=True)).__name__
for name in sys.argv[2:]:
    auto = getattr(transformers, name)
    model, info = auto.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    with torch.no_grad():
        first = model.eval()(**inputs)[0]
    results[name] = {
        "class": type(model).__name__,
        "missing": sorted(info["missing_keys"]),
        "shape": list(first.shape),
        "sum": first.double().sum().item(),
        "finite": bool(first.isfinite().all()),
    }
model = transformers.AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)
model.save_pretrained(sys.argv[1] + "-again")
tokenizer.save_pretrained(sys.argv[1] + "-again")
fill = pipeline("fill-mask", model=folder + "-again", trust_remote_code=True)
results["answers"] = [answer["token_str"] for answer in fill("vamos a comer[MASK].", top_k=3)]
print(json.dumps(results))
"""


def run_client(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", CLIENT, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("hub") / "bilma-mx"
    BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def results(folder, tmp_path_factory):
    completed = run_client(folder, *AUTO_CLASSES)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout.splitlines()[-1])


def test_the_folder_holds_the_code(folder):
    assert {"configuration_bilma.py", "modeling_bilma.py", "model.safetensors"} <= {f.name for f in folder.iterdir()}


@pytest.mark.parametrize("name", AUTO_CLASSES)
def test_opens_through_every_auto_class(results, name):
    found = results[name]
    expected = name.replace("AutoModel", "Bilma") if name != "AutoModel" else "BilmaModel"
    assert found["class"] == expected
    assert found["finite"]
    heads_are_new = "Classification" in name
    assert bool(found["missing"]) == heads_are_new
    assert all(key.startswith("classifier.") for key in found["missing"])


def test_logits_are_those_of_the_package(results, folder, tokenizer):
    model = BilmaForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(**tokenizer("vamos a comer [MASK] con @ana", return_tensors="pt")).logits
    assert results["AutoModelForMaskedLM"]["shape"] == list(logits.shape)
    assert results["AutoModelForMaskedLM"]["sum"] == logits.double().sum().item()


def test_the_tokenizer_is_no_remote_code(results):
    assert results["tokenizer"] == "TokenizersBackend"


def test_a_model_saved_again_without_the_package_keeps_its_code(results, folder):
    assert len(results["answers"]) == 3
    again = folder.with_name("bilma-mx-again")
    assert {"configuration_bilma.py", "modeling_bilma.py"} <= {file.name for file in again.iterdir()}
    assert set(json.loads((again / "config.json").read_text())["auto_map"]) == {"AutoConfig", *AUTO_CLASSES}


def test_a_fine_tuned_classifier_opens_too(tokenizer, tmp_path):
    config = tiny_config(vocab_size=len(tokenizer), id2label={0: "😍", 1: "😭"}, label2id={"😍": 0, "😭": 1})
    BilmaForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    code = (
        "import sys; sys.modules['modeling_bilma'] = None\n"
        "from transformers import AutoModelForTokenClassification, pipeline\n"
        "classify = pipeline('text-classification', model=sys.argv[1], trust_remote_code=True)\n"
        "assert classify('que onda')[0]['label'] in '😍😭'\n"
        "AutoModelForTokenClassification.from_pretrained(sys.argv[1], trust_remote_code=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    completed = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert completed.returncode == 0, completed.stderr


def test_nothing_runs_without_trust(folder):
    client = CLIENT.replace("trust_remote_code=True", "trust_remote_code=False")
    command = [sys.executable, "-c", client, str(folder)]
    completed = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert completed.returncode != 0
    assert "trust_remote_code=True" in completed.stderr


REGIONAL_CLIENT = """
import sys; sys.modules["modeling_bilma"] = None  # any import of the package fails
import json, torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification, AutoTokenizer, pipeline
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
inputs = tokenizer("[MX] vamos a comer [MASK]", return_tensors="pt")
found = {}
for auto in (AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification):
    model, info = auto.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    found[auto.__name__] = [sorted(info["missing_keys"]), sorted(info["unexpected_keys"])]
    if auto is AutoModelForMaskedLM:
        found["logits"] = model.eval()(**inputs).logits.tolist()
fill = pipeline("fill-mask", model=folder, trust_remote_code=True)
found["answers"] = [[answer["token"] for answer in fill(f"{token} vamos a comer [MASK]", top_k=3)]
                    for token in ("[MX]", "[AR]", "")]
print(json.dumps(found))
"""


def test_a_regional_model_opens_and_answers_by_region(tokenizer, tmp_path):
    model, extended = make_regional(tokenizer)
    model.save_pretrained(tmp_path)
    extended.save_pretrained(tmp_path)
    completed = subprocess.run([sys.executable, "-c", REGIONAL_CLIENT, str(tmp_path)], capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr
    found = json.loads(completed.stdout.splitlines()[-1])
    assert found["AutoModel"] == found["AutoModelForMaskedLM"] == [[], []]
    assert all(key.startswith("classifier.") for key in found["AutoModelForTokenClassification"][0])
    inputs = extended("[MX] vamos a comer [MASK]", return_tensors="pt")
    assert_same_numbers(torch.tensor(found["logits"]), model(**inputs).logits)
    mexico, argentina, nobody = found["answers"]
    assert mexico != argentina != nobody != mexico
    plain, plain_tokenizer = merge_region(model, extended, "mx")
    fill = pipeline("fill-mask", model=plain, tokenizer=plain_tokenizer)
    assert [answer["token"] for answer in fill("vamos a comer [MASK]", top_k=3)] == mexico
