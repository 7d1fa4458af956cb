"""The learning-rate range test (Smith 2017, arXiv 1506.01186): train with rates that grow, and see from the loss which of them learn.

It runs a cell's own network, start, groups, batches and augmentation, on training images alone, and leaves the network as it was.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from thaw.backbones import Network
from thaw.depthwise import quicken
from thaw.devices import autocast, find_device, make_deterministic, sent
from thaw.errors import InputError, nearest
from thaw.files import write_with
from thaw.finetune import Regime, batches, objective_of, state_of
from thaw.inputs import Material, Recomputed, Views, steps_per_epoch
from thaw.objective import draw_mix, l2sp_penalty
from thaw.optimisers import build_optimiser
from thaw.params import Params, read_params
from thaw.progress import progress
from thaw.randomness import derive_seed
from thaw.runs import Identity
from thaw.strategies import ResolvedPhase, apply_freeze

BETA = 0.98
"""Of the exponential average, as in fastai's Recorder."""
DIVERGED = 4.0
"""The sweep stops where the smoothed loss is so many times its best (fastai's LRFinder)."""
FALL, ERRORS = 0.01, 3.0
"""A loss has fallen if it did by this share, and by so many standard errors."""
FEWEST = 9
"""Batches up to the lowest loss, for three thirds that have a mean."""
DATA = ("data/images.npy", "data/index.csv", "data/dataset.json", "data/splits.csv")


@dataclass(frozen=True)
class Sweep:
    """A batch a row. Where the loss stopped being finite, the last row has inf."""

    rates: Float[np.ndarray, " n"]  # of the phase's highest group
    losses: Float[np.ndarray, " n"]
    smoothed: Float[np.ndarray, " n"]

    @property
    def lowest(self) -> int:
        """Where the smoothed loss is lowest."""
        return int(np.argmin(self.smoothed))


def sweep(
    network: Network,
    phase: ResolvedPhase,
    material: Material,
    regime: Regime,
    seed: int,
    lowest: float,
    highest: float,
    steps: int,
    advance: Callable[[int], None] = lambda images: None,
) -> Sweep:
    """Train ``phase`` for ``steps`` batches, the rate of its highest group growing geometrically, the others in their ratio to it.

    It is the loop of `finetune.train` without schedule, momentum's cycle, averages and validation. ``advance`` hears of images as they go.
    """
    settings, images, top = phase.settings, len(material.train), highest_rate(phase)
    rates, losses, smoothed, average = np.geomspace(lowest, highest, steps), [], [], 0.0
    quicken(network)
    with untouched(network):
        start = state_of(network)
        apply_freeze(network, phase)
        optimiser = build_optimiser(network, phase.groups, settings.optimiser)
        objective, mixup = objective_of(phase, material, network.head.out_features), phase.mixup(images)
        inputs = Recomputed(network, Views(material, regime.augment, seed, settings.views), regime.batch_size)
        for step, (epoch, rows) in enumerate(_endless_batches(material, regime.batch_size, seed, steps)):
            for group in optimiser.param_groups:
                group["lr"] = float(rates[step]) * (group["peak"] / top)
            network.train()
            x, labels = inputs.batch(rows, epoch), sent(material.labels[rows], network.device)
            mix = draw_mix(mixup, len(rows), derive_seed(seed, "mixup", epoch, step)) if mixup else None
            with autocast(network.device, regime.precision):
                loss = objective.loss(inputs.logits(x if mix is None else mix.of(x)), labels, mix)
            losses.append(loss.item() if math.isfinite(loss.item()) else math.inf)
            average = BETA * average + (1 - BETA) * losses[-1]
            smoothed.append(average / (1 - BETA ** (step + 1)))
            if smoothed[-1] == math.inf or smoothed[-1] > DIVERGED * min(smoothed):
                break
            optimiser.zero_grad()
            (loss + l2sp_penalty(network, start, settings.l2sp) if settings.l2sp else loss).backward()
            if settings.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimiser.step()
            advance(len(rows))
    return Sweep(rates[: len(losses)], np.array(losses), np.array(smoothed))


def _endless_batches(material: Material, batch_size: int, seed: int, steps: int) -> Iterator[tuple[int, np.ndarray]]:
    """(epoch, rows) of the first ``steps`` batches that training would see; each epoch seeds dropout as training does."""
    per_epoch = steps_per_epoch(len(material.train), batch_size)
    for epoch in range(1, math.ceil(steps / per_epoch) + 1):
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        for rows in batches(material, per_epoch, seed, epoch)[: steps - (epoch - 1) * per_epoch]:
            yield epoch, rows


@contextmanager
def untouched(network: Network) -> Iterator[None]:
    """Give back every tensor to the bit, what trains, each layer's mode, and the global random state."""
    state, fixed = state_of(network), network.fixed
    trains = [(tensor, tensor.requires_grad) for tensor in network.parameters()]
    modes = [(module, module.training) for module in network.modules()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            network.load_state_dict(state)
            network.fixed = fixed
            for tensor, before in trains:
                tensor.grad = None
                tensor.requires_grad_(before)
            for module, mode in modes:
                module.training = mode


def suggest(swept: Sweep) -> float:
    """A tenth of the rate at which the smoothed loss is lowest, where learning and divergence balance: fastai's ``minimum``.

    The other usual rules fit networks with a zero head or a probe badly. ``valley`` counts batches, and under a zero head every batch is a
    little better than the last, so that --lowest decides; the steepest descent is where single batches differ most, or where a probe gets
    used to augmented images. Raises `InputError` if the loss never falls, or if that tenth lies below the sweep.
    """
    _check_fall(swept)
    suggestion = float(swept.rates[swept.lowest]) / 10
    if suggestion < swept.rates[0]:
        raise InputError(
            f"lr-find: no suggestion, because a tenth of the rate where the loss is lowest ({written(swept.rates[swept.lowest])}) "
            f"was not tried; lower --lowest"
        )
    return suggestion


def _check_fall(swept: Sweep) -> None:
    """Compare the first and the last third of the losses up to the lowest point; noise is what separates neighbours (von Neumann 1941)."""
    losses = swept.losses[: swept.lowest + 1]
    third = len(losses) // 3
    if len(losses) < FEWEST:
        raise InputError(
            f"lr-find: no suggestion, because the loss only rises, from batch {len(losses)} on "
            f"(rate {written(swept.rates[swept.lowest])}); lower --lowest"
        )
    before, after = losses[:third].mean(), losses[-third:].mean()
    error = math.sqrt(np.mean(np.diff(losses) ** 2) / 2 * 2 / third)
    if before - after < max(FALL * before, ERRORS * error):
        raise InputError(
            f"lr-find: no suggestion, because the loss never clearly falls: {before:.4g} at first, {after:.4g} where it is lowest, "
            f"standard error {error:.2g}; raise --highest or --steps"
        )


def highest_rate(phase: ResolvedPhase) -> float:
    return max(group.rate for group in phase.groups)


def draw_sweep(swept: Sweep, suggestion: float | None, now: float, title: str, path: Path) -> None:
    """PNG: raw losses thin, smoothed ones bold, the suggestion and the rate of params.yaml marked; equal sweeps give equal bytes."""
    import matplotlib.style
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from thaw.reporting.figures import BLACK, BLUE, DPI, GRAY, ORANGE, STYLE, WIDTH

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(swept.rates, swept.losses, color=GRAY, linewidth=0.7, label="loss of each batch")
        axes.plot(swept.rates, swept.smoothed, color=BLUE, linewidth=2.2, label="smoothed")
        axes.axvline(now, color=BLACK, linewidth=0.9, linestyle="--", label=f"params.yaml: {written(now)}", zorder=1)
        if suggestion is not None:
            height = float(np.interp(math.log(suggestion), np.log(swept.rates), swept.smoothed))
            axes.axvline(suggestion, color=ORANGE, linewidth=0.9, zorder=1)
            axes.plot(suggestion, height, "o", color=ORANGE, markersize=7, label=f"suggestion: {written(suggestion)}", zorder=4)
        axes.set(xlim=(swept.rates[0], swept.rates[-1] * 1.2), ylim=_heights(swept), title=title, ylabel="training loss")
        axes.set_xlabel("rate of the phase's highest group (logarithmic)")
        axes.xaxis.set_major_locator(LogLocator(numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.0e}".replace("e-0", "e-").replace("e+0", "e")))
        axes.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside lower center", ncols=4)
        write_with(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None}))


def _heights(swept: Sweep) -> tuple[float, float]:
    """The losses up to the lowest smoothed one, with room above; the diverging end, which would flatten all else, is cut off."""
    seen = swept.losses[: max(swept.lowest + 1, FEWEST)]
    seen = seen[np.isfinite(seen)]
    low, high = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 1.0)
    reach = max(high - low, 0.1 * high)
    return max(0.0, low - 0.1 * reach), high + 0.6 * reach


def find_rate(strategy: str, fold: str, backbone: str, phase: str, steps: int, lowest: float, highest: float, out: Path | None) -> None:
    """The command: check what was asked for, sweep, draw, and say in lines what came out. ``phase``: a number from 1, or a name."""
    params = read_params()
    _check_request(params, strategy, fold, backbone)
    _check_dials(steps, lowest, highest)
    out = out or Path(f"lr-find-{backbone}-{strategy}.png")
    if out.suffix != ".png" or out.is_dir():
        raise InputError(f"lr-find: --out {out} is not the name of a PNG file, such as lr-find.png")
    identity = Identity(backbone, strategy, int(fold))
    _check_data(params, identity)

    from thaw.cells import assemble

    make_deterministic(find_device())  # as the stage does
    cell = assemble(params, identity)
    phases = cell.plans[0][1]  # a tuned strategy's first plan is the strategy as it stands
    number = phase_number(phase, phases, strategy)
    chosen, images = phases[number], len(cell.material.train)
    span = f"{written(lowest)} to {written(highest)} in {steps} batches"
    print(f"lr-find: {identity}, phase {chosen.name} ({number + 1} of {len(phases)}), {span}", flush=True)
    if number:
        earlier, start = ", ".join(known.name for known in phases[:number]), params.strategies[strategy].start
        print(f"lr-find: earlier phases ({earlier}) are not trained; this one starts from start: {start}", flush=True)
    with progress("lr-find", round(steps * images / steps_per_epoch(images, cell.regime.batch_size))) as shown:
        seed = cell.record.inputs["seed"]
        swept = sweep(cell.network, chosen, cell.material, cell.regime, seed, lowest, highest, steps, shown.advance)
    report(swept, chosen, f"{identity}, phase {chosen.name}", out)


def report(swept: Sweep, phase: ResolvedPhase, title: str, out: Path) -> None:
    """Picture and lines. The picture is there even if no rate can be suggested."""
    now = highest_rate(phase)
    try:
        suggestion = suggest(swept)
    except InputError:
        draw_sweep(swept, None, now, title, out)
        print(f"picture: {out}")
        raise
    draw_sweep(swept, suggestion, now, title, out)
    rates = phase.settings.rates
    scaled = {pattern: rate * suggestion / now for pattern, rate in rates.items()}
    print(f"suggestion: {written(suggestion)} for the phase's highest rate, {suggestion / now:.2g} times what it is")
    print(f"rates in params.yaml: {_mapping(rates)} → {_mapping(scaled)}")
    if swept.lowest == len(swept.rates) - 1:
        print("the loss was still falling at the highest rate: a higher --highest may suggest more")
    print(f"picture: {out}")


def phase_number(phase: str, phases: Sequence[ResolvedPhase], strategy: str) -> int:
    """Position of the phase that ``phase`` names, by number from 1 or by name."""
    names = [known.name for known in phases]
    if phase in names:
        return names.index(phase)
    if phase.isdecimal() and 1 <= int(phase) <= len(names):
        return int(phase) - 1
    if phase.isdecimal():
        raise InputError(f"lr-find: --phase {phase}: strategies.{strategy} has {len(names)}, 1 to {len(names)}: {', '.join(names)}")
    raise InputError(f"lr-find: --phase: unknown name {phase!r}; {nearest(phase, names)}")


def _check_request(params: Params, strategy: str, fold: str, backbone: str) -> None:
    if strategy not in params.strategies:
        raise InputError(f"params.yaml: strategies: unknown name {strategy!r}; {nearest(strategy, params.strategies)}")
    if backbone not in params.backbones:
        raise InputError(f"params.yaml: backbones: unknown name {backbone!r}; {nearest(backbone, params.backbones)}")
    if fold not in map(str, params.split.folds):
        raise InputError(f"params.yaml: split.folds: unknown fold {fold!r}; {nearest(fold, map(str, params.split.folds))}")


def _check_dials(steps: int, lowest: float, highest: float) -> None:
    if not 0 < lowest < highest < math.inf:
        raise InputError(f"lr-find: --lowest {lowest:g} and --highest {highest:g} must be 0 < lowest < highest")
    if steps < 2 * FEWEST:
        raise InputError(f"lr-find: --steps {steps} are too few to see a trend; at least {2 * FEWEST}, better 100")


def _check_data(params: Params, identity: Identity) -> None:
    """What `assemble` reads is there; otherwise the stage that makes it."""
    probe, backbone = params.strategies[identity.strategy].start == "linear_probe", identity.backbone
    if probe and backbone not in params.features.backbones:
        raise InputError(
            f"params.yaml: strategies.{identity.strategy} starts from the linear probe of {backbone!r}: add it to features.backbones"
        )
    head = Identity(backbone, "linear_probe", identity.fold).folder() / "head.safetensors"
    needed = [Path(name) for name in DATA] + ([head] if probe else [])
    missing = [path for path in needed if not path.exists()]
    if missing:
        raise InputError(f"lr-find: {missing[0]} is not there; run `dvc repro {f'heads@{backbone}' if probe else 'prepare split'}` first")


def _mapping(rates: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{json.dumps(pattern)}: {written(rate)}" for pattern, rate in rates.items()) + "}"


def written(rate: float) -> str:
    """Two digits, as params.yaml writes them: 2.0e-3."""
    digits, power = f"{rate:.1e}".split("e")
    return f"{digits}e{int(power)}" if int(power) < 0 else f"{float(f'{rate:.1e}'):g}"
