from pathlib import Path

import pytest

from training.common.errors import InputError
from training.family.estimate import describe, stage_to_measure, value_of
from training.family.stages import Stage

REPORT = """This corpus on this machine
  machine                    device x86_64 CPU, threads 2, cores 2
  training                   1.40 hours
  expected                   1.50 hours
  most memory                3.81 GB, activations and all else included (measured)
"""
STAGES = [
    Stage("train_tokenizer.py", Path("out/tokenizer"), {}, {}),
    Stage("pretrain.py", Path("out/base"), {}, {}, texts=1000),
    Stage("pretrain.py", Path("out/bilma-mx"), {}, {}, texts=3000),
    Stage("evaluate_family.py", Path("out/results"), {}, {}),
]


def test_the_others_are_as_their_texts():
    assert stage_to_measure(STAGES) is STAGES[1]
    lines = describe(STAGES, STAGES[1], REPORT).splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines[1:4]}
    assert shown == {
        "base": ["1,000", "texts", "1.50", "hours"],
        "bilma-mx": ["3,000", "texts", "4.50", "hours"],
        "together": ["4,000", "texts", "6.00", "hours"],
    }
    assert lines[4].strip() == "most memory: 3.81 GB, activations and all else included (measured)"


def test_several_at_a_time_take_as_long_as_those_that_need_each_other():
    """Base and adaptation never run beside each other, whatever runs beside them."""
    adapted = Stage("pretrain.py", Path("out/bilma-mx"), {"init_from": [Path("out/base")]}, {}, texts=3000)
    alone = Stage("pretrain.py", Path("out/scratch-mx"), {}, {}, texts=1000)
    stages = [STAGES[1], adapted, alone]
    assert "2 at a time: about 6.00 hours" in describe(stages, STAGES[1], REPORT, jobs=2)
    another = Stage("pretrain.py", Path("out/scratch-ar"), {}, {}, texts=1000)
    assert "2 at a time: about 2.25 hours" in describe([STAGES[1], alone, another], STAGES[1], REPORT, jobs=2)


def test_minutes_are_read_too():
    lines = describe(STAGES[:2], STAGES[1], REPORT.replace("1.50 hours", "1,200.0 minutes")).splitlines()
    assert lines[1].split()[-2:] == ["20.00", "hours"]


def test_nothing_left_to_measure():
    assert stage_to_measure([STAGES[0], STAGES[3]]) is None


def test_a_report_of_another_version():
    with pytest.raises(InputError, match="does not say 'expected'"):
        value_of("nothing", "expected")
