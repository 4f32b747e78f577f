"""Run a script under FSDP on CPUs: `fsdp_without_gpus.py SCRIPT FLAGS...`. Accelerate has it for accelerators only."""

import runpy
import sys

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType


def stay_on_cpu(self):
    self.device = torch.device("cpu")


PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
PartialState.set_device = stay_on_cpu
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
