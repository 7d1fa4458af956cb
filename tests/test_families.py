"""Every strategy of params.yaml on four kinds of network: what trains, what stays, where it starts, and that a killed one goes on."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from timm.optim._param_groups import param_groups_layer_decay
from torch import nn
from torch.nn.functional import cross_entropy

from thaw.backbones import NORMS, Network, ordered_blocks
from thaw.checkpoints import Training, read_progress
from thaw.errors import InputError
from thaw.finetune import Observer, Regime, train
from thaw.groups import EACH_BLOCK, HEAD, select, unroll
from thaw.inputs import Material, predict
from thaw.params import Phase, Strategy, read_params
from thaw.randomness import id_numbers
from thaw.strategies import ResolvedPhase, network_blocks, norm_tensors, resolve
from thaw.views import Recipe

SIDE, CLASSES = 32, 2  # test_convnext's smallest side
FAMILIES = ("test_resnet", "test_efficientnet", "test_convnext", "test_vit")
TORCHVISION = ("resnet18", "efficientnet_b0", "convnext_tiny", "vit_b_16")
STRATEGIES = read_params(Path(__file__).parents[1] / "params.yaml").strategies
KILLED = ("full", "gradual", "plateau", "fastai_fine_tune", "l2sp", "lp_ft")  # on every family; all strategies on one
REGIME = Regime(batch_size=8, augment=("dihedral",), activations_mb=64, metric="auc")
QUIET = Observer(lambda images: None, lambda row: None, lambda text: None)
State = dict[str, torch.Tensor]


def encoder(family: str, classes: int = 0) -> Any:
    """Channels-last, as `build_backbone` makes them, and random from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        size: dict[str, Any] = {"img_size": SIDE} if family == "test_vit" else {}
        model = timm.create_model(family, num_classes=classes, **size)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def network(family: str, start: str = "pretrained") -> Network:
    """As a strategy would start; its probe is a small random head."""
    inner = encoder(family)
    made = Network(inner, inner.num_features, CLASSES)
    if start == "linear_probe":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            nn.init.normal_(made.head.weight, std=0.5)
    return made


def material(n: int = 24) -> Material:
    """Images whose brightness gives the class, with noise; two thirds to train on."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % CLASSES
    pixels = np.clip(110 + 30 * labels[:, None, None, None] + rng.normal(0, 60, (n, 3, SIDE, SIDE)), 0, 255).astype(np.uint8)
    rows = np.arange(n)
    recipe = Recipe(SIDE, SIDE, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    ids = id_numbers([f"image{row}" for row in rows])
    return Material(torch.from_numpy(pixels), torch.from_numpy(labels), ids, rows[: n * 2 // 3], rows[n * 2 // 3 :], recipe)


def short(phase: Phase) -> Phase:
    """One epoch of two steps; two where a plateau may end it. BiT's own rule is a matter of schedules."""
    if phase.steps == "bit":
        return phase.model_copy(update={"steps": 4, "schedule": "cosine"})
    return phase.model_copy(update={"steps": 2} if phase.steps else {"epochs": 2 if phase.stop else 1})


def constant(phase: Phase, steps: int) -> Phase:
    """So many steps at the peak rate."""
    kind = phase.optimiser and phase.optimiser.model_copy(update={"momentum_at_peak": None})
    flat = {"epochs": None, "steps": steps, "schedule": "constant", "warmup": 0.0, "stop": None, "div": None, "optimiser": kind}
    return phase.model_copy(update=flat)


def resolved(made: Network, strategy: Strategy, shorten: Callable[[Phase], Phase] = short) -> list[ResolvedPhase]:
    return resolve(made, ordered_blocks(made.backbone), [shorten(phase) for phase in strategy.phases], strategy.norm, "s")


def run(
    folder: Path,
    family: str,
    strategy: Strategy,
    shorten: Callable[[Phase], Phase] = short,
    regime: Regime = REGIME,
    observer: Observer = QUIET,
    shown: Material | None = None,
) -> tuple[Network, Training]:
    made = network(family, strategy.start)
    state = train(made, resolved(made, strategy, shorten), shown or material(), regime, 3, folder / "state.safetensors", observer)
    return made, state


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[State, Training, State]]:
    """(family, strategy) -> tensors that are left, history, tensors after the last epoch; trained once."""

    @functools.cache
    def trained(family: str, name: str) -> tuple[State, Training, State]:
        folder = tmp_path_factory.mktemp(f"{family}-{name}")
        made, state = run(folder, family, STRATEGIES[name])
        last = {key.removeprefix("network/"): value for key, value in load_file(folder / "state.safetensors").items()}
        return made.state_dict(), state, last

    return trained


class Killed(Exception):
    pass


def killed_after_each_epoch(folder: Path, *arguments: Any, **keywords: Any) -> tuple[Network, Training]:
    """A process for every epoch: each goes on from what the one before it left, and is killed when its first epoch is on record."""

    def kill(row: dict[str, Any]) -> None:
        raise Killed

    lives = 0
    while True:
        try:
            done = run(folder, *arguments, observer=Observer(QUIET.advance, kill, QUIET.phase), **keywords)
        except Killed:
            lives += 1
            assert len(read_progress(folder / "state.safetensors")[0]) == lives  # what is done is not done again
        else:
            assert lives == len(done[1].history)
            return done


def assert_same(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    assert [name for name, tensor in one.items() if not torch.equal(tensor, other[name])] == []


def assert_partition(made: Network, strategy: Strategy, phases: Sequence[ResolvedPhase]) -> None:
    """Disjoint groups that are, together, what the phase's ``train`` selects."""
    blocks = network_blocks(ordered_blocks(made.backbone))
    assert sorted(name for names in blocks.values() for name in names) == sorted(name for name, _ in made.named_parameters())
    trains = [train for phase in strategy.phases for train in unroll(phase.train, blocks)]
    for phase, what in zip(phases, trains, strict=True):
        names = [name for group in phase.groups for name in group.tensors]
        assert len(set(names)) == len(names)
        assert set(names) == select(what, blocks, norm_tensors(made), "s")
        assert all(group.tensors and group.rate > 0 for group in phase.groups)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_trains_is_an_exact_partition(family: str, name: str) -> None:
    made = network(family)
    assert_partition(made, STRATEGIES[name], resolved(made, STRATEGIES[name]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rate_of_zero_takes_its_blocks_out(family: str) -> None:
    made = network(family)
    stem, *_ = blocks = ordered_blocks(made.backbone)
    frozen = STRATEGIES["full"].phases[0].model_copy(update={"rates": {stem: 0.0, "*": 1e-3}})
    (phase,) = resolve(made, blocks, [frozen], "frozen_eval", "s")
    everything = {name for name, _ in made.named_parameters()}
    assert phase.trainable == everything - set(network_blocks(blocks)[stem])
    assert phase.frozen == (stem,)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_what_no_phase_trains_stays_to_the_bit(
    unbroken: Callable[[str, str], tuple[State, Training, State]], family: str, name: str
) -> None:
    """After the last epoch and in what is restored: parameters, and statistics of norm layers that every phase keeps."""
    best, _, last = unbroken(family, name)
    made = network(family, STRATEGIES[name].start)
    start, phases = made.state_dict(), resolved(made, STRATEGIES[name])
    trained = frozenset().union(*(phase.trainable for phase in phases))
    fixed = frozenset.intersection(*(phase.fixed for phase in phases))
    parameters = {name for name, _ in made.named_parameters()}
    still = {key for key in start if (key not in trained if key in parameters else key.rpartition(".")[0] in fixed)}
    changed = {key for key in start if not (torch.equal(start[key], last[key]) and torch.equal(start[key], best[key]))}
    assert not still & changed
    for block in network_blocks(ordered_blocks(made.backbone)).values():  # branches that start at zero give the tensors within them nothing
        assert not trained & set(block) or trained & set(block) & changed
    buffers = {key for key in start if key not in parameters}
    if STRATEGIES[name].norm == "train":
        assert buffers <= changed
    if STRATEGIES[name].norm == "eval":
        assert not buffers & changed


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_training_starts_where_the_strategy_says(tmp_path: Path, family: str, name: str) -> None:
    """A zero head starts at log K; a probe, where layers keep their statistics, at its own loss."""
    strategy, images = STRATEGIES[name], material()
    made = network(family, strategy.start)
    phases = resolved(made, strategy, lambda phase: constant(phase, 1))
    labels = images.labels[images.train]
    before = cross_entropy(torch.from_numpy(predict(made, images.view, images.train, images.recipe)), labels).item()
    whole = Regime(batch_size=len(labels), augment=(), activations_mb=64, metric="auc")
    state = train(made, phases[:1], images, whole, 3, tmp_path / "state.safetensors", QUIET)
    if strategy.start != "linear_probe":
        assert before == pytest.approx(math.log(CLASSES), abs=1e-5)
    if strategy.start != "linear_probe" or strategy.norm == "eval":
        assert state.history[0]["train/loss"] == pytest.approx(before, abs=1e-5)
    else:
        assert abs(before - math.log(CLASSES)) > 1e-4


def generous(phase: Phase) -> Phase:
    """The strategy's groups at one rate: fifteen steps a phase, five where each block has one."""
    return constant(phase, 5 if phase.train == EACH_BLOCK else 15).model_copy(update={"rates": dict.fromkeys(phase.rates, 0.01)})


@pytest.mark.parametrize(
    ("family", "name"),
    [*(("test_efficientnet", name) for name in STRATEGIES), *((family, "full") for family in FAMILIES if family != "test_efficientnet")],
)
def test_one_batch_can_be_overfitted(tmp_path: Path, family: str, name: str) -> None:
    """Eight images: to less than a third of the first loss by every strategy's groups, the head's and the norms' alone included."""
    images = material(12)
    once = Regime(batch_size=8, augment=(), activations_mb=64, metric="log_loss")
    _, state = run(tmp_path, family, STRATEGIES[name], generous, once, shown=images)
    losses = [row["train/loss"] for row in state.history]
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family in FAMILIES for name in STRATEGIES if family == "test_efficientnet" or name in KILLED]
)
def test_a_killed_training_goes_on_to_the_same_bits(
    unbroken: Callable[[str, str], tuple[State, Training, State]], tmp_path: Path, family: str, name: str
) -> None:
    whole, state, _ = unbroken(family, name)
    resumed, again = killed_after_each_epoch(tmp_path, family, STRATEGIES[name])
    assert again.history == state.history and again.best_epoch == state.best_epoch
    assert_same(whole, resumed.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_killed_training_with_every_dial_on_goes_on_to_the_same_bits(tmp_path: Path, family: str) -> None:
    dials = {"ema": 0.9, "mixup": 0.2, "label_smoothing": 0.1, "clip": 1.0, "class_weights": "balanced", "views": 2, "epochs": 2}
    strategy = STRATEGIES["last_block"].model_copy(update={"phases": [*STRATEGIES["last_block"].phases, *STRATEGIES["l2sp"].phases]})
    regime = Regime(batch_size=8, augment=("dihedral", "brightness"), activations_mb=64, metric="log_loss")

    def dialled(phase: Phase) -> Phase:
        return phase.model_copy(update=dials if phase.name == "all" else {"epochs": 2, "views": 2})

    whole, state = run(tmp_path / "whole", family, strategy, dialled, regime)
    resumed, again = killed_after_each_epoch(tmp_path / "broken", family, strategy, dialled, regime)
    assert again.history == state.history and again.best_epoch == state.best_epoch
    assert_same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_decay_equals_timms(family: str) -> None:
    """Tensor by tensor, against timm's own function on the model with its own classifier, grouped as coarsely as here.

    In a ConvNeXt the last norm is to timm a part of the classifier (scale 1), and here of the last block.
    """
    made = network(family)
    (phase,) = resolved(made, STRATEGIES["layerwise"])
    base, decay = phase.settings.rates["*"], phase.settings.layer_decay
    assert decay is not None
    ours = {name.removeprefix("backbone."): group.rate / base for group in phase.groups for name in group.tensors}
    theirs = encoder(family, CLASSES)
    fine = theirs.group_matcher
    theirs.group_matcher = lambda coarse: fine(coarse=True)
    names = {id(tensor): name for name, tensor in theirs.named_parameters()}
    groups = param_groups_layer_decay(theirs, layer_decay=decay)
    scales = {names[id(tensor)]: group["lr_scale"] for group in groups for tensor in group["params"]}
    backbone = {name for name, _ in made.backbone.named_parameters()}
    assert [scales.pop(name) for name in set(scales) - backbone] == [1.0, 1.0] == [ours.pop("head.weight"), ours.pop("head.bias")]
    if family == "test_convnext":
        assert {scales.pop(f"head.norm.{kind}") for kind in ("weight", "bias")} == {1.0}
        assert [ours.pop(f"head.norm.{kind}") for kind in ("weight", "bias")] == pytest.approx([decay, decay])
    assert ours == pytest.approx(scales, rel=1e-12)
    assert len(set(ours.values())) == len(ordered_blocks(made.backbone))


def torchvision_network(family: str) -> Network:
    """Without memory or values: enough to resolve."""
    with torch.device("meta"):
        model: Any = torchvision.models.get_model(family, weights=None)
        classifier = next(name for name in ("fc", "classifier", "heads") if hasattr(model, name))
        setattr(model, classifier, nn.Identity())
        return Network(model, 8, CLASSES)


@functools.cache
def shared(family: str) -> Network:
    return torchvision_network(family)


@pytest.mark.parametrize("family", TORCHVISION)
@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_resolve_on_torchvisions_models(family: str, name: str) -> None:
    made = shared(family)
    assert_partition(made, STRATEGIES[name], resolved(made, STRATEGIES[name]))


TORCHVISIONS_BLOCKS = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "efficientnet_b0": [f"features.{number}" for number in range(9)],
    "convnext_tiny": [f"features.{number}" for number in range(8)],
    "vit_b_16": ["conv_proj", *(f"encoder.layers.encoder_layer_{number}" for number in range(12))],
}


@pytest.mark.parametrize("family", TORCHVISION)
def test_torchvisions_blocks_are_its_modules_in_order(family: str) -> None:
    blocks = ordered_blocks(shared(family).backbone)
    assert list(blocks) == TORCHVISIONS_BLOCKS[family]
    if family == "resnet18":
        assert blocks["conv1"] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    if family == "vit_b_16":
        assert blocks["conv_proj"] == ["class_token", "conv_proj.weight", "conv_proj.bias", "encoder.pos_embedding"]
        assert {"encoder.ln.weight", "encoder.ln.bias"} < set(blocks["encoder.layers.encoder_layer_11"])


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_bear_the_name_of_a_module_and_none_is_only_norm(family: str) -> None:
    inner = encoder(family)
    blocks = ordered_blocks(inner)
    assert HEAD not in blocks  # test_convnext's last norm is called head.norm
    for name, parameters in blocks.items():
        assert isinstance(inner.get_submodule(name), nn.Module)
        assert not all(isinstance(inner.get_submodule(tensor.rpartition(".")[0]), NORMS) for tensor in parameters)


def test_an_encoder_without_blocks_is_refused() -> None:
    """A block that is called as the network's head is, and one that comes twice."""
    named_head = nn.Sequential()
    named_head.add_module("stem", nn.Linear(2, 2))
    named_head.add_module("head", nn.Linear(2, 2))
    with pytest.raises(InputError, match="backbone Sequential: its modules in their order do not partition its parameters"):
        ordered_blocks(named_head)
    with pytest.raises(InputError, match="not partition"):
        ordered_blocks(nn.LayerNorm(3))
