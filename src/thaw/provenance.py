"""What a result cost and where it came from: facts that differ from run to run and decide nothing."""

import resource
import subprocess
import sys
from typing import Any

SOURCES = ("src", "params.yaml", "dvc.yaml", "requirements.txt")  # not dvc.lock or reports/, which a run itself rewrites


def cost_of(seconds: float, images_seen: int, trainable_parameters: int, resumed: bool) -> dict[str, Any]:
    """The content of a cost file. ``seconds``: wall clock of training; ``images_seen``: training images, repeats included."""
    return {
        "seconds": round(seconds, 3),
        "images_seen": images_seen,
        "images_per_second": round(images_seen / seconds, 1) if seconds > 0 else 0.0,
        "peak_memory_mb": round(_peak_memory_mb(), 1),
        "trainable_parameters": trainable_parameters,
        "resumed": resumed,
        **commit(),
    }


def commit() -> dict[str, Any]:
    """The code's commit, and whether the files that decide results differ from it."""
    return {"git_commit": _git("rev-parse", "HEAD"), "git_dirty": bool(_git("status", "--porcelain", "--", *SOURCES))}


def _peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere (getrusage(2))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _git(*arguments: str) -> str:
    """Output of a git command; "" outside a repository."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return ""
