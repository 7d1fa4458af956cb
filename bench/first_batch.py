"""A training cell until its first batch is there: ``python -m bench.first_batch lite0 full 0`` in a project that may be thrown away.

Prints ``{"at": ...}``, seconds on the clock of the day, as whoever starts the process reads it too. All that the stage does before that is
done: imports, reading, hashing, the network and the live run in MLflow, which is marked as killed.
"""

import json
import sys
import time
from typing import Any, NoReturn

from thaw import inputs
from thaw.stages import finetune


def main(backbone: str, strategy: str, fold: str) -> None:
    whole = inputs.Recomputed.batch

    def first(self: inputs.Recomputed, *arguments: Any) -> NoReturn:
        whole(self, *arguments)
        print(json.dumps({"at": time.time()}), flush=True)
        raise SystemExit(0)  # so that `with` blocks end

    inputs.Recomputed.batch = first  # type: ignore[method-assign]  # the loop has no other place to stop at
    finetune.main(backbone, strategy, fold)


if __name__ == "__main__":
    main(*sys.argv[1:])
