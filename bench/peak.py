"""A stage with an eye on its memory: ``python -m bench.peak thaw.stages.prepare`` runs it as its own process would run.

The last line that it prints is ``{"peak_memory_mb": ...}``. Imports nothing that a stage would not have anyway.
"""

import json
import resource
import runpy
import sys
from pathlib import Path


def main() -> None:
    module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    print(json.dumps({"peak_memory_mb": round(peak_memory_mb(), 1)}), flush=True)


def peak_memory_mb() -> float:
    """Largest resident size of this program, MiB.

    From the program's own counter where there is one: that of `resource` also knows the size of the process that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (kilobytes,) = (line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(kilobytes) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
