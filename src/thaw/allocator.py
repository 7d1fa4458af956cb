"""glibc's allocator, told to keep freed memory: fresh pages for every activation cost a fifth of a training step on a CPU."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt(3)


def keep_freed_memory() -> bool:
    """True where it took effect (Linux with glibc). Results do not change, only who owns the free pages."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = [(M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28)]
    return all(mallopt(name, value) == 1 for name, value in settings)
