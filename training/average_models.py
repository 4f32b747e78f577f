"""Average the weights of models with one architecture, such as checkpoints of one run at a constant learning rate.

    python training/average_models.py --models step-1000 step-1800 step-2158 --output_dir body

The mean of such checkpoints is closer to the minimum than each of them, since their noise averages out. The output
folder gets the configuration, the code and the tokenizer of the first model.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import argparse
from pathlib import Path

import torch

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_folder
from training.common.locks import only_run_in
from training.engine.models import open_whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", required=True, help="folders or Hub ids of two models or more")
    parser.add_argument("--output_dir", required=True, help="new folder for the mean, in float32")
    args = parser.parse_args()
    output_dir = Path(args.output_dir).resolve()
    if len(args.models) < 2:
        raise InputError("--models: give two or more")
    with only_run_in(output_dir):
        if output_dir.exists():
            raise InputError(f"{output_dir} exists already: give a new folder as --output_dir")
        with as_input_error(ValueError):
            tokenizers = [load_tokenizer(model) for model in args.models]
        for name, tokenizer in zip(args.models, tokenizers, strict=True):
            if tokenizer.get_vocab() != tokenizers[0].get_vocab():
                raise InputError(f"{name}: its vocabulary is not that of {args.models[0]}: average models of one kind")
        mean = average([open_whole(BilmaForMaskedLM, model) for model in args.models], args.models)
        with write_folder(output_dir) as folder:
            mean.save_pretrained(folder)
            tokenizers[0].save_pretrained(folder)
        print(f"{output_dir}: the mean of {len(args.models)} models, {mean.num_parameters():,} parameters")


@torch.no_grad()
def average(models: list[BilmaForMaskedLM], names: list[str]) -> BilmaForMaskedLM:
    """Return the first model with the mean of all weights.

    Raises:
        InputError: for a model whose configuration or weights are of another kind than the first one's.
    """
    for name, model in zip(names, models, strict=True):
        for setting in ("num_attention_heads", "head_dim", "hidden_act", "attend_to_padding"):
            if getattr(model.config, setting) != getattr(models[0].config, setting):
                raise InputError(f"{name}: {setting} differs from that of {names[0]}: average models of one kind")
    states = [model.state_dict() for model in models]  # tied weights are in it twice, under two names
    shapes = [{name: weight.shape for name, weight in state.items()} for state in states]
    for name, shape in zip(names, shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(f"{name}: not the architecture of {names[0]}: average models of one kind")
    means = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    models[0].load_state_dict(means)
    return models[0]


if __name__ == "__main__":
    run(main)
