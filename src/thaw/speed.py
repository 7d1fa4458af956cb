"""How fast this machine is at the default work, measured for a few seconds on made-up pixels; and what a whole comparison would take."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from thaw.params import Params
from thaw.preview import total_cost

SECONDS = 1.5
"""Each of the two measurements, after a first call that is not counted."""


@dataclass(frozen=True)
class Speed:
    """Seconds an image, for the first of finetune.backbones (else of features.backbones) at its size."""

    forward: float  # of the frozen network, by features.engine
    training: float  # forward, backward and a step of everything


def measure_speed(params: Params, classes: int, seconds: float = SECONDS) -> Speed:
    """Weights are random, which costs the same and needs no download."""
    import torch

    from thaw.backbones import Network, backbone_of
    from thaw.depthwise import quicken
    from thaw.devices import autocast, precision_of
    from thaw.engines import engine_for
    from thaw.features import Frozen

    first = (params.finetune.backbones or params.features.backbones)[0]
    settings = params.backbones[first]
    backbone, frozen = (backbone_of(settings, random_seed=0) for _ in range(2))  # one each: an engine may move its own to a GPU
    network = Network(backbone.encoder, backbone.dim, classes)
    quicken(network)  # as training does
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-6)
    many, side = params.finetune.batch_size, settings.image_size
    views = torch.zeros(params.features.batch_size, 1, side, side, dtype=torch.uint8)
    extractor = engine_for(params.features.engine, Frozen(frozen.encoder, frozen.blocks, frozen.recipe, views[:2]), views)
    pixels = torch.zeros(many, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(many) % classes

    precision = precision_of(pixels.device, params.finetune.precision)

    def step() -> None:
        with autocast(pixels.device, precision):
            loss = torch.nn.functional.cross_entropy(network.train()(pixels), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return Speed(typical(lambda: extractor(views), seconds) / len(views), typical(step, seconds) / many)


def typical(work: Callable[[], object], seconds: float) -> float:
    """Median of its durations in about ``seconds``, s; the first call, which allocates, does not count."""
    from statistics import median

    work()
    end, took = time.perf_counter() + seconds, []
    while not took or time.perf_counter() < end:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return median(took)


def estimate(params: Params, speed: Speed, images: int) -> dict[str, float]:
    """Seconds of every part in all folds: ``features <backbone>`` once, and each strategy of finetune.strategies.

    ``images``: of the data set. Pixels make the cost: another size scales by its square. Fitting heads and evaluating are not in it.
    """
    trained = params.backbones[(params.finetune.backbones or params.features.backbones)[0]]
    parts = {}
    for name in params.features.backbones:
        scale = (params.backbones[name].image_size / trained.image_size) ** 2
        parts[f"features {name}"] = images * speed.forward * scale
    folds = len(params.split.folds)
    share = 1.0 if folds == 1 else 1 - 1 / folds
    own = max(1, round(images * share * (1 - params.split.validation)))
    trials = max(1, params.tune.trials)
    for strategy in params.finetune.strategies if params.finetune.backbones else []:
        epoch = own * speed.training
        parts[strategy] = total_cost(params, strategy, own) * epoch * folds * trials * len(params.finetune.backbones)
    return parts


def in_words(seconds: float) -> str:
    """``40 s``, ``5 min``, ``2.5 h``, ``3 days``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{round(seconds / 86400)} days"
