"""A small finished project: images, split, features, heads, and the model at the end, with tables of evidence that are made up."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thaw.files import write_json
from thaw.index import COLUMNS, Dataset, write_dataset, write_index
from thaw.runs import Identity, read_record, write_record
from thaw.stages import features, final, heads, split
from thaw.tour import DIALS, set_dials

ROOT = Path(__file__).parents[1]
CHOSEN = DIALS | {"heads.keep": [0.05, 0.2], "heads.k": [1, 5], "finetune.batch_size": 16, "learning.finetune": []}
CHOSEN |= {"final.strategy": "linear_probe", "final.backbone": "lite0"}
N, LIGHT = 120, 60  # images; how much brighter those of the second class are


def make_project(folder: Path) -> None:
    """Two classes in twelve modules of gray images, not square, so that decoding has something to do; ``final`` has run."""
    rng, labels = np.random.default_rng(0), np.arange(N) // 2 % 2
    pixels = (rng.integers(0, 180, (N, 40, 48)) + LIGHT * labels[:, None, None]).astype(np.uint8)
    names = [f"image{row:03d}" for row in range(N)]
    columns = {
        "id": names,
        "path": [f"{name}.png" for name in names],
        "label": [f"class{label}" for label in labels],
        "group": [f"module{row // 10}" for row in range(N)],
        "domain": "all",
        "split": "",
        "weight": 1.0,
        "width": 48,
        "height": 40,
        "channels": 1,
        "sha256": names,
    }
    (folder / "data/raw").mkdir(parents=True)
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(folder / "data/raw" / f"{name}.png")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    set_dials(folder / "params.yaml", CHOSEN)
    write_index(pd.DataFrame({name: columns[name] for name in COLUMNS}), folder / "data/index.csv")
    notes = ["Licence of these images: none needed."]
    write_dataset(Dataset("made here", ["class0", "class1"], True, False, "module", notes), folder / "data/dataset.json")
    write_json(folder / "reports/leakage.json", {"verdict": {"level": "caution", "sentences": ["Three pairs leak."]}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        from thaw.stages import prepare

        prepare.main()
        split.main()
        features.main("lite0")
        heads.main("lite0")
        for strategy in ("full", "lp_ft"):  # as if trained: what they reached decides nothing unless a test says so
            for fold in (0, 1):
                probe = read_record(Identity("lite0", "linear_probe", fold).folder())
                pretend(replace(probe, strategy=strategy, kind="finetune"), best_val_auc=0.5, best_val_log_loss=0.7)
        evidence(["linear_probe", "head2toe", "lp_ft"])
        final.main()


def pretend(record: Any, **metrics: float) -> None:
    write_record(replace(record, metrics=metrics), record.identity.folder())


def evidence(strategies: list[str], value: float = 0.9) -> None:
    """The reports' tables."""
    rows = [
        {"backbone": "lite0", "strategy": name, "metric": metric, "value": value, "lo": 0.8, "hi": 0.95, "n": N, "groups": 12}
        for name in strategies
        for metric in ("roc_auc", "log_loss")
    ]
    pd.DataFrame(rows).to_csv("reports/leaderboard.csv", index=False)
    said = [
        {"backbone": "lite0", "strategy": name, "metric": "roc_auc", "sentence": f"no difference seen for {name}"} for name in strategies
    ]
    pd.DataFrame(said).to_csv("reports/contrasts.csv", index=False)
