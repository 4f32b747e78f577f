"""How the C library treats the memory that a training step gives back."""

import ctypes
import sys

# From glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Keep what is freed for the next allocation, instead of handing it back to the system; of use on a CPU.

    A step allocates and frees the same few hundred megabytes over and over. glibc returns blocks of that size to the
    kernel at once, which then clears every page anew: a tenth of a step. Nothing happens with other C libraries.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
