"""Open models as any user would, with the code beside their weights, and report the findings.

`opening.py` runs this file in a separate process, without this project. It reads a JSON list of questions from stdin,
each with `code` to run and, for a model in a folder, the arguments of `inspect`, and writes one line of JSON for each.
"""

import contextlib
import io
import json
import sys

import torch
import transformers
from transformers import AutoTokenizer, pipeline

AUTO_CLASSES = {
    "fill-mask": "AutoModelForMaskedLM",
    "text-classification": "AutoModelForSequenceClassification",
}


def inspect(folder: str, pipeline_tag: str, texts: list[str], top_k: int) -> dict:
    """Report whether a model is complete, and its `top_k` answers to each text, in fp32 as in the evaluation."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    auto_class = getattr(transformers, AUTO_CLASSES[pipeline_tag])
    model, info = auto_class.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=True, output_loading_info=True
    )
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        probabilities = model.eval()(**inputs).logits.double().softmax(-1)
    # transformers has types for pipelines of literal task names only.
    ready = pipeline(pipeline_tag, model=model, tokenizer=tokenizer)  # type: ignore[call-overload]
    output = model.get_output_embeddings()
    unlike = [key for kind in ("missing", "unexpected", "mismatched") for key in info[f"{kind}_keys"]]
    return {
        "mismatched": sorted(map(str, unlike)),
        "not_finite": [name for name, weight in model.named_parameters() if not weight.isfinite().all()],
        "tied": output is not None and output.weight is model.get_input_embeddings().weight,
        "sums": [probabilities.sum(-1).min().item(), probabilities.sum(-1).max().item()],
        "special": tokenizer.all_special_tokens,
        "answers": ask(ready, pipeline_tag, texts, top_k),
    }


def ask(ready, pipeline_tag: str, texts: list[str], top_k: int) -> list[list[tuple[str, float]]]:
    if pipeline_tag == "fill-mask":
        found = [ready(text, top_k=top_k, tokenizer_kwargs={"truncation": True}) for text in texts]
        return [[(answer["token_str"].strip(), answer["score"]) for answer in answers] for answers in found]
    found = [ready(text, top_k=None, truncation=True) for text in texts]
    return [[(answer["label"], answer["score"]) for answer in answers] for answers in found]


def printed_by(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {"__name__": "__example__"})
    return printed.getvalue().strip()


def main() -> None:
    # If anything imported the package, its classes would replace those of the repository's own code.
    sys.modules["modeling_bilma"] = None  # type: ignore[assignment]
    for question in json.load(sys.stdin):
        code = question.pop("code")
        try:
            found = inspect(**question) if question else {}
            found["printed"] = printed_by(code)
        except Exception as error:  # whatever the repository's code raises is to be reported
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
