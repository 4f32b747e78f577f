"""The page in Chromium: its answers are those of Python, and it keeps its word on links, networks and readers."""

import json
import re
import shutil
from functools import partial
from urllib.parse import quote

import numpy as np
import onnxruntime
import pytest
import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer
from tests.conftest import ROOT
from tests.space.conftest import PATIENCE_MS, serve
from tests.training.exporting.conftest import REGIONS

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.browser


SENTENCES = [
    "vamos a comer [MASK]",
    "¿Qué onda, [MASK]? jajajaja",
    "Estoy en la [MASK] de México, ¡qué frío! 😍",
    "el [MASK] subió de precio",
    "me gusta tomar [MASK] en la mañana con @ana_42",
    "[MASK] hay partido a las 10:30",
    "no tengo [MASK] https://t.co/abc #Viernes",
    "la quincena no [MASK]",
    "Me gusta el [MASK] y la ciudad",
    "los primos de [MASK] llegan mañana 😭",
]
SHOWN = 6
WORD = re.compile(r"[^\W\d_]|[😀-🙏]")  # as WORD in model.js, for the vocabulary of these tests


def open_at(page, address, text, **more):
    query = "".join(f"&{name}={value}" for name, value in more.items())
    page.goto(f"{address}#t={quote(text)}{query}")


def wait_for_answers(page, text):
    expect(page.locator("body")).to_have_attribute("data-answered", text)
    expect(page.locator(".card")).to_have_count(len(REGIONS))


def shown_answers(page) -> dict[str, list[tuple[str, float]]]:
    rows = page.locator(".card").evaluate_all(
        "cards => cards.map(card => [card.dataset.region, "
        "[...card.querySelectorAll('.answer')].map(row => [row.dataset.word, Number(row.dataset.p)])])"
    )
    return {region: [tuple(answer) for answer in answers] for region, answers in rows}


def probabilities_in_python(folder, text) -> dict[str, float]:
    """Of every token at the mask, by region, from the int8 graph that the page has."""
    tokenizer = load_tokenizer(folder / "model")
    ids = np.array([tokenizer(text)["input_ids"]] * len(REGIONS))
    session = onnxruntime.InferenceSession(folder / "model/onnx/masked_quantized.onnx")
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "mask_positions": (ids == tokenizer.mask_token_id).argmax(1)[:, None],
        "region": np.arange(len(REGIONS)),
    }
    logits = torch.from_numpy(session.run(None, inputs)[0][:, 0])
    return dict(zip(REGIONS, logits.softmax(-1).numpy(), strict=True))


def words_of(folder) -> dict[str, int]:
    vocabulary = json.loads((folder / "model/tokenizer.json").read_text())["model"]["vocab"]
    return {token: number for token, number in vocabulary.items() if WORD.match(token)}


# Without VNNI, ONNX Runtime adds pairs of int8 products in 16 bits, which saturate; WebAssembly does not.
EXACT_IN_PYTHON = pytest.mark.skipif(
    not any(torch.cpu.get_capabilities().get(name) for name in ("avx512_vnni", "avx_vnni")),
    reason="int8 products of ONNX Runtime saturate on this CPU, which has no VNNI",
)


@EXACT_IN_PYTHON
def test_answers_are_those_of_python(page, address, page_folder):
    words = words_of(page_folder)
    for text in SENTENCES:
        open_at(page, address, text)
        wait_for_answers(page, text)
        expected = probabilities_in_python(page_folder, text)
        for region, answers in shown_answers(page).items():
            own = expected[region]
            best = sorted((own[number] for number in words.values()), reverse=True)[:SHOWN]
            np.testing.assert_allclose([p for _, p in answers], best, rtol=0.02, atol=1e-4)
            np.testing.assert_allclose([p for _, p in answers], [own[words[word]] for word, _ in answers], rtol=0.02)
    assert page.errors == []


@EXACT_IN_PYTHON
@torch.no_grad()
def test_the_graph_of_the_page_answers_as_the_model(model_folder, page_folder):
    model = BilmaForMaskedLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(model_folder)
    for text in SENTENCES:
        for region, int8 in probabilities_in_python(page_folder, text).items():
            ids = tokenizer(f"[{region.upper()}] {text}", return_tensors="pt")["input_ids"]
            expected = model(ids).logits[ids == tokenizer.mask_token_id][0].softmax(-1).numpy()
            np.testing.assert_allclose(int8, expected[: len(int8)], atol=0.01)


def test_the_weights_come_with_their_terms(page_folder):
    settings = (page_folder / "README.md").read_text(encoding="utf-8").split("---")[1]
    assert "license: other" in settings and "license_link: LICENSE" in settings
    assert (page_folder / "LICENSE").read_bytes() == (ROOT / "model_cards" / "LICENSE").read_bytes()
    assert (page_folder / "LICENSE.code").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_a_click_hides_a_word_and_another_shows_it_again(page, address):
    open_at(page, address, "me gusta tomar café")
    expect(page.locator("#status")).to_contain_text("Esconde una palabra")
    word = partial(page.get_by_role("group").get_by_role, "button")
    word(name="café").click()
    wait_for_answers(page, "me gusta tomar [MASK]")
    word(name="tomar").click()  # the other word comes back
    wait_for_answers(page, "me gusta [MASK] café")
    word(name="tomar (escondida)").click()
    expect(page.locator("#sentence")).to_have_value("me gusta tomar café")
    assert page.errors == []


def test_english(page, address):
    open_at(page, address, SENTENCES[0])
    wait_for_answers(page, SENTENCES[0])
    page.get_by_role("button", name="Switch to English").click()
    expect(page.locator("h1")).to_have_text("Eight ways to finish a sentence")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".card.us .region-name")).to_have_text("United States")
    page.reload()
    expect(page.locator("h1")).to_have_text("Eight ways to finish a sentence")


def test_a_link_carries_sentence_and_view(page, address):
    open_at(page, address, "vamos a [MASK]")
    wait_for_answers(page, "vamos a [MASK]")
    page.fill("#sentence", SENTENCES[3])
    wait_for_answers(page, SENTENCES[3])
    page.get_by_role("tab", name="¿Quién diría esto?").click()
    page.get_by_role("button", name="Copiar enlace").click()
    expect(page.locator("#status")).to_have_text("Enlace copiado")
    link = page.evaluate("() => navigator.clipboard.readText()")
    other = page.context.new_page()
    other.goto(link)
    expect(other.locator("#sentence")).to_have_value(SENTENCES[3])
    expect(other.locator("#speakers")).to_be_visible()


def test_who_would_say_this(page, address, model_folder):
    """Shares are those of the likelihoods of the words, each hidden in turn, in Python."""
    text = "el camion no llega"
    open_at(page, address, text, v="speakers")
    expect(page.locator("button.said")).to_have_count(4)
    shown = dict(
        page.locator(".speaker").evaluate_all("rows => rows.map(r => [r.dataset.region, Number(r.dataset.value)])")
    )
    model = BilmaForMaskedLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(model_folder)
    pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in text.split()]
    sums = torch.zeros(len(REGIONS))
    for number, region in enumerate(REGIONS):
        whole = tokenizer(f"[{region.upper()}] {text}", return_tensors="pt")["input_ids"][0]
        start = len(whole) - 1 - sum(map(len, pieces))
        for word in pieces:
            places = torch.arange(start, start + len(word))
            hidden = whole.index_fill(0, places, tokenizer.mask_token_id)
            with torch.no_grad():
                logs = model(hidden[None]).logits[0].log_softmax(-1)
            sums[number] += logs[places, torch.tensor(word)].sum()
            start += len(word)
    np.testing.assert_allclose([shown[region] for region in REGIONS], sums.softmax(0).numpy(), atol=0.05)
    page.locator("button.said").first.hover()
    expect(page.locator("#caption")).to_have_text("«el»")


def test_nothing_leaves_the_origin_and_the_second_visit_needs_no_network(page, address):
    asked = []
    page.context.on("request", lambda request: asked.append(request.url))
    open_at(page, address, SENTENCES[0])
    wait_for_answers(page, SENTENCES[0])
    page.evaluate("async () => { await navigator.serviceWorker.ready }")
    page.context.set_offline(True)
    open_at(page, address, SENTENCES[3])
    page.reload()
    wait_for_answers(page, SENTENCES[3])
    assert any("masked_quantized.onnx" in url for url in asked)
    assert [url for url in asked if not url.startswith(address)] == []
    blocked = page.evaluate("() => fetch('http://localhost:9/').then(() => 'sent', () => 'blocked')")
    assert blocked == "blocked"
    assert "connect-src 'self'" in page.locator("meta[http-equiv]").get_attribute("content")


def test_a_damaged_model_is_said_and_not_used(page, page_folder, tmp_path):
    damaged = shutil.copytree(page_folder, tmp_path / "damaged")
    model = damaged / "model/onnx/masked_quantized.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-100] + bytes(100))
    for address in serve(damaged):
        open_at(page, address, SENTENCES[0])
        expect(page.get_by_role("alert")).to_contain_text("El archivo del modelo llegó dañado")
        model.write_bytes(whole)
        page.get_by_role("button", name="Intentar de nuevo").click()
        wait_for_answers(page, SENTENCES[0])


def test_a_browser_without_webassembly_is_told_so(page, address):
    page.add_init_script("delete globalThis.WebAssembly")
    open_at(page, address, SENTENCES[0])
    expect(page.get_by_role("alert")).to_contain_text("no tiene WebAssembly")


def test_axe_finds_nothing_serious(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, bypass_csp=True)
    page = context.new_page()
    open_at(page, address, SENTENCES[3])
    page.add_script_tag(path=ROOT / "space/node_modules/axe-core/axe.min.js")
    found = []
    for view, drawn in (("answers", ".card"), ("speakers", "button.said")):
        page.locator(f"#tab-{view}").click()
        expect(page.locator(drawn).nth(3)).to_be_visible()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for violation in page.evaluate("() => axe.run()")["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    found.append((view, scheme, violation["id"], violation["nodes"][0]["html"]))
    context.close()
    assert found == []


def test_a_narrow_telephone_scrolls_only_down(page, address):
    page.set_viewport_size({"width": 360, "height": 740})
    open_at(page, address, SENTENCES[2])
    wait_for_answers(page, SENTENCES[2])
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_the_keyboard_alone_hides_a_word_and_changes_the_view(page, address):
    open_at(page, address, "me gusta el café")
    page.locator("#sentence").focus()
    page.keyboard.press("Tab")  # the link
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_answers(page, "[MASK] gusta el café")
    page.locator("#tab-answers").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-speakers")).to_be_focused()
    expect(page.locator("#speakers")).to_be_visible()
