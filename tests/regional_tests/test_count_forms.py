"""The counting of the forms of the tests of regional knowledge."""

import gzip
import json
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from regional_tests import count_forms
from regional_tests.count_forms import REGIONS, borne_out, comparisons, count, forms_of, words

ITEM = {
    "id": "lex-bus-01",
    "kind": "lexical_cloze",
    "concept": "bus",
    "sentence": "Voy en [MASK].",
    "forms": {"cl": ["micro"], "mx": ["camión", "autobús"], "es": ["autobús"]},
    "source": "general knowledge",
}


def write_texts(path, texts):
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in texts)


@pytest.fixture
def corpora(tmp_path):
    for region in REGIONS:
        write_texts(tmp_path / "corpora" / f"{region}.jsonl.gz", ["uno dos tres cuatro"])
    write_texts(tmp_path / "corpora" / "cl.jsonl.gz", ["La MICRO, la micro.", "@usuario https://url"])
    write_texts(tmp_path / "corpora" / "more" / "mx_blogs.jsonl.gz", ["un camion lleno aquí"])
    return tmp_path / "corpora"


def run(tmp_path, corpora):
    """Run the script as it lies in a folder of its own, beside data of its own."""
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    shutil.copy(count_forms.__file__, folder)
    items = folder / "data" / "lexical_cloze.jsonl"
    if not items.exists():
        items.write_text(json.dumps(ITEM) + "\n", encoding="utf-8")
    command = [sys.executable, folder / "count_forms.py", "--corpora", corpora]
    return items, subprocess.run(command, capture_output=True, text=True)


def test_words_are_lower_cased_without_accents_placeholders_and_punctuation():
    assert words("¡Ómnibus, AÑO! @usuario https://url cachái_po 3") == ("omnibus", "año", "cachai", "po", "3")


def test_forms_of_each_kind():
    assert forms_of(ITEM) == ["micro", "camión", "autobús"]
    assert forms_of(ITEM | {"kind": "false_friend", "word": "guagua"}) == ["guagua", "micro", "camión", "autobús"]
    assert forms_of({"kind": "grammar_pair", "marked_a": "querés", "marked_b": "quieres"}) == ["querés", "quieres"]


def test_count_takes_overlapping_and_several_word_forms(tmp_path):
    write_texts(tmp_path / "texts.jsonl.gz", ["ya po ya po ya", "ya, po"])
    counts, total = count([tmp_path / "texts.jsonl.gz"], {("ya", "po"), ("ya",), ("po", "ya")})
    assert counts == {("ya", "po"): 3, ("ya",): 4, ("po", "ya"): 2}
    assert total == 7


def test_frequencies_are_written_into_the_items(tmp_path, corpora):
    items, done = run(tmp_path, corpora)
    assert done.returncode == 0, done.stderr
    written = json.loads(items.read_text(encoding="utf-8"))
    rows = {row.pop("form"): row for row in written.pop("frequencies")}
    assert written == ITEM
    assert rows["micro"] == {**dict.fromkeys(REGIONS, 0), "cl": 500_000}
    assert rows["camión"] == {**dict.fromkeys(REGIONS, 0), "mx": 125_000}  # one of four words and four more


def test_counting_again_changes_nothing(tmp_path, corpora):
    items, _ = run(tmp_path, corpora)
    first = items.read_bytes()
    run(tmp_path, corpora)
    assert items.read_bytes() == first
    assert [path.name for path in items.parent.iterdir()] == [items.name]


def test_missing_region_is_one_line_and_leaves_the_items_alone(tmp_path, corpora):
    (corpora / "uy.jsonl.gz").unlink()
    items, done = run(tmp_path, corpora)
    assert done.returncode == 2
    assert "uy.jsonl.gz is missing: --corpora takes a folder" in done.stderr.splitlines()[-1]
    assert json.loads(items.read_text(encoding="utf-8")) == ITEM


def test_text_that_is_no_json_is_one_line(tmp_path, corpora):
    with gzip.open(corpora / "ve.jsonl.gz", "wt") as lines:
        lines.write("no json\n")
    _, done = run(tmp_path, corpora)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_comparisons_leave_out_shared_forms_and_words_of_the_context():
    assert (("micro",), "cl", "mx") in set(comparisons(ITEM))
    assert (("autobus",), "mx", "es") not in set(comparisons(ITEM))
    context = ITEM | {"kind": "false_friend", "word": "guagua", "forms": {"cl": ["llorar"], "us": ["frenar"]}}
    assert list(comparisons(context)) == []


def test_borne_out_compares_rates_and_asks_for_enough_occurrences():
    item = {"kind": "grammar_pair", "marked_a": "vos", "marked_b": "tú", "prefer_a": ["ar"], "prefer_b": ["mx"]}
    counted = {region: (Counter(), 1) for region in REGIONS}
    counted["ar"] = (Counter({("vos",): 10, ("tu",): 1}), 1_000)
    counted["mx"] = (Counter({("vos",): 20, ("tu",): 8}), 10_000)
    # *vos*: 10 of 1,000 against 20 of 10,000 words; *tú*: nine occurrences are too few.
    assert borne_out([item, item], counted) == "1 of 1 comparisons of regions borne out (ar 1.00)"
    assert borne_out([item], counted, least=9) == "1 of 2 comparisons of regions borne out (ar 1.00, mx 0.00)"
