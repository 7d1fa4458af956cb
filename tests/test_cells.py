"""What a run is made of: shares of the labels, domains left out, mismatched preprocessing. The stages on images made here."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import BLOCKS, QUIET, phase, tiny_material, tiny_network

from thaw.backbones import Network
from thaw.cells import assemble, run, train_all
from thaw.devices import precision_of
from thaw.files import read_json, sha256_of_file
from thaw.finetune import Regime, state_of, train
from thaw.fractions import FINETUNE, HEADS, Fraction
from thaw.index import COLUMNS, Dataset, write_dataset, write_index
from thaw.params import Params, read_params
from thaw.progress import Progress
from thaw.runs import Identity, read_predictions, read_record
from thaw.splits import INSIDE, TEST, TRAIN, VAL, read_splits, rows_of
from thaw.stages import features, heads, learn, split
from thaw.strategies import resolve
from thaw.tour import DIALS, set_dials

ROOT = Path(__file__).parents[1]
QUARTER = Fraction("images", 25)
CHOSEN = DIALS | {
    "split.method": "leave_domain_out",
    "features.backbones": ["lite0", "lite0_half"],
    "backbones.lite0_half.image_size": 32,
    "finetune.batch_size": 16,
    "learning.heads": ["linear_probe"],
}
N, LIGHT = 160, 60  # images; how much brighter those of the second class are


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of ten modules each, split, with features, heads and heads on a share."""
    folder = tmp_path_factory.mktemp("cells")
    rng, labels = np.random.default_rng(0), np.arange(N) // 2 % 2
    pixels = rng.integers(0, 180, (N, 32, 32, 1)) + LIGHT * labels[:, None, None, None]
    names = [f"image{row}" for row in range(N)]
    columns = {
        "id": names,
        "path": names,
        "label": [f"class{label}" for label in labels],
        "group": [f"module{row // 8}" for row in range(N)],
        "domain": ["mono" if row < N // 2 else "poly" for row in range(N)],
        "weight": 1.0,
        "sha256": names,
    }
    (folder / "data").mkdir()
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    set_dials(folder / "params.yaml", CHOSEN)
    write_index(pd.DataFrame({name: columns.get(name, 32) for name in COLUMNS}), folder / "data/index.csv")
    write_dataset(Dataset("made here", ["class0", "class1"], True, False, "module", []), folder / "data/dataset.json")
    np.save(folder / "data/images.npy", pixels.astype(np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        split.main()
        for backbone in ("lite0", "lite0_half"):
            features.main(backbone)
            heads.main(backbone)
        learn.main("lite0")
    return folder


@pytest.fixture
def params(project: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(project)
    return read_params()


def roles_in(folder: Path) -> dict[str, set[str]]:
    """Role -> ids of the images whose predictions lie in the folder."""
    found = read_predictions(folder)
    return {role: set(found.id[found.split == role]) for role in np.unique(found.split)}


@pytest.mark.parametrize("fold", [0, 1])
def test_a_cell_on_a_share_sees_that_share_and_starts_from_its_probe(params: Params, fold: int, tmp_path: Path) -> None:
    whole, part = (assemble(params, Identity("lite0", "lp_ft", fold), fraction) for fraction in (None, QUARTER))
    labels = whole.material.labels.numpy()
    for role, all_of, some in ((TRAIN, whole.material.train, part.material.train), (VAL, whole.material.val, part.material.val)):
        assert set(some) < set(all_of), role
        for label in (0, 1):
            assert (labels[some] == label).sum() == -(-(labels[all_of] == label).sum() // 4), role
    for role, rows in whole.held.items():
        assert (part.held[role] == rows).all()
    probes = {None: whole, QUARTER: part}
    for fraction, cell in probes.items():
        probe = Identity("lite0", "linear_probe", fold)
        folder = probe.folder() if fraction is None else fraction.folder(probe, HEADS)
        assert cell.record.inputs["head_sha256"] == sha256_of_file(folder / "head.safetensors")
        made_on = {name: cell.record.inputs["settings"][name] for name in ("device", "precision")}
        assert made_on == {"device": cell.network.device.type, "precision": precision_of(cell.network.device)}
    assert whole.record.record_id != part.record.record_id

    run(part, "thaw", tmp_path)
    folder = QUARTER.folder(Identity("lite0", "lp_ft", fold), FINETUNE)
    asked = {VAL: part.material.val, **part.held}
    assert roles_in(folder) == {role: set(part.ids[rows]) for role, rows in asked.items()}
    assert read_record(folder).record_id == part.record.record_id
    assert {path.name for path in folder.iterdir()} == {"record.json", "predictions.npz"}


@pytest.mark.parametrize("fold", [0, 1])
def test_both_kinds_of_runs_on_a_share_see_the_same_images(params: Params, fold: int) -> None:
    cell = assemble(params, Identity("lite0", "full", fold), QUARTER)
    probe = QUARTER.folder(Identity("lite0", "linear_probe", fold), HEADS)
    assert roles_in(probe)[VAL] == set(cell.ids[cell.material.val])
    assert read_record(probe).inputs["settings"]["fraction"] == cell.record.inputs["settings"]["fraction"]


@pytest.mark.parametrize("fold", [0, 1])
def test_images_of_the_own_domain_are_judged_and_never_trained_on(params: Params, fold: int) -> None:
    splits = read_splits(Path("data/splits.csv"))
    cell = assemble(params, Identity("lite0", "full", fold))
    inside, test = (rows_of(splits, fold, role) for role in (INSIDE, TEST))
    assert len(inside) and set(cell.held) == {INSIDE, TEST} and (cell.held[INSIDE] == inside).all()
    assert not set(inside) & {*cell.material.train, *cell.material.val}
    assert (cell.material.labels.numpy()[[*inside, *test]] == -1).all()
    assert (cell.material.labels.numpy()[[*cell.material.train, *cell.material.val]] >= 0).all()
    domain = np.array(["mono"] * (N // 2) + ["poly"] * (N // 2))
    assert len({*domain[inside], *domain[cell.material.train]}) == 1 and not {*domain[inside]} & {*domain[test]}
    assert roles_in(Identity("lite0", "linear_probe", fold).folder())[INSIDE] == set(cell.ids[inside])


def test_a_mismatched_backbone_gives_other_features_and_controls(params: Params) -> None:
    matched, half = (np.load(f"data/features/{name}/features.npy") for name in ("lite0", "lite0_half"))
    assert matched.shape == half.shape and np.abs(matched - half).mean() > 0.1 * np.abs(matched).mean()
    right, wrong = (read_json(Path(f"data/features/{name}/manifest.json")) for name in ("lite0", "lite0_half"))
    assert right["weights_sha256"] == wrong["weights_sha256"] and right["preprocessing"] != wrong["preprocessing"]
    for name, control in (("lite0", False), ("lite0_half", True)):
        assert read_record(Identity(name, "linear_probe", 0).folder()).control is control


def test_an_extraction_that_cannot_be_written_is_ended_at_once(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the last trace of the error is gone: what was begun ahead would go on until then."""
    ended: list[str] = []

    def found(*_: object) -> Iterator[int]:
        try:
            yield 1
        finally:
            ended.append("extraction")

    def full(batches: Iterator[int], *_: object) -> None:
        next(batches)
        raise OSError("no space left")

    monkeypatch.setattr("thaw.features.extract", found)
    monkeypatch.setattr("thaw.features.write_features", full)
    with pytest.raises(OSError, match="no space left") as caught:
        features.main("lite0")
    assert ended and caught.tb  # which holds the stage's frame


def test_a_record_says_what_ran_the_frozen_blocks(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, which makes it another result; and found to run, here by PyTorch where ONNX Runtime would be too much for few images."""
    ids = set()
    for engine, worth in (("auto", 0), ("auto", 10**6), ("torch", 0)):
        monkeypatch.setattr("thaw.inputs.WORTH", worth)
        asked = params.model_copy(update={"features": params.features.model_copy(update={"engine": engine})})
        cell = assemble(asked, Identity("lite0", "last_block", 0), QUARTER)
        assert cell.record.inputs["settings"]["engine"] == engine
        run(cell, "thaw", tmp_path / f"{engine}-{worth}")
        record = read_record(cell.folder)
        by = f"onnxruntime {version('onnxruntime')}" if engine == "auto" and not worth else f"torch {torch.__version__}"
        assert record.choices["frozen_by"] == {"top": by}
        ids.add(record.record_id)
    assert len(ids) == 2


def test_the_precision_of_steps_is_a_dial_and_part_of_a_results_identity(params: Params, tmp_path: Path) -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        asked = params.model_copy(update={"finetune": params.finetune.model_copy(update={"precision": precision})})
        cell = assemble(asked, Identity("lite0", "lp_ft", 0), QUARTER)
        assert cell.record.inputs["settings"]["precision"] == precision == cell.regime.precision
        run(cell, "thaw", tmp_path / precision)
        found[precision] = read_record(cell.folder)
    rounded, exact = found["bfloat16"], found["float32"]
    assert rounded.record_id != exact.record_id
    losses, expected = ([row["train/loss"] for row in record.history] for record in (rounded, exact))
    assert losses != expected and losses == pytest.approx(expected, abs=0.1)


def test_of_several_trials_the_best_is_handed_on(tmp_path: Path) -> None:
    """Each from the same start, whatever came before; the good one is as if it had been alone."""
    regime, rates = Regime(16, (), 64, "auc"), (1.0e-6, 0.05, 1.0e-7)

    def plan(network: Network, rate: float) -> list:  # type: ignore[type-arg]
        return resolve(network, BLOCKS, [phase("all", 2, {"*": rate})], "frozen_eval", "s")

    network = tiny_network()
    plans = [plan(network, rate) for rate in rates]
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    shown = Progress("trials", 1)
    trained = train_all(network, state_of(network), plans, tiny_material(), regime, 3, files, shown)
    alone = tiny_network()
    train(alone, plan(alone, 0.05), tiny_material(), regime, 3, tmp_path / "alone.safetensors", QUIET)
    assert trained.number == 1 and trained.scores[1] == max(trained.scores) == trained.state.best_score > max(trained.scores[::2])
    for name, tensor in alone.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name
