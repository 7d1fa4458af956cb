"""The training loop: what is frozen stays, what is killed goes on to the same bits, what is best is restored."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BLOCKS, QUIET, phase, tiny_material, tiny_network

from thaw import finetune
from thaw.backbones import Network
from thaw.checkpoints import Training, read_progress
from thaw.devices import Precision
from thaw.errors import InputError
from thaw.finetune import Observer, Regime, batches, choose_alpha, plateaued, train
from thaw.inputs import Views, predict
from thaw.metrics import validation_figures
from thaw.params import L2SP, Phase, Stop
from thaw.strategies import resolve

PHASES = [
    phase("head", 2, {"head": 0.05}, name="head"),
    phase("top", 2, {"head": 0.02, "top": 0.02}, name="top"),
    phase("all", 2, {"*": 0.01}, name="all"),
]

REGIME = Regime(16, ("dihedral",), 64, "auc")
PLAIN = Regime(16, (), 64, "auc")


def run(
    folder: Path,
    phases: list[Any] = PHASES,
    observer: Observer = QUIET,
    norm: str = "frozen_eval",
    seed: int = 3,
    precision: Precision = "float32",
) -> tuple[Network, Training]:
    network, regime = tiny_network(), replace(REGIME, precision=precision)
    resolved = resolve(network, BLOCKS, phases, norm, "s")
    state = train(network, resolved, tiny_material(), regime, seed, folder / "state.safetensors", observer)
    return network, state


def tensors(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_it_learns(tmp_path: Path) -> None:
    _, state = run(tmp_path)
    assert state.best_score > 0.95
    assert state.history[-1]["train/loss"] < 0.5 < state.history[0]["train/loss"]
    assert [row["phase"] for row in state.history] == ["head", "head", "top", "top", "all", "all"]
    assert [row["epoch"] for row in state.history] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("train_what", "frozen"), [("head", "backbone."), ("top", "backbone.stem"), ("top", "backbone.bn")])
def test_frozen_means_frozen_to_the_bit(tmp_path: Path, train_what: str, frozen: str) -> None:
    """Parameters and statistics alike; what trains does change."""
    network, _ = run(tmp_path, [phase(train_what, 2, {"*": 0.05})])
    start = tiny_network().state_dict()
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, start[name])}
    assert {name for name in start if name.startswith(frozen)} <= same
    assert not {"head.weight", "head.bias"} & same
    if train_what == "top":
        assert "backbone.top.weight" not in same


def test_norm_policy_decides_about_statistics(tmp_path: Path) -> None:
    start = tiny_network().state_dict()["backbone.bn.running_mean"]
    trained, _ = run(tmp_path / "a", [phase()], norm="train")
    fixed, _ = run(tmp_path / "b", [phase()], norm="eval")
    assert not torch.equal(trained.state_dict()["backbone.bn.running_mean"], start)
    assert torch.equal(fixed.state_dict()["backbone.bn.running_mean"], start)
    assert not torch.equal(fixed.state_dict()["backbone.bn.weight"], tiny_network().state_dict()["backbone.bn.weight"])


def test_rate_zero_on_the_backbone_is_head_only_to_the_bit(tmp_path: Path) -> None:
    grouped, _ = run(tmp_path / "a", [phase("all", 2, {"head": 0.05, "backbone": 0.0})])
    only_head, _ = run(tmp_path / "b", [phase("head", 2, {"head": 0.05})])
    for name, tensor in only_head.state_dict().items():
        assert torch.equal(tensor, grouped.state_dict()[name]), name


def test_the_same_call_gives_the_same_bits_and_another_seed_does_not(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first, state = run(tmp_path / "a")
    torch.manual_seed(2)  # the loop owes nothing to the global state
    second, again = run(tmp_path / "b")
    other, _ = run(tmp_path / "c", seed=4)
    assert state.history == again.history
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(first.head.weight, other.head.weight)


@pytest.mark.parametrize(
    "dial",
    [
        {"mixup": 0.4},
        {"label_smoothing": 0.1},
        {"ema": 0.9},
        {"clip": 0.5},
        {"l2sp": L2SP(alpha=0.1, beta=0.1)},
        {"class_weights": "balanced"},
    ],
)
def test_every_dial_of_the_loss_works_in_bfloat16(tmp_path: Path, dial: dict[str, Any]) -> None:
    with_dial = [phase("all", 2, {"*": 0.02}).model_copy(update=dial)]
    found, expected = ([row["train/loss"] for row in run(tmp_path / p, with_dial, precision=p)[1].history] for p in ("bfloat16", "float32"))
    assert found != expected and found == pytest.approx(expected, abs=0.03)


def test_steps_in_bfloat16_are_nearly_those_in_float32_and_leave_nothing_else_rounded(tmp_path: Path) -> None:
    (rounded, state), (exact, expected) = (run(tmp_path / name, precision=name) for name in ("bfloat16", "float32"))
    losses, wanted = ([row["train/loss"] for row in found.history] for found in (state, expected))
    assert losses != wanted and losses == pytest.approx(wanted, abs=0.03)
    assert {tensor.dtype for tensor in rounded.parameters()} == {torch.float32}
    assert not torch.equal(rounded.head.weight, exact.head.weight)
    assert not torch.equal(rounded.head.weight, rounded.head.weight.bfloat16().float())
    material = tiny_material()
    again = predict(rounded, material.view, material.val, material.recipe)
    assert np.array_equal(again, state.val_logits.numpy()) and (torch.from_numpy(again).bfloat16() != torch.from_numpy(again)).any()


@pytest.mark.parametrize(("killed_after", "precision"), [*((epoch, "float32") for epoch in range(1, 7)), (4, "bfloat16")])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, killed_after: int, precision: Precision) -> None:
    """Killed in every phase, at its end and inside it; dropout, moments and best tensors included."""
    whole, state = run(tmp_path / "whole", precision=precision)

    class Killed(Exception):
        pass

    def kill(row: dict[str, Any]) -> None:
        if row["epoch"] == killed_after:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "broken", observer=Observer(QUIET.advance, kill, QUIET.phase), precision=precision)
    assert len(read_progress(tmp_path / "broken" / "state.safetensors")[0]) == killed_after
    trained: list[int] = []
    watching = Observer(QUIET.advance, lambda row: trained.append(row["epoch"]), QUIET.phase)
    resumed, again = run(tmp_path / "broken", observer=watching, precision=precision)
    assert trained == list(range(killed_after + 1, 7))  # finished epochs are not trained again
    assert again.history == state.history and again.best_epoch == state.best_epoch
    assert torch.equal(again.val_logits, state.val_logits)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_a_kill_inside_an_epoch_repeats_that_epoch(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole")
    seen = 0

    class Killed(Exception):
        pass

    def kill(images: int) -> None:
        nonlocal seen
        seen += images
        if seen > 48 * 3 + 20:
            raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "broken", observer=Observer(kill, QUIET.epoch, QUIET.phase))
    resumed, _ = run(tmp_path / "broken")
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())


def test_the_best_validation_epoch_is_restored(tmp_path: Path) -> None:
    """A rate that wrecks the network in the second phase must not show in what is left."""
    network, state = run(tmp_path, [phase("all", 2, {"*": 0.01}), phase("all", 2, {"*": 5.0}, schedule="constant", warmup=0.0)])
    assert state.best_epoch <= 2
    material = tiny_material()
    figures = validation_figures(predict(network, material.view, material.val, material.recipe), material.labels[material.val].numpy())
    assert figures["auc"] == state.best_score == state.history[state.best_epoch - 1]["val/auc"]
    assert figures["log_loss"] == pytest.approx(state.history[state.best_epoch - 1]["val/log_loss"], rel=1e-5)
    kept = validation_figures(state.val_logits.numpy(), material.labels[material.val].numpy())
    assert kept["log_loss"] == state.history[state.best_epoch - 1]["val/log_loss"] != state.history[-1]["val/log_loss"]


def test_a_loss_that_is_not_finite_stops_with_step_and_rates(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not finite at phase boom, epoch \d, step \d+ \(rates: .*1e\+30.*lower the phase's rates"):
        run(tmp_path, [phase("all", 3, {"*": 1e30}, schedule="constant", name="boom", warmup=0.0)])


def test_a_network_that_breaks_in_the_last_step_of_an_epoch_stops_too(tmp_path: Path) -> None:
    """One step an epoch: the loss is taken before the step that wrecks the network, so only validation can see it."""
    network, material = tiny_network(), tiny_material(16)
    resolved = resolve(network, BLOCKS, [phase("all", 1, {"*": 1e30}, schedule="constant", warmup=0.0)], "frozen_eval", "s")
    with pytest.raises(InputError, match="not finite at phase all, epoch 1, step 1"):
        train(network, resolved, material, PLAIN, 0, tmp_path / "state.safetensors", QUIET)
    assert not (tmp_path / "state.safetensors").exists()


def test_what_a_phase_makes_ready_counts_as_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the tracing of frozen blocks; here half a minute on a clock of our own."""
    offset, own, clock = [0.0], finetune.inputs_of, time.perf_counter

    def slow(*arguments: Any) -> Any:
        offset[0] += 30.0
        return own(*arguments)

    monkeypatch.setattr(finetune, "inputs_of", slow)
    monkeypatch.setattr(finetune.time, "perf_counter", lambda: clock() + offset[0])
    _, state = run(tmp_path)
    assert 30.0 * len(PHASES) < state.seconds < 30.0 * (len(PHASES) + 1)


def test_labels_of_test_rows_cannot_be_used(tmp_path: Path) -> None:
    """A cell sets them to -1; a row of theirs among the training rows would be an error, not a leak."""
    material = tiny_material()
    material.labels[material.train[0]] = -1
    network = tiny_network()
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        train(network, resolve(network, BLOCKS, [phase()], "frozen_eval", "s"), material, PLAIN, 0, tmp_path / "s", QUIET)


def test_no_batch_has_one_image(tmp_path: Path) -> None:
    """Batch statistics of one image are an error where the last feature map has one pixel."""
    network, material = tiny_network(), tiny_material(20)
    assert len(material.train) % 2 == 1
    state = train(
        network, resolve(network, BLOCKS, [phase()], "frozen_eval", "s"), material, Regime(2, (), 0, "auc"), 0, tmp_path / "s", QUIET
    )
    assert len(state.history) == 2
    assert min(len(rows) for rows in batches(material, len(material.train) // 2, 0, 1)) == 2


def test_one_batch_can_be_overfitted(tmp_path: Path) -> None:
    network = tiny_network(dropout=0.0)
    material = tiny_material(16)
    resolved = resolve(network, BLOCKS, [phase("all", 150, {"*": 0.02}, schedule="constant")], "frozen_eval", "s")
    state = train(network, resolved, material, PLAIN, 0, tmp_path / "state.safetensors", QUIET)
    assert state.history[-1]["train/loss"] < 0.02


def test_an_epoch_sees_every_training_image_once_in_a_new_order() -> None:
    material = tiny_material()
    first, again, second = (np.concatenate(batches(material, 5, 0, epoch)) for epoch in (1, 1, 2))
    assert sorted(first) == sorted(second) == material.train.tolist()
    assert (first == again).all() and (first != second).any()
    assert {len(rows) for rows in batches(material, 5, 0, 1)} == {9, 10}


def test_augmentation_depends_on_the_image_not_on_its_batch() -> None:
    material = tiny_material()
    views, rows = Views(material, ("dihedral",), 5), material.train
    together = views.pixels(rows, 2)
    assert torch.equal(together, torch.cat([views.pixels(rows[row : row + 1], 2) for row in range(len(rows))]))
    assert not torch.equal(together, views.pixels(rows, 3))
    assert torch.equal(Views(material, (), 5).pixels(rows, 2), material.view[rows])


def test_views_can_be_counted() -> None:
    """With ``views: 2`` an image has two augmented views, whatever the epoch: even those of transforms that have no end of them."""
    material = tiny_material()
    views, rows = Views(material, ("brightness", "hflip"), 5, limit=2), material.train
    seen = {tuple(image.flatten().tolist()) for epoch in range(1, 12) for image in views.pixels(rows[:1], epoch)}
    assert len(seen) == views.count == 2
    assert Views(material, ("brightness",), 5).codes(rows, 1) is None


def test_prediction_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    network, _ = run(tmp_path)
    material = tiny_material()
    rows = np.arange(64)
    one, many = (predict(network, material.view, rows, material.recipe, size) for size in (1, 64))
    np.testing.assert_allclose(one, many, atol=1e-5)


def rows(*scores: float | None) -> list[dict[str, Any]]:
    return [{"val/auc": score} for score in scores]


@pytest.mark.parametrize(
    ("scores", "in_phase", "patience", "floor", "expected"),
    [
        ((0.7, 0.8), 2, 1, 0.0, False),
        ((0.7, 0.8, 0.8), 3, 1, 0.0, True),  # as good is no gain
        ((0.7, 0.8, 0.75), 3, 2, 0.0, False),
        ((0.7, 0.8, 0.75, 0.79), 4, 2, 0.0, True),
        ((0.7, 0.705), 2, 1, 0.01, True),  # a gain below the floor
        ((0.9, 0.8, 0.85), 2, 2, 0.0, True),  # an earlier phase was better
        ((0.9, 0.8, 0.85), 2, 3, 0.0, False),
        ((0.9,), 0, 1, 0.0, False),
        ((None, None), 2, 2, 0.0, True),  # undefined is no gain
    ],
)
def test_plateau(scores: tuple[float | None, ...], in_phase: int, patience: int, floor: float, expected: bool) -> None:
    assert plateaued(rows(*scores), in_phase, Stop(patience=patience, floor=floor), "auc") is expected


def test_a_phase_stops_on_its_plateau_and_the_next_begins(tmp_path: Path) -> None:
    stuck = phase("head", 9, {"head": 1e-12}, schedule="constant", name="stuck").model_copy(update={"stop": Stop(patience=2, floor=0.0)})
    _, state = run(tmp_path, [stuck, phase("all", 1, name="next")])
    assert [row["phase"] for row in state.history] == ["stuck"] * 3 + ["next"]


def test_steps_may_end_inside_an_epoch(tmp_path: Path) -> None:
    settings = {"name": "few", "train": "all", "steps": 5, "rates": {"*": 0.01}, "weight_decay": 0.0, "schedule": "cosine", "warmup": 0.0}
    seen: list[int] = []
    observer = Observer(seen.append, QUIET.epoch, QUIET.phase)
    _, state = run(tmp_path, [Phase.model_validate(settings)], observer)
    assert seen == [16] * 5 and state.images == 80 and len(state.history) == 2


def test_an_average_with_no_memory_is_the_network_itself(tmp_path: Path) -> None:
    plain, _ = run(tmp_path / "a", [phase()])
    averaged, _ = run(tmp_path / "b", [phase().model_copy(update={"ema": 1e-9})])
    slow, state = run(tmp_path / "c", [phase().model_copy(update={"ema": 0.999})])
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(averaged.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)
    start = tiny_network().head.weight
    assert (slow.head.weight - start).abs().max() < 0.1 * (plain.head.weight - start).abs().max()
    figures = validation_figures(predict(slow, (m := tiny_material()).view, m.val, m.recipe), m.labels[m.val].numpy())
    assert figures["auc"] == state.best_score  # what was validated is what is left


@pytest.mark.parametrize("dial", [{"clip": 1e-4}, {"label_smoothing": 0.3}, {"mixup": 1.0}, {"class_weights": "balanced"}])
def test_every_dial_of_the_loss_reaches_the_training(tmp_path: Path, dial: dict[str, Any]) -> None:
    plain, _ = run(tmp_path / "a", [phase()])
    other, _ = run(tmp_path / "b", [phase().model_copy(update=dial)])
    same = torch.equal(plain.head.weight, other.head.weight)
    assert same == ("class_weights" in dial)  # the classes are balanced already


def test_alpha_is_chosen_on_validation_between_the_ends(tmp_path: Path) -> None:
    """Between a network that knows and one that is wrecked, the knowing end wins; ties go to the start."""
    network, state = run(tmp_path, [phase("all", 4, {"*": 0.02})])
    good, material = tensors(network), tiny_material()
    wrecked = {name: torch.zeros_like(tensor) for name, tensor in good.items()}
    alpha, figures, table = choose_alpha(network, wrecked, [1.0, 0.0, 0.5], material, "auc")
    assert alpha in (0.5, 1.0) and figures["auc"] >= state.best_score and [row["alpha"] for row in table] == [0.0, 0.5, 1.0]
    network.load_state_dict(good)
    alpha, _, _ = choose_alpha(network, good, [1.0, 0.0, 0.5], material, "auc")
    assert alpha == 0.0
    assert all(torch.equal(tensor, good[name]) for name, tensor in network.state_dict().items() if tensor.is_floating_point())
