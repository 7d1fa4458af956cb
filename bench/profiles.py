"""Where the time of the two hottest paths goes: an epoch of full fine-tuning, and the heads on frozen features.

    python -m bench.profiles > profiles.txt       # in a finished project that may be thrown away: it writes the heads' runs again

To compare two versions of the code, run it with `PYTHONPATH` naming the one and the other.
"""

import contextlib
import cProfile
import io
import pstats
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from thaw.allocator import keep_freed_memory
from thaw.cells import assemble
from thaw.finetune import Observer, train
from thaw.params import read_params
from thaw.runs import Identity
from thaw.stages import heads

IMAGES, ROWS, BACKBONE, STRATEGY = 512, 14, "lite0", "full"


def main() -> None:
    for title, text in ((f"{IMAGES} images of {STRATEGY}", of_training()), (f"Stage heads@{BACKBONE}", of_heads())):
        print(f"{title}\n\n{text}\n")


def of_training() -> str:
    """PyTorch's own profiler: operations by the time that they take themselves, of an epoch of so many images."""
    keep_freed_memory()
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    cell = assemble(read_params(), Identity(BACKBONE, STRATEGY, 0))
    (phase,) = cell.plans[0][1]
    once = replace(phase, settings=phase.settings.model_copy(update={"epochs": 1}))
    material = replace(cell.material, train=cell.material.train[:IMAGES], val=cell.material.val[:64])
    silent = Observer(lambda _: None, lambda _: None, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("warm", "measured"):
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                train(cell.network, [once], material, cell.regime, 0, Path(folder) / name, silent)
    return seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS, max_name_column_width=44)


def of_heads() -> str:
    """Python's profiler: functions by the time that they take themselves."""
    seen, text = cProfile.Profile(), io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        seen.runcall(heads.main, BACKBONE)
    pstats.Stats(seen, stream=text).strip_dirs().sort_stats("tottime").print_stats(ROWS)
    return text.getvalue().strip()


if __name__ == "__main__":
    main()
