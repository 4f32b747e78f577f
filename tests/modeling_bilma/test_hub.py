"""A model goes to the Hub with `push_to_hub` and opens elsewhere: every client here is a process of its own."""

import hashlib
import json
import subprocess
import sys
import threading

import pytest
import torch

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from tests.conftest import assert_same_numbers, tiny_config
from tests.loopback_hub import LoopbackHub

CODE = {"configuration_bilma.py", "modeling_bilma.py"}
TEXT = "vamos a comer [MASK] con @ana"

PUSH = """
import sys
from huggingface_hub import HfApi
from transformers import AutoTokenizer
from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification

folder = sys.argv[1]
model = BilmaForMaskedLM.from_pretrained(folder + "/mx")
model.push_to_hub("org/bilma-mx")
tokenizer = AutoTokenizer.from_pretrained(folder + "/mx")
tokenizer.push_to_hub("org/bilma-mx")
HfApi().create_tag("org/bilma-mx", tag="v1.0")
BilmaForMaskedLM.from_pretrained(folder + "/mx-2").push_to_hub("org/bilma-mx")
BilmaForSequenceClassification.from_pretrained(folder + "/mx-emoji").push_to_hub("org/bilma-mx-emoji")
tokenizer.push_to_hub("org/bilma-mx-emoji")
"""

WITHOUT_THE_PACKAGE = "import sys; sys.modules['modeling_bilma'] = None  # any import of the package fails\n"

VISIT = (
    WITHOUT_THE_PACKAGE
    + """
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

text, answers = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained("org/bilma-mx", trust_remote_code=False)
inputs = tokenizer(text, return_tensors="pt")
found = {}
with torch.no_grad():
    for revision in ("v1.0", "main"):
        options = {"trust_remote_code": True, "revision": revision}
        model = AutoModelForMaskedLM.from_pretrained("org/bilma-mx", **options).eval()
        found[revision] = model(**inputs).logits
        found["states " + revision] = AutoModel.from_pretrained("org/bilma-mx", **options).eval()(**inputs)[0]
fill = pipeline("fill-mask", model="org/bilma-mx", trust_remote_code=True)
found["fill-mask"] = [answer["token"] for answer in fill(text, top_k=3)]
classify = pipeline("text-classification", model="org/bilma-mx-emoji", trust_remote_code=True)
found["label"] = classify(text)[0]
torch.save(found, answers)
"""
)

FINE_TUNE = (
    WITHOUT_THE_PACKAGE
    + """
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("org/bilma-mx", trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained("org/bilma-mx", trust_remote_code=True, num_labels=3)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
model(**tokenizer(sys.argv[1], return_tensors="pt"), labels=torch.tensor([2])).loss.backward()
optimizer.step()
model.push_to_hub("eva/opiniones")
tokenizer.push_to_hub("eva/opiniones")
with torch.no_grad():
    torch.save(model.eval()(**tokenizer(sys.argv[1], return_tensors="pt")).logits, sys.argv[2])
"""
)

OPEN_FINE_TUNED = (
    WITHOUT_THE_PACKAGE
    + """
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("eva/opiniones", trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained("eva/opiniones", trust_remote_code=True).eval()
with torch.no_grad():
    torch.save(model(**tokenizer(sys.argv[1], return_tensors="pt")).logits, sys.argv[2])
"""
)

WITHOUT_TRUST = (
    WITHOUT_THE_PACKAGE
    + """
import json, pathlib
from transformers import AutoModelForMaskedLM, AutoTokenizer

marker, found = pathlib.Path(sys.argv[1]), {}
for trust in ({"trust_remote_code": False}, {}):
    try:
        AutoModelForMaskedLM.from_pretrained("org/marked", **trust)
    except ValueError as error:
        found[str(trust)] = str(error)
found["tokens"] = AutoTokenizer.from_pretrained("org/marked", trust_remote_code=False).tokenize("vamos")
found["ran without trust"] = marker.exists()
AutoModelForMaskedLM.from_pretrained("org/marked", trust_remote_code=True)
found["ran with trust"] = marker.exists()
print("\\n" + json.dumps(found))  # the question whether to trust ends without a new line
"""
)

PULL = """
import hashlib, json, pathlib, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import snapshot_download

def pull(_):
    with tempfile.TemporaryDirectory() as cache:
        root = pathlib.Path(snapshot_download("org/bilma-mx", cache_dir=cache))
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

clients = int(sys.argv[1])
with ThreadPoolExecutor(clients) as pool:
    print(json.dumps(list(pool.map(pull, range(clients)))))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """The models `mx`, `mx-2` (other weights) and `mx-emoji` as save_pretrained writes them."""
    path, size = tmp_path_factory.mktemp("models"), len(tokenizer)
    labels = {"id2label": {0: "😍", 1: "😭"}, "label2id": {"😍": 0, "😭": 1}}
    torch.manual_seed(0)
    BilmaForMaskedLM(tiny_config(vocab_size=size)).save_pretrained(path / "mx")
    BilmaForMaskedLM(tiny_config(vocab_size=size)).save_pretrained(path / "mx-2")
    BilmaForSequenceClassification(tiny_config(vocab_size=size, **labels)).save_pretrained(path / "mx-emoji")
    tokenizer.save_pretrained(path / "mx")
    return path


def succeed(completed: subprocess.CompletedProcess) -> str:
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


@pytest.fixture(scope="module", params=["lfs", "xet"])
def hub(request, folder):
    """A Hub to which the models were pushed over LFS, or over Xet; `hub.over_xet` says which."""
    with LoopbackHub() as hub:
        hub.over_xet = request.param == "xet"
        succeed(hub.run(PUSH, folder, user="ana", xet=hub.over_xet))
        yield hub


@pytest.fixture(scope="module")
def found(hub, tmp_path_factory):
    """What a visitor finds who has neither the package, nor a token, nor anything in HF_HOME."""
    answers = tmp_path_factory.mktemp("visit") / "answers.pt"
    succeed(hub.run(VISIT, TEXT, answers, xet=hub.over_xet))
    return torch.load(answers)


@pytest.mark.slow
def test_push_to_hub_ships_the_code(hub):
    for repository in ("org/bilma-mx", "org/bilma-mx-emoji"):
        files = hub.files(repository)
        assert {*CODE, "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= set(files)
        for name in CODE:
            assert files[name].decode().startswith('"""'), name
    stored = hub.xet.hashes if hub.over_xet else hub.store.objects
    assert hashlib.sha256(hub.files("org/bilma-mx")["model.safetensors"]).hexdigest() in stored
    assert bool(hub.xet.hashes) == hub.over_xet


@pytest.mark.slow
@pytest.mark.parametrize(("revision", "name"), [("v1.0", "mx"), ("main", "mx-2")])
def test_numbers_from_the_hub_are_the_local_ones(found, folder, tokenizer, revision, name):
    model = BilmaForMaskedLM.from_pretrained(folder / name).eval()
    inputs = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        assert_same_numbers(found[revision], model(**inputs).logits)
        assert_same_numbers(found[f"states {revision}"], model.bilma(**inputs)[0])


def test_pipelines_answer(found, tokenizer):
    at = tokenizer(TEXT).input_ids.index(tokenizer.mask_token_id)
    assert found["fill-mask"] == found["main"][0, at].topk(3).indices.tolist()
    assert found["label"]["label"] in "😍😭"


def test_no_token_reaches_the_storage(hub, found):
    elsewhere = [request for request in hub.requests if request.host.startswith("localhost")]
    assert {request.step for request in elsewhere} >= ({"xet_xorb", "xet_get"} if hub.over_xet else {"lfs_put"})
    assert not [request for request in elsewhere if request.token in hub.tokens.values()]


@pytest.mark.slow
@pytest.mark.parametrize("hub", ["xet"], indirect=True)
def test_a_fine_tuned_model_pushed_by_somebody_else_has_the_code_in_its_own_repository(hub, tmp_path):
    succeed(hub.run(FINE_TUNE, TEXT, tmp_path / "there.pt", user="eva", xet=hub.over_xet))
    files = hub.files("eva/opiniones")
    for name in CODE:
        assert files[name] == hub.files("org/bilma-mx")[name]
    auto_map = json.loads(files["config.json"])["auto_map"]
    assert auto_map["AutoModelForSequenceClassification"] == "modeling_bilma.BilmaForSequenceClassification"
    original = hub.store.repositories.pop("org/bilma-mx")
    try:
        succeed(hub.run(OPEN_FINE_TUNED, TEXT, tmp_path / "here.pt", xet=hub.over_xet))
    finally:
        hub.store.repositories["org/bilma-mx"] = original
    assert_same_numbers(torch.load(tmp_path / "here.pt"), torch.load(tmp_path / "there.pt"))


def test_without_trust_the_model_does_not_load_and_nothing_runs(loopback_hub, folder, tmp_path):
    marker = tmp_path / "the code of the repository ran"
    side_effect = f"\nimport pathlib\npathlib.Path({str(marker)!r}).touch()\n".encode()
    files = {path.name: path.read_bytes() for path in (folder / "mx").iterdir()}
    for name in CODE:
        files[name] += side_effect
    loopback_hub.store.create_repository(loopback_hub.user("ana"), "org/marked", private=False)
    loopback_hub.commit("org/marked", files)
    found = json.loads(succeed(loopback_hub.run(WITHOUT_TRUST, marker)).splitlines()[-1])
    assert "trust_remote_code=True" in found["{'trust_remote_code': False}"]
    assert "trust_remote_code=True" in found["{}"]
    assert found["tokens"] == ["vamos"]
    assert found["ran without trust"] is False
    assert found["ran with trust"] is True


def test_50_concurrent_clients_get_the_same_bytes(hub):
    """Five processes with ten clients each, every one with a cache of its own; no download begins before all asked."""
    everybody = threading.Barrier(50)
    hub.faults.before("info", lambda: everybody.wait(timeout=120), times=50)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PULL, "10"], env=hub.environment(xet=hub.over_xet), stdout=subprocess.PIPE
        )
        for _ in range(5)
    ]
    pulled = [files for process in processes for files in json.loads(process.communicate(timeout=300)[0])]
    expected = {name: hashlib.sha256(data).hexdigest() for name, data in hub.files("org/bilma-mx").items()}
    assert pulled == [expected] * 50
