"""The learning-rate range test: rates that grow, losses as training would see them, a suggestion that learns, and a network left alone."""

import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import BLOCKS, QUIET, phase, tiny_material, tiny_network
from typer.testing import CliRunner

from thaw import rate_finder
from thaw.cli import app
from thaw.errors import InputError
from thaw.finetune import Regime, train
from thaw.inputs import Material
from thaw.optimisers import build_optimiser
from thaw.params import L2SP, Optimiser
from thaw.rate_finder import BETA, DIVERGED, Sweep, draw_sweep, phase_number, suggest, sweep, written
from thaw.strategies import ResolvedPhase, apply_freeze, resolve

REGIME = Regime(16, ("dihedral",), 0, "auc")
RATES = {"head": 0.01, "backbone": 0.001}
LOWEST, HIGHEST, STEPS = 1e-6, 100.0, 100
PARAMS = Path(__file__).parents[1] / "params.yaml"


def resolved(**settings: Any) -> ResolvedPhase:
    (found,) = resolve(
        tiny_network(), BLOCKS, [phase("all", 3, RATES, "constant", warmup=0.0).model_copy(update=settings)], "frozen_eval", "s"
    )
    return found


def swept_tiny(material: Material | None = None, seed: int = 3, **settings: Any) -> Sweep:
    return sweep(tiny_network(), resolved(**settings), material or tiny_material(), REGIME, seed, LOWEST, HIGHEST, STEPS)


@pytest.fixture(scope="module")
def swept() -> Sweep:
    return swept_tiny()


def curve(losses: Any) -> Sweep:
    """A sweep without noise, as if nothing had been smoothed."""
    losses = np.array(losses, dtype=np.float64)
    return Sweep(np.geomspace(1e-6, 1.0, len(losses)), losses, losses)


def test_rates_grow_geometrically_and_the_smoothed_loss_is_the_weighted_mean(swept: Sweep) -> None:
    n = len(swept.rates)
    np.testing.assert_allclose(swept.rates, [LOWEST * (HIGHEST / LOWEST) ** (i / (STEPS - 1)) for i in range(n)], rtol=1e-12)
    for i in range(n):
        np.testing.assert_allclose(swept.smoothed[i], np.average(swept.losses[: i + 1], weights=BETA ** np.arange(i, -1.0, -1)), rtol=1e-10)
    assert swept.losses[0] == pytest.approx(math.log(2), abs=1e-6)  # a zero head


def test_the_same_call_gives_the_same_bits_and_another_seed_does_not(swept: Sweep) -> None:
    torch.manual_seed(9)  # it owes nothing to the global state, and gives it back
    before = torch.get_rng_state()
    again, other = swept_tiny(), swept_tiny(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert (again.losses == swept.losses).all() and (again.smoothed == swept.smoothed).all()
    assert len(other.losses) != len(swept.losses) or (other.losses != swept.losses).any()


def test_groups_keep_their_ratio_and_the_highest_has_the_rate_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[float, float]] = []

    def spied(*arguments: Any) -> torch.optim.Optimizer:
        optimiser = build_optimiser(*arguments)
        optimiser.register_step_pre_hook(lambda now, a, k: seen.append({group["peak"]: group["lr"] for group in now.param_groups}))
        return optimiser

    monkeypatch.setattr(rate_finder, "build_optimiser", spied)
    found = swept_tiny()
    assert len(seen) in (len(found.rates), len(found.rates) - 1)  # no step is taken from a loss that ends the sweep
    assert [rates[0.01] for rates in seen] == found.rates[: len(seen)].tolist()
    assert all(rates[0.001] == pytest.approx(rates[0.01] / 10, rel=1e-12) for rates in seen)


def test_losses_are_those_of_training(tmp_path: Path) -> None:
    """Rates that hardly grow are a constant schedule: dropout, order, views and steps are those of the training loop."""
    network, plan, material = tiny_network(), resolved(), tiny_material()
    state = train(network, [plan], material, REGIME, 3, tmp_path / "state.safetensors", QUIET)
    found = sweep(tiny_network(), plan, material, REGIME, 3, 0.01, 0.01 * (1 + 1e-9), 9)
    by_epoch = found.losses.reshape(3, 3).mean(axis=1)  # batches of 16 of 48 images
    np.testing.assert_allclose(by_epoch, [row["train/loss"] for row in state.history], rtol=1e-4)


def test_the_network_is_given_back_to_the_bit() -> None:
    network, plan = tiny_network(), resolved()
    apply_freeze(network, resolve(network, BLOCKS, [phase("head", rates={"head": 0.1})], "frozen_eval", "s")[0])
    network.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trained, fixed = {name for name, tensor in network.named_parameters() if tensor.requires_grad}, network.fixed
    for highest in (HIGHEST, 1e30):
        sweep(network, plan, tiny_material(), REGIME, 3, LOWEST, highest, 30)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert {name for name, tensor in network.named_parameters() if tensor.requires_grad} == trained == {"head.weight", "head.bias"}
        assert network.fixed == fixed and not any(module.training for module in network.modules())
        assert all(tensor.grad is None for tensor in network.parameters())


def test_its_layers_are_those_of_training() -> None:
    network = tiny_network()
    network.backbone.drop = torch.nn.ReLU6(inplace=True)  # which training exchanges
    sweep(network, resolved(), tiny_material(), REGIME, 3, LOWEST, HIGHEST, 2)
    assert not network.backbone.drop.inplace


def test_only_training_images_are_seen(swept: Sweep) -> None:
    material = tiny_material()
    view, labels = material.view.clone(), material.labels.clone()
    view[material.val], labels[material.val] = 0, -1
    blind = swept_tiny(replace(material, view=view, labels=labels, val=material.val[:0]))
    assert (blind.losses == swept.losses).all()


@pytest.mark.parametrize(
    "dial",
    [
        {"label_smoothing": 0.2},
        {"mixup": 0.4},
        {"clip": 1e-3},
        {"l2sp": L2SP(alpha=1.0, beta=1.0)},
        {"optimiser": Optimiser(name="sgd", momentum=0.0)},
        {"class_weights": "balanced"},
    ],
)
def test_dials_of_the_phase_are_used(dial: dict[str, Any]) -> None:
    """What changes a loss in training changes it here."""
    material = tiny_material()
    uneven = replace(material, train=material.train[(material.train < 24) | (material.train % 2 == 0)])  # few of class 1
    plain, other = (sweep(tiny_network(), resolved(**dials), uneven, REGIME, 3, 1e-3, 1e-1, 8).losses for dials in ({}, dial))
    assert (plain != other).any()


def test_it_stops_where_the_smoothed_loss_is_four_times_its_best(swept: Sweep) -> None:
    best = np.minimum.accumulate(swept.smoothed)
    assert len(swept.rates) < STEPS and swept.smoothed[-1] > DIVERGED * best[-1]
    assert (swept.smoothed[:-1] <= DIVERGED * best[:-1]).all()


def test_it_stops_where_the_loss_is_not_finite() -> None:
    found = sweep(tiny_network(), resolved(), tiny_material(), REGIME, 3, 1e30, 1e38, 20)
    assert len(found.rates) < 20 and np.isfinite(found.losses[:-1]).all()
    with pytest.raises(InputError, match="lower --lowest"):
        suggest(found)


def test_the_suggestion_learns_and_a_hundred_times_it_does_not(swept: Sweep, tmp_path: Path) -> None:
    suggestion = suggest(swept)
    assert LOWEST < suggestion < swept.rates[swept.lowest] < swept.rates[-1]

    def last_loss(rate: float) -> float:
        (plan,) = resolve(
            tiny_network(), BLOCKS, [phase("all", 4, {"head": rate, "backbone": rate / 10}, "constant", warmup=0.0)], "frozen_eval", "s"
        )
        try:
            state = train(tiny_network(), [plan], tiny_material(), REGIME, 3, tmp_path / f"{rate}.safetensors", QUIET)
        except InputError:
            return math.inf
        return state.history[-1]["train/loss"]

    assert last_loss(suggestion) < 0.8 * math.log(2) < math.log(2) < last_loss(100 * suggestion)


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    """Of the smoothed loss, wherever the sweep begins and whatever single batches say."""
    for flat in (30, 60, 90):
        smoothed = np.concatenate([1 + np.linspace(1e-3, 0, flat, endpoint=False), np.linspace(1, 0.2, 41), np.linspace(0.3, 0.7, 10)])
        rates = 10 ** np.linspace(-1 - 0.1 * (flat + 40), 0, flat + 51)
        losses = smoothed.copy()
        losses[[5, -1]] = 2.0, 0.01
        assert suggest(Sweep(rates, losses, smoothed)) == pytest.approx(0.01, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_never_falls_gives_no_suggestion(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.7, 0.05, 100)
    smoothed = np.array([np.average(noise[: i + 1], weights=BETA ** np.arange(i, -1.0, -1)) for i in range(100)])
    with pytest.raises(InputError, match=r"^lr-find: no suggestion, because the loss (never clearly falls|only rises)"):
        suggest(Sweep(np.geomspace(1e-7, 1, 100), noise, smoothed))


def test_other_curves_without_a_fall() -> None:
    with pytest.raises(InputError, match=r"never clearly falls.*raise --highest"):
        suggest(curve(np.linspace(0.6931, 0.6930, 100)))  # by less than one in a hundred
    with pytest.raises(InputError, match=r"only rises, from batch 1 on .*lower --lowest"):
        suggest(curve(np.linspace(1, 3, 100)))
    with pytest.raises(InputError, match="lower --lowest"):
        suggest(curve([math.inf]))
    with pytest.raises(InputError, match=r"a tenth of the rate where the loss is lowest \(1\.0e-1\) was not tried; lower --lowest"):
        suggest(replace(curve(np.linspace(1, 0, 31)), rates=np.geomspace(0.02, 0.1, 31)))


def test_picture_is_a_png_with_something_on_it(tmp_path: Path, swept: Sweep) -> None:
    broken = Sweep(np.geomspace(1, 8, 4), np.array([1.0, 2.0, 9.0, math.inf]), np.array([1.0, 1.5, 4.0, math.inf]))
    for name, drawn, suggestion in (("a", swept, suggest(swept)), ("b", swept, suggest(swept)), ("c", broken, None)):
        draw_sweep(drawn, suggestion, 0.01, "tiny", tmp_path / f"{name}.png")
        picture = Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes()))
        assert picture.format == "PNG" and picture.size == (1050, 570)
        drawn_on = (np.asarray(picture.convert("RGB"), dtype=int) != 255).any(axis=2).mean()
        assert 0.005 < drawn_on < 0.5
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]  # no unfinished ones


def test_rates_are_written_as_in_params() -> None:
    assert [written(rate) for rate in (2e-3, 1.26e-7, 0.1, 1.0, 12.0, 100.0)] == ["2.0e-3", "1.3e-7", "1.0e-1", "1", "12", "100"]


def test_a_phase_has_a_number_and_a_name() -> None:
    phases = resolve(tiny_network(), BLOCKS, [phase("head", rates={"head": 0.1}, name="head"), phase()], "frozen_eval", "s")
    assert [phase_number(which, phases, "s") for which in ("1", "2", "head", "all")] == [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"--phase 3: strategies\.s has 2, 1 to 2: head, all"):
        phase_number("3", phases, "s")
    with pytest.raises(InputError, match="unknown name 'haed'; did you mean 'head'"):
        phase_number("haed", phases, "s")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder without data."""
    (tmp_path / "params.yaml").write_text(PARAMS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.use_deterministic_algorithms(False)


def make_data(project: Path) -> None:
    """What must be there, without content: `assemble` is replaced."""
    (project / "data").mkdir()
    for name in ("images.npy", "index.csv", "dataset.json", "splits.csv"):
        (project / "data" / name).touch()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ful"], "params.yaml: strategies: unknown name 'ful'; did you mean 'full'?"),
        (["full", "--backbone", "lite0_nativ"], "params.yaml: backbones: unknown name 'lite0_nativ'; did you mean 'lite0_native'?"),
        (["full", "--fold", "9"], "params.yaml: split.folds: unknown fold '9'; valid: 0, 1, 2, 3"),
        (["full", "--lowest", "1"], "lr-find: --lowest 1 and --highest 1 must be 0 < lowest < highest"),
        (["full", "--highest", "nan"], "lr-find: --lowest 1e-07 and --highest nan must be 0 < lowest < highest"),
        (["full", "--steps", "3"], "lr-find: --steps 3 are too few to see a trend; at least 18, better 100"),
        (["full", "--out", "lr.svg"], "lr-find: --out lr.svg is not the name of a PNG file, such as lr-find.png"),
        (["full"], "lr-find: data/images.npy is not there; run `dvc repro prepare split` first"),
        (["lp_ft"], "lr-find: data/images.npy is not there; run `dvc repro heads@lite0` first"),
    ],
)
def test_a_mistake_is_one_line(project: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["lr-find", *arguments])
    assert (result.exit_code, result.stderr, result.stdout) == (1, f"thaw: {said}\n", "")


def test_a_probe_that_is_not_there_is_one_line(project: Path) -> None:
    make_data(project)
    result = CliRunner().invoke(app, ["lr-find", "lp_ft"])
    assert result.stderr == "thaw: lr-find: runs/lite0/linear_probe/0/head.safetensors is not there; run `dvc repro heads@lite0` first\n"


def use_tiny_cell(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    make_data(project)
    network = tiny_network()
    plan = resolve(network, BLOCKS, [phase("head", 1, {"head": 0.01}, name="head"), phase("all", 3, RATES)], "frozen_eval", "s")
    cell = SimpleNamespace(
        network=network, plans=[(None, plan)], regime=REGIME, material=tiny_material(), record=SimpleNamespace(inputs={"seed": 3})
    )
    monkeypatch.setattr("thaw.cells.assemble", lambda params, identity: cell)


def test_the_command_prints_suggestion_rates_and_picture(project: Path, monkeypatch: pytest.MonkeyPatch, swept: Sweep) -> None:
    use_tiny_cell(monkeypatch, project)
    result = CliRunner().invoke(app, ["lr-find", "full", "--phase", "2", "--lowest", "1e-6", "--highest", "100"])
    assert result.exit_code == 0, result.output
    rate = suggest(swept)
    assert result.stdout.splitlines() == [
        "lr-find: lite0/full/0, phase all (2 of 2), 1.0e-6 to 100 in 100 batches",
        "lr-find: earlier phases (head) are not trained; this one starts from start: pretrained",
        f"suggestion: {written(rate)} for the phase's highest rate, {rate / 0.01:.2g} times what it is",
        f'rates in params.yaml: {{"head": 1.0e-2, "backbone": 1.0e-3}} → {{"head": {written(rate)}, "backbone": {written(rate / 10)}}}',
        "picture: lr-find-lite0-full.png",
    ]
    assert (project / "lr-find-lite0-full.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_suggestion_there_is_a_picture_and_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_cell(monkeypatch, project)
    result = CliRunner().invoke(app, ["lr-find", "full", "--highest", "1e-6", "--steps", "30", "--out", "sub/flat.png"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "picture: sub/flat.png" and (project / "sub" / "flat.png").exists()
    assert result.stderr.startswith("thaw: lr-find: no suggestion, because the loss never clearly falls") and result.stderr.count("\n") == 1


def test_a_phase_that_is_not_there_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny_cell(monkeypatch, project)
    result = CliRunner().invoke(app, ["lr-find", "full", "--phase", "3"])
    assert (result.exit_code, result.stderr) == (1, "thaw: lr-find: --phase 3: strategies.full has 2, 1 to 2: head, all\n")
