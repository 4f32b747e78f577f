import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from training.engine.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for number in range(30):
    if number == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this setting")
def test_the_system_does_not_clear_the_same_memory_again_and_again():
    faults = {
        setting: int(subprocess.run([sys.executable, "-c", PROGRAM, setting], capture_output=True, check=True).stdout)
        for setting in ("keep", "default")
    }
    assert faults["keep"] < faults["default"] / 10
