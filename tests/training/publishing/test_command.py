"""The command in a card does again what was done."""

import shlex

import pytest

from training.common.arguments import parse_arguments, public_arguments
from training.finetuning.arguments import FinetuneArguments
from training.pretraining.arguments import PretrainArguments
from training.publishing.command import training_command


@pytest.mark.parametrize(
    "flags",
    [
        "--task emoji15 --label_column label --model bilma --region_tokens --pooling mask --seeds 0 1 --soup",
        "--recipe finetune_published --task emoji15 --model bilma-mx --region mx --hidden_dropout_prob 0.3",
        "--recipe family_regional --region all --init_from body --region_tokens --add_regions ar mx --max_steps 2800",
        "--recipe family_body --region all --config_overrides head_dim=16 --tie_word_embeddings False",
    ],
)
def test_every_flag_that_was_used(flags):
    kind = FinetuneArguments if "--task" in flags else PretrainArguments
    places = "--train_file TEXTS --output_dir MODEL"
    used = public_arguments(parse_arguments(kind, "", shlex.split(f"{flags} {places}")))
    words = shlex.split(training_command(used))
    assert words[:2] == ["accelerate", "launch"] and len(words) == len(shlex.split(flags)) + 7
    assert public_arguments(parse_arguments(kind, "", words[3:])) == used


def test_a_recipe_of_ones_own_becomes_flags(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("learning_rate: 1.0e-3\nnum_train_epochs: 2\n")
    flags = ["--recipe", str(recipe), "--region", "mx", "--output_dir", "MODEL", "--dataset_name", "someone/texts"]
    words = shlex.split(training_command(public_arguments(parse_arguments(PretrainArguments, "", flags))))
    assert {"--learning_rate", "--num_train_epochs", "--dataset_name"} <= set(words)
    assert not {"--recipe", "--train_file"} & set(words)


def test_what_does_not_change_the_result_is_left_out():
    flags = [
        "--region",
        "mx",
        "--train_file",
        "TEXTS",
        "--output_dir",
        "MODEL",
        "--num_threads",
        "3",
        "--save_steps",
        "7",
    ]
    used = public_arguments(parse_arguments(PretrainArguments, "", flags))
    assert shlex.split(training_command(used))[3:] == [*flags[:2], *flags[2:6]]
