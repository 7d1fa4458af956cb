"""What frozen blocks give is kept: the same training as when it is recomputed, for less work, and never where it would be wrong."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_families import FAMILIES, QUIET, STRATEGIES, Killed, assert_same, material, network, resolved, run
from tiny import BLOCKS, TinyEncoder, phase, tiny_material, tiny_network
from torch import nn

from thaw.activations import ATOL, RTOL, Halves, Store
from thaw.backbones import Network, ordered_blocks
from thaw.engines import Begun, Engine
from thaw.finetune import Observer, Regime, train
from thaw.groups import HEAD
from thaw.inputs import Below, Kept, Material, Recomputed, Views, engine_below, inputs_of
from thaw.params import Phase, Strategy
from thaw.strategies import apply_freeze, resolve
from thaw.views import normalise

CUTS = [(family, first) for family in FAMILIES for first in [*ordered_blocks(network(family).backbone), HEAD]]


def probe(strategy: str) -> Strategy:
    """With a head that is not zero, so that a wrong activation shows in the first logits."""
    return STRATEGIES[strategy].model_copy(update={"start": "linear_probe"})


def plain(phase: Phase) -> Phase:
    """Three epochs."""
    return phase.model_copy(update={"epochs": 3, "steps": None, "rates": dict.fromkeys(phase.rates, 0.01)})


def pixels() -> torch.Tensor:
    images = material()
    return normalise(images.view[:5], images.recipe)


def freeze_below(made: Network, first: str) -> None:
    blocks = ordered_blocks(made.backbone)
    below = [*blocks, HEAD].index(first)
    frozen = {f"backbone.{name}" for names in list(blocks.values())[:below] for name in names}
    for name, tensor in made.named_parameters():
        tensor.requires_grad_(name not in frozen)
    layers = (name for name, module in made.named_modules() if isinstance(module, nn.BatchNorm2d) and f"{name}.weight" in frozen)
    made.fixed = frozenset(layers)


@pytest.mark.parametrize(("family", "first"), CUTS)
def test_the_halves_give_what_the_whole_gives(family: str, first: str) -> None:
    made = network(family, "linear_probe")
    freeze_below(made, first)
    halves = Halves(made, first, pixels()[:1])
    assert halves.fit(pixels())
    made.eval()
    with torch.no_grad():
        torch.testing.assert_close(halves.upper(halves.lower(pixels())), made(pixels()), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["gradual", "last_block"])
def test_kept_activations_train_as_recomputed_ones(tmp_path: Path, family: str, name: str) -> None:
    kept, recomputed = (run(tmp_path / str(mb), family, probe(name), regime=Regime(8, ("dihedral",), mb, "log_loss")) for mb in (64, 0))
    for one, other in zip(kept[1].history, recomputed[1].history, strict=True):
        assert one.pop("phase") == other.pop("phase")
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    torch.testing.assert_close(kept[0].state_dict(), recomputed[0].state_dict(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_in_bfloat16_kept_activations_train_nearly_as_recomputed_ones(tmp_path: Path, family: str) -> None:
    """Frozen blocks are rounded where they are part of the step, and not where their output is kept."""
    regimes = {mb: Regime(8, ("dihedral",), mb, "log_loss", precision="bfloat16") for mb in (64, 0)}
    kept, recomputed = (run(tmp_path / str(mb), family, probe("last_block"), regime=regime) for mb, regime in regimes.items())
    first, other = (one[1].history[0]["train/loss"] for one in (kept, recomputed))
    assert first == pytest.approx(other, rel=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_engine_below_the_cut_gives_what_pytorch_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """To a few roundings; two trainings from it drift further apart where AdamW turns a gradient of nothing into a step."""
    images, settings, found = material(), probe("last_block").phases[0], []
    for worth in (0, 10**6):
        monkeypatch.setattr("thaw.inputs.WORTH", worth)
        made = network(family, "linear_probe")
        (only,) = resolve(made, ordered_blocks(made.backbone), [settings], "frozen_eval", "s")
        apply_freeze(made, only)
        inputs = inputs_of(made, only, Views(images, ("dihedral",), 3), 8, 64, tmp_path)
        assert isinstance(inputs, Kept) and (inputs.engine is None) is (worth > 0)
        inputs.begin(images.train, 1)
        found.append((inputs.batch(images.train, 1), torch.from_numpy(inputs.validation())))
    for engine, pytorch in zip(*found, strict=True):
        torch.testing.assert_close(engine, pytorch, rtol=0, atol=4e-6 * float(pytorch.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kill_changes_no_bit_where_an_engine_runs_what_is_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.setattr("thaw.inputs.WORTH", 0)
    test_a_kill_inside_a_phase_with_kept_activations_changes_no_bit(tmp_path, family)


def below_the_top(images: Material) -> Below:
    made = network("test_efficientnet")
    top = list(ordered_blocks(made.backbone))[-1]
    return Below(Halves(made, top, normalise(images.view[:1], images.recipe)), images.recipe)


def test_an_engine_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    images = material()
    below = below_the_top(images)
    right = engine_below(below, images.view[:4], images.view[4:9])
    assert right is not None

    def wrong(name: str, network: nn.Module, pixels: torch.Tensor) -> Engine:
        return Engine("wrong", lambda pixels: Begun(lambda: [output * np.float32(1.001) for output in right(pixels)]))

    monkeypatch.setattr("thaw.inputs.on_cores", wrong)
    assert engine_below(below, images.view[:4], images.view[4:9]) is None
    assert capsys.readouterr().err.startswith(
        "thaw: PyTorch runs the frozen blocks, since onnxruntime cannot (its results and PyTorch's differ"
    )


@pytest.mark.parametrize("answer", [np.zeros((1, 2), np.float32), None])
def test_an_engine_that_stops_or_gives_another_shape_is_not_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: np.ndarray | None
) -> None:
    images = material()

    def give() -> list[np.ndarray]:
        if answer is None:
            raise ValueError("no such layer")
        return [answer]

    monkeypatch.setattr("thaw.inputs.on_cores", lambda name, network, pixels: Engine("other", lambda pixels: Begun(give)))
    assert engine_below(below_the_top(images), images.view[:4], images.view[4:9]) is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("it stops: no such layer" if answer is None else "have other shapes") in said


@pytest.mark.parametrize("n", [1, 3])
def test_an_engine_runs_few_images_too(n: int) -> None:
    images = material()
    below = below_the_top(images)
    engine = engine_below(below, images.view[:n], images.view[4:9])
    assert engine is not None
    np.testing.assert_allclose(engine(images.view[:n])[0], below(images.view[:n])[0].numpy(), atol=1e-6)


def test_pytorch_runs_what_is_frozen_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thaw.inputs.WORTH", 0)
    by = {}
    for engine in ("auto", "torch"):
        regime = Regime(8, ("dihedral",), 64, "auc", engine)
        by[engine] = run(tmp_path / engine, "test_efficientnet", STRATEGIES["last_block"], regime=regime)[1].frozen_by
    assert by == {"auto": {"top": f"onnxruntime {version('onnxruntime')}"}, "torch": {"top": f"torch {torch.__version__}"}}


def test_an_engine_is_checked_on_images_that_it_was_not_traced_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something of the traced images that became a constant agrees with PyTorch on those. When the phase ends, the engine is let go."""
    images, seen = material(), list[torch.Tensor]()
    made, settings = network("test_efficientnet"), STRATEGIES["last_block"].phases[0]
    (only,) = resolve(made, ordered_blocks(made.backbone), [settings], "frozen_eval", "s")
    apply_freeze(made, only)

    def watched(below: Below, *pixels: Any) -> Engine | None:
        seen.extend(pixels[:2])
        return engine_below(below, *pixels)

    monkeypatch.setattr("thaw.inputs.engine_below", watched)
    monkeypatch.setattr("thaw.inputs.WORTH", 0)
    inputs = inputs_of(made, only, Views(images, ("dihedral",), 3), 8, 64, tmp_path)
    assert torch.equal(seen[0], images.view[images.train[:4]]) and torch.equal(seen[1], images.view[images.val[:5]])
    assert isinstance(inputs, Kept) and inputs.engine is not None
    inputs.close()
    assert inputs.engine is None


def test_few_images_are_not_worth_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three epochs of the 16 training images in one view each, and the 8 that validate: 24 passes through the frozen blocks."""
    made, settings = network("test_efficientnet"), STRATEGIES["last_block"].phases[0].model_copy(update={"views": 1})
    (only,) = resolve(made, ordered_blocks(made.backbone), [settings], "frozen_eval", "s")
    apply_freeze(made, only)
    for worth, used in ((24, True), (25, False)):
        monkeypatch.setattr("thaw.inputs.WORTH", worth)
        inputs = inputs_of(made, only, Views(material(), ("dihedral",), 3, settings.views), 8, 64, tmp_path)
        assert isinstance(inputs, Kept) and (inputs.engine is not None) is used


class Counted:
    """Images that have gone through a module."""

    def __init__(self, module: nn.Module) -> None:
        self.images = 0
        module.register_forward_pre_hook(self.count)

    def count(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.images += len(inputs[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_blocks_run_once_an_image(tmp_path: Path, family: str) -> None:
    """But for the check of the cut, and the one image that drives the upper half."""
    images, counts = material(), {}
    for mb in (64, 0):
        made = network(family)
        counted = Counted(made.backbone.get_submodule(next(iter(ordered_blocks(made.backbone)))))
        phases = resolved(made, STRATEGIES["last_block"], lambda phase: phase.model_copy(update={"views": 1}))
        train(made, phases, images, Regime(8, ("dihedral",), mb, "auc"), 3, tmp_path / str(mb) / "s", QUIET)
        counts[mb] = counted.images
    n, m, epochs, steps = len(images.train), len(images.val), 3, 2
    assert counts[0] == epochs * (n + m)
    check = 2 + 2 + 2 + 2 + 1 + 2 + 1  # two images: twice below, whole, halves, and halves again for gradients; an upper half runs one
    assert counts[64] == n + m + check + epochs * (steps + 1)


def test_what_does_not_fit_into_memory_goes_to_a_file(tmp_path: Path) -> None:
    found = torch.rand(6, 2, 3, 3)
    keys = [(row, view) for row in range(3) for view in range(2)]
    stores = [Store(6, limit, tmp_path / "folder") for limit in (1, 0)]
    for store in stores:
        store.fill(keys[::-1], 4, lambda part: found[[keys.index(key) for key in part]])
        store.fill(keys, 4, lambda part: pytest.fail("computed twice"))
        assert torch.equal(store.get(keys), found)
    memory, spilled = stores
    assert not memory.spilled and spilled.spilled
    assert len(list((tmp_path / "folder").iterdir())) == 1
    for store in stores:
        store.close()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_spilled_training_is_the_same_to_the_bit(tmp_path: Path) -> None:
    strategy = STRATEGIES["last_block"]

    def many(phase: Phase) -> Phase:  # room for all of them would be 6 MiB
        return phase.model_copy(update={"views": 512, "epochs": 2})

    seen: list[list[str]] = []
    watch = Observer(QUIET.advance, lambda row: seen.append([p.name for p in (tmp_path / "1").glob("activations-*")]), QUIET.phase)
    inside, state = run(tmp_path / "64", "test_convnext", strategy, many)
    spilled, again = run(tmp_path / "1", "test_convnext", strategy, many, Regime(8, ("dihedral",), 1, "auc"), watch)
    assert [len(names) for names in seen] == [1, 1]
    assert not list((tmp_path / "1").glob("activations-*"))
    assert again.history == state.history
    assert_same(inside.state_dict(), spilled.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kill_inside_a_phase_with_kept_activations_changes_no_bit(tmp_path: Path, family: str) -> None:
    """Each epoch shows other views, so each adds to what is kept; what is made again must be what it was."""
    strategy = probe("last_block")
    whole, state = run(tmp_path / "whole", family, strategy, plain)

    def kill(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "broken", family, strategy, plain, observer=Observer(QUIET.advance, kill, QUIET.phase))
    resumed, again = run(tmp_path / "broken", family, strategy, plain)
    assert again.history == state.history
    assert_same(whole.state_dict(), resumed.state_dict())


def kind(made: Network, norm: str, settings: Phase, names: tuple[str, ...], folder: Path, mb: int = 64) -> type[Recomputed]:
    (only,) = resolve(made, ordered_blocks(made.backbone), [settings], norm, "s")
    apply_freeze(made, only)
    inputs = inputs_of(made, only, Views(material(), names, 3, settings.views), 8, mb, folder)
    inputs.close()
    return type(inputs)


@pytest.mark.parametrize(
    ("norm", "dials", "names", "mb", "expected"),
    [
        ("frozen_eval", {}, ("dihedral",), 64, Kept),
        ("eval", {}, (), 64, Kept),
        ("frozen_eval", {}, ("dihedral",), 0, Recomputed),
        ("train", {}, ("dihedral",), 64, Recomputed),
        ("frozen_eval", {"mixup": 0.2}, ("dihedral",), 64, Recomputed),
        ("frozen_eval", {}, ("brightness",), 64, Recomputed),
        ("frozen_eval", {"views": 2}, ("brightness",), 64, Kept),
        ("frozen_eval", {"train": "all", "rates": {"*": 0.01}}, ("dihedral",), 64, Recomputed),
    ],
)
def test_where_activations_are_kept(
    tmp_path: Path, norm: str, dials: dict[str, Any], names: tuple[str, ...], mb: int, expected: type[Recomputed]
) -> None:
    """Only where blocks are frozen, their input has finitely many values, and somebody gave memory for it."""
    settings = STRATEGIES["last_block"].phases[0].model_copy(update=dials)
    assert kind(network("test_efficientnet"), norm, settings, names, tmp_path, mb) is expected


class Skipping(TinyEncoder):
    """The top's result is added to what the stem gave: cut between them, the stem's part would be the sample's."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        low = torch.relu(self.bn(self.stem(pixels)))
        return self.top(low).mean(dim=(2, 3)) + low.mean(dim=(1, 2, 3))[:, None]


class Early(TinyEncoder):
    """A norm that counts as part of the top runs before it."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.before = nn.BatchNorm2d(3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return super().forward(self.before(pixels))


@pytest.mark.parametrize("what", ["dropout below the cut", "a skip over the cut", "a part of the top below the cut"])
def test_networks_that_cannot_be_cut_are_trained_whole(tmp_path: Path, what: str) -> None:
    blocks, states = dict(BLOCKS), []
    for mb in (64, 0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = tiny_network() if "dropout" in what else Network(Skipping(0.0) if "skip" in what else Early(), 6, 2)
        if "part" in what:
            blocks["top"] = [*BLOCKS["top"], "before.weight", "before.bias"]
        nn.init.constant_(made.head.weight.data[0], 0.3)
        phases = resolve(made, blocks, [phase("top", 2, {"*": 0.01})], "frozen_eval", "s")
        assert phases[0].frozen == ("stem",)
        images = tiny_material()
        apply_freeze(made, phases[0])
        assert not Halves(made, "top", torch.zeros(1, 3, 8, 8)).fit(normalise(images.view[:4], images.recipe))
        state = train(made, phases, images, Regime(16, ("dihedral",), mb, "auc"), 3, tmp_path / str(mb) / "s", QUIET)
        states.append((made.state_dict(), state.history))
    assert_same(states[0][0], states[1][0])
    assert states[0][1] == states[1][1]
