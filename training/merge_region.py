"""Write the plain model of one region from a model with regional parts.

    python training/merge_region.py --model models/bilma --region mx --output_dir bilma-mx

The folder opens by the Auto classes, with its code and a tokenizer without region tokens. For a text its logits are
those of the model with parts for the text behind `[MX]`. `--region none` writes the body alone, of no region.
"""

if __name__ == "__main__":
    from training.common.beginning import begin

    begin()  # the other imports take seconds

import argparse
from pathlib import Path

from modeling_bilma import BilmaForMaskedLM
from modeling_bilma.regional import merge_region
from modeling_bilma.tokenization_bilma import load_tokenizer
from training.common.errors import InputError, as_input_error, run
from training.common.files import write_folder
from training.common.locks import only_run_in
from training.engine.models import open_whole, save_model

NO_REGION = "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub id of a BILMA with regional parts")
    parser.add_argument("--region", required=True, help=f"two-letter country code, or {NO_REGION} for the body alone")
    parser.add_argument("--output_dir", required=True, help="folder to make, with model, code and tokenizer")
    args = parser.parse_args()
    output_dir = Path(args.output_dir).resolve()
    with only_run_in(output_dir):
        if output_dir.exists():
            raise InputError(f"{output_dir} exists already: give a new folder as --output_dir")
        model = open_whole(BilmaForMaskedLM, args.model, dtype="auto")
        region = None if args.region == NO_REGION else args.region.lower()
        with as_input_error(ValueError):
            plain, tokenizer = merge_region(model, load_tokenizer(args.model), region)
        with write_folder(output_dir) as folder:
            save_model(plain, folder)
            tokenizer.save_pretrained(folder)
        print(f"{output_dir}: {plain.num_parameters():,} parameters, {len(tokenizer):,} tokens, {plain.dtype}")


if __name__ == "__main__":
    run(main)
