import pytest

from modeling_bilma import BilmaForMaskedLM, BilmaForSequenceClassification
from modeling_bilma.regional import add_regions
from tests.conftest import tiny_config
from training import complete
from training.common.errors import run
from training.inference.completions import table


@pytest.fixture(scope="module")
def models(tmp_path_factory, tokenizer):
    folders = [tmp_path_factory.mktemp("models") / name for name in ("bilma-mx", "bilma-ar")]
    for folder in folders:
        BilmaForMaskedLM(tiny_config(vocab_size=len(tokenizer))).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folders


def test_a_table_has_a_column_for_each_model():
    found = table("vamos a [MASK]", ["mx", "ar"], [[("comer", 0.5), ("ir", 0.25)], [("morfar", 0.125), ("ir", 0.1)]])
    assert found == "vamos a [MASK]\n  mx          ar\n  comer 0.50  morfar 0.12\n  ir 0.25     ir 0.10"


@pytest.mark.slow
def test_models_are_shown_side_by_side(run_script, models):
    phrases = ("vamos a comer [MASK]", "[MASK] en la mañana")
    lines = run_script("complete.py", "--models", *models, "--phrases", *phrases, "--top_k", 2).stdout.splitlines()
    assert [lines[0], lines[4]] == list(phrases)
    assert lines[1].split() == ["bilma-mx", "bilma-ar"]
    assert len(lines) == 8


@pytest.mark.slow
def test_a_model_with_regional_parts_answers_for_each_region(run_script, models, tokenizer, tmp_path):
    model, regional_tokenizer = add_regions(BilmaForMaskedLM.from_pretrained(models[0]), tokenizer, ["ar", "mx"])
    model.save_pretrained(tmp_path)
    regional_tokenizer.save_pretrained(tmp_path)
    lines = run_script(
        "complete.py", "--models", tmp_path, models[1], "--phrases", "vamos a [MASK]"
    ).stdout.splitlines()
    assert lines[1].split() == ["ar", "mx", "bilma-ar"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--phrases", "vamos"], "phrase 'vamos' holds [MASK] 0 times: write it once"),
        (["--phrases", "[MASK] [MASK]"], "holds [MASK] 2 times"),
        (["--phrases", "[MASK]", "--top_k", "0"], "--top_k 0 is not 1 or more"),
        (["--phrases", "a " * 60 + "[MASK]"], "too few to reach its mask: 'a a a"),
    ],
)
def test_wrong_input(models, monkeypatch, capsys, flags, message):
    assert message in refused(monkeypatch, capsys, "--models", models[0], *flags)


def test_a_classifier_has_no_words(models, tokenizer, tmp_path, monkeypatch, capsys):
    BilmaForSequenceClassification(tiny_config(vocab_size=len(tokenizer))).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    message = refused(monkeypatch, capsys, "--models", tmp_path, "--phrases", "[MASK]")
    assert "is a BilmaForSequenceClassification: give a masked language model" in message


def test_a_folder_without_a_model(tmp_path, monkeypatch, capsys):
    assert str(tmp_path) in refused(monkeypatch, capsys, "--models", tmp_path, "--phrases", "[MASK]")


def refused(monkeypatch, capsys, *argv: object) -> str:
    monkeypatch.setattr("sys.argv", ["complete.py", *map(str, argv)])
    with pytest.raises(SystemExit) as stop:
        run(complete.main)
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("complete.py: error: ")
    return last
