"""The model at the end: refitted on all data, written with its card and its graph. The stages on images made here."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thaw.errors import InputError
from thaw.files import write_json
from thaw.index import COLUMNS, Dataset, write_dataset, write_index
from thaw.stages import features, final, heads, split
from thaw.tour import DIALS, set_dials

ROOT = Path(__file__).parents[1]
CHOSEN = DIALS | {"heads.keep": [0.05, 0.2], "heads.k": [1, 5], "finetune.strategies": ["full", "lp_ft", "scratch"]}
CHOSEN |= {"finetune.batch_size": 16, "learning.finetune": [], "final.strategy": "linear_probe", "final.backbone": "lite0"}
N, LIGHT = 120, 60  # images; how much brighter those of the second class are
FILES = {"model.safetensors", "model.json", "model.onnx", "record.json", "MODEL_CARD.md"}


def make_project(folder: Path) -> None:
    """Two classes in twelve modules, as files and as the array; split, features, heads; the reports' tables are made up."""
    rng, labels = np.random.default_rng(0), np.arange(N) // 2 % 2
    pixels = (rng.integers(0, 180, (N, 32, 32, 1)) + LIGHT * labels[:, None, None, None]).astype(np.uint8)
    names = [f"image{row:03d}" for row in range(N)]
    columns = {
        "id": names,
        "path": [f"{name}.png" for name in names],
        "label": [f"class{label}" for label in labels],
        "group": [f"module{row // 10}" for row in range(N)],
        "domain": "all",
        "weight": 1.0,
        "channels": 1,
        "sha256": names,
    }
    (folder / "data/raw").mkdir(parents=True)
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image[..., 0]).save(folder / "data/raw" / f"{name}.png")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    set_dials(folder / "params.yaml", CHOSEN)
    write_index(pd.DataFrame({name: columns.get(name, 32) for name in COLUMNS}), folder / "data/index.csv")
    notes = ["Licence of these images: none needed."]
    write_dataset(Dataset("made here", ["class0", "class1"], True, False, "module", notes), folder / "data/dataset.json")
    np.save(folder / "data/images.npy", pixels)
    (folder / "reports").mkdir()
    row = {"backbone": "lite0", "strategy": "linear_probe", "metric": "roc_auc", "value": 0.9, "lo": 0.8, "hi": 0.95, "n": N, "groups": 12}
    pd.DataFrame([row]).to_csv(folder / "reports/leaderboard.csv", index=False)
    said = {"backbone": "lite0", "strategy": "linear_probe", "metric": "roc_auc", "sentence": "no difference seen"}
    pd.DataFrame([said]).to_csv(folder / "reports/contrasts.csv", index=False)
    write_json(folder / "reports/leakage.json", {"verdict": {"level": "caution", "sentences": ["Three pairs leak."]}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        split.main()
        features.main("lite0")
        heads.main("lite0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("final")
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        final.main()
    return folder


def test_x(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    print((project / "models/final/MODEL_CARD.md").read_text())
    print((project / "models/final/model.json").read_text())
    import time
    for s in ("linear_probe", "head2toe", "ridge", "full", "lp_ft", "scratch"):
        set_dials(project / "params.yaml", {"final.strategy": s})
        from dataclasses import replace
        from thaw.runs import Identity, read_record, write_record
        for f in (0, 1):
            r = read_record(Identity("lite0", "linear_probe", f).folder())
            if s in ("full", "lp_ft", "scratch"):
                i = Identity("lite0", s, f); i.folder().mkdir(parents=True, exist_ok=True)
                write_record(replace(r, strategy=s, kind="finetune"), i.folder())
        df = pd.read_csv("reports/leaderboard.csv"); df["strategy"] = s; df.to_csv("reports/leaderboard.csv", index=False)
        t = time.time()
        final.main()
        print(s, time.time() - t)
