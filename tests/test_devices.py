"""What a GPU changes. None is needed: PyTorch's fake tensors know on which device each would lie, and refuse what lies on two."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

from thaw.activations import Store
from thaw.averaging import Average
from thaw.backbones import Network
from thaw.cells import regime_of
from thaw.devices import Precision, autocast, find_device, placed, precision_of, sent
from thaw.inputs import Material, Recomputed, Views, predict
from thaw.objective import Objective, draw_mix, l2sp_penalty
from thaw.params import L2SP, read_params
from thaw.views import Recipe

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
RECIPE = Recipe(image_size=8, native_size=8, crop=1.0, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(pixels)).relu().mean(dim=(2, 3))


class Waiting(AssertionError):
    """The host would wait for the GPU."""


class Unwaited(TorchDispatchMode):
    """Within fake tensors: refuse what would wait for a GPU (copies to and from it that block, numbers read, sizes that values decide)."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named, kind = kwargs or {}, operation.overloadpacket
        first = next((one for one in args if isinstance(one, torch.Tensor)), None)
        if first is not None and self._waits(kind, first, args[1:], named):
            raise Waiting(str(operation))
        return operation(*args, **named)

    @staticmethod
    def _waits(kind: Any, first: torch.Tensor, others: Any, named: dict[str, Any]) -> bool:
        aten = torch.ops.aten
        if kind is aten._to_copy:
            target = torch.device(named.get("device") or first.device)
            return target.type != first.device.type and (target.type == "cpu" or not named.get("non_blocking"))
        if kind is aten.copy_:
            return others[0].device.type != first.device.type and (
                first.device.type == "cpu" or not (named.get("non_blocking") or (*others, False)[1])
            )
        if kind in (aten.index, aten.index_put, aten.index_put_):  # indices are copied to where they are needed; a mask's size is counted
            given = [index for index in others[0] if index is not None]
            return any(index.device.type != first.device.type or (index.is_cuda and index.dtype == torch.bool) for index in given)
        return first.is_cuda and kind in (aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2)


def material_on(device: torch.device, labels: torch.Tensor) -> Material:
    view = torch.zeros((6, 1, 8, 8), dtype=torch.uint8, device=device)
    return Material(view, labels, np.arange(6, dtype=np.uint64), np.arange(4), np.arange(4, 6), RECIPE)


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)  # needs a driver
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)


@pytest.mark.parametrize("images_on", [CUDA, CPU])
@pytest.mark.usefixtures("bfloat16")
def test_everything_that_a_step_needs_lies_on_the_networks_device_and_nothing_waits_for_it(images_on: torch.device) -> None:
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    with FakeTensorMode(allow_non_fake_inputs=True):
        with CUDA:
            network = Network(Encoder(), 4, 2)
        start = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        average = Average(network, 0.9, {name: tensor.cpu() for name, tensor in start.items()})
        inputs = Recomputed(network, Views(material_on(images_on, labels), ("dihedral",), 0), 4)
        network.train()
        with Unwaited():
            x, wanted = inputs.batch(np.arange(4), 1), sent(labels[:4], network.device)
            mix = draw_mix(0.2, 4, 0)
            with autocast(network.device, precision_of(network.device)):
                loss = Objective(torch.ones(2), 0.1).loss(inputs.logits(mix.of(x)), wanted, mix)
            loss = loss + l2sp_penalty(network, start, L2SP(alpha=0.1, beta=0.1))  # its derivatives need a driver
            average.update(network)
        assert x.device.type == "cuda" and x.is_contiguous(memory_format=torch.channels_last) and loss.device.type == "cuda"


@pytest.mark.parametrize("images_on", [CUDA, CPU])
@pytest.mark.usefixtures("bfloat16")
def test_predictions_wait_for_a_gpu_once_at_their_end(images_on: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad())  # in it, operations would not be taken apart
    asked = list[int]()
    with FakeTensorMode(allow_non_fake_inputs=True):
        with CUDA:
            network = Network(Encoder(), 4, 2)
        network.register_forward_hook(lambda module, inputs, logits: asked.append(len(logits)))
        view = material_on(images_on, torch.zeros(6, dtype=torch.int64)).view
        with Unwaited(), pytest.raises(Waiting):
            predict(network, view, np.arange(5), RECIPE, batch_size=2)
    assert asked == [2, 2, 1]


@pytest.mark.parametrize(
    "wait",
    [
        lambda on_gpu: torch.tensor([1.0], device=on_gpu.device),
        lambda on_gpu: torch.ones(4).to(on_gpu.device),
        lambda on_gpu: on_gpu.cpu(),
        lambda on_gpu: on_gpu.copy_(torch.ones(4)),
        lambda on_gpu: torch.ones(4).copy_(on_gpu, non_blocking=True),
        lambda on_gpu: on_gpu[torch.tensor([0])],
        lambda on_gpu: on_gpu[on_gpu > 0],
        lambda on_gpu: on_gpu.index_put_((torch.tensor([0]),), on_gpu[0]),
        lambda on_gpu: on_gpu[0].item(),
        lambda on_gpu: on_gpu.nonzero(),
    ],
)
def test_what_waits_for_a_gpu_is_seen(wait: Callable[[torch.Tensor], Any]) -> None:
    with FakeTensorMode():
        on_gpu = torch.ones(4, device=CUDA)
        with Unwaited(), pytest.raises(Waiting):
            wait(on_gpu)


@pytest.mark.parametrize(
    "go_on",
    [
        lambda on_gpu: torch.ones(4).to(on_gpu.device, non_blocking=True),
        lambda on_gpu: on_gpu.copy_(torch.ones(4), non_blocking=True),
        lambda on_gpu: on_gpu[(on_gpu * 0).long()],
        lambda on_gpu: torch.zeros(4, device=on_gpu.device).add_(on_gpu.float()),
        lambda on_gpu: torch.ones(4)[torch.ones(4) > 0].nonzero()[0].item(),
    ],
)
def test_what_does_not_wait_is_let_through(go_on: Callable[[torch.Tensor], Any]) -> None:
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        on_gpu = torch.ones(4, device=CUDA)
        with Unwaited():
            go_on(on_gpu)


@pytest.mark.usefixtures("bfloat16")
def test_steps_on_a_gpu_are_in_bfloat16_and_predictions_are_not() -> None:
    with FakeTensorMode():
        layer, x = nn.Linear(3, 2, device=CUDA), torch.ones(4, 3, device=CUDA)
        with autocast(CUDA, precision_of(CUDA)):
            assert layer(x).dtype == torch.bfloat16
        assert layer(x).dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_on_a_cpu_are_rounded_where_that_was_asked_for(precision: Precision) -> None:
    with autocast(CPU, precision):
        assert nn.Linear(3, 2)(torch.ones(4, 3)).dtype == getattr(torch, precision)
    assert nn.Linear(3, 2)(torch.ones(4, 3)).dtype == torch.float32
    assert precision_of(CPU, precision) == precision


@pytest.mark.parametrize(
    ("able", "expected"),
    [
        ({"avx512_f": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_cpu_that_multiplies_bfloat16_does(able: dict[str, bool], expected: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision_of(CPU) == expected
    assert precision_of(CPU, "bfloat16") == "bfloat16" and precision_of(CPU, "float32") == "float32"


def test_pytorch_says_of_this_cpu_what_linux_says() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "flags" not in flags:
        pytest.skip("needs Linux on x86")
    assert precision_of(CPU) == ("bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags.split()) else "float32")


@pytest.mark.parametrize(("able", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_a_training_asks_the_device_that_it_is_on(able: bool, expected: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    params = read_params(Path(__file__).parents[1] / "params.yaml")
    assert params.finetune.precision == "auto" and regime_of(params).precision == expected
    asked = params.model_copy(update={"finetune": params.finetune.model_copy(update={"precision": "float32"})})
    assert regime_of(asked).precision == "float32"


def test_on_a_cpu_nothing_moves() -> None:
    x = torch.ones(4, 3)
    assert sent(x, CPU) is x
    view = torch.zeros((1, 1, 2, 2), dtype=torch.uint8)
    assert placed(view, CPU, turned=True) is view


@pytest.mark.parametrize(("free", "where"), [(1000, "cuda"), (100, "cpu")])
def test_images_lie_on_the_gpu_if_they_fit_into_half_of_what_is_free(free: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**6))
    with FakeTensorMode():
        view = torch.zeros((2, 1, 8, 8), dtype=torch.uint8)
        assert placed(view, CUDA, turned=True).device.type == where
        assert placed(view, CUDA, turned=False) is view


def test_the_device_is_a_gpu_where_pytorch_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert find_device().type == ("cuda" if there else "cpu")


def test_kept_activations_are_numbers_of_the_host(tmp_path: Path) -> None:
    store = Store(4, 1, tmp_path)
    store.fill([(0, 0), (1, 0)], 2, lambda keys: torch.ones(len(keys), 3))
    assert store.get([(1, 0)]).device.type == "cpu"
    store.close()


@needs_gpu
def test_a_cell_trains_on_a_gpu_and_comes_back(tmp_path: Path) -> None:
    """The loop itself, on a real one: loss falls, nothing between an epoch's steps waits, tensors are saved and read again."""
    from thaw.finetune import Observer, Regime, train
    from thaw.params import Phase
    from thaw.strategies import resolve

    torch.manual_seed(0)
    labels = torch.tensor([0, 1] * 3)
    material = material_on(CUDA, labels)
    material.view[labels == 1] = 200
    network = Network(Encoder(), 4, 2).to(CUDA)
    phase = Phase.model_validate(
        {"name": "all", "train": "all", "epochs": 4, "rates": {"*": 1e-2}, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    )
    plan = resolve(network, {"stem": ["conv.weight", "norm.weight", "norm.bias"]}, [phase], "frozen_eval", "here")
    steps = list[int]()

    def stepped(images: int) -> None:
        steps.append(images)
        torch.cuda.set_sync_debug_mode("error" if len(steps) % 2 else "default")  # an epoch has two steps; between epochs it may wait

    observer = Observer(stepped, lambda row: None, lambda text: None)
    try:
        state = train(network, plan, material, Regime(2, ("dihedral",), 0, "log_loss"), 0, tmp_path / "state.safetensors", observer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert steps == [2, 2] * 4
    assert state.history[-1]["train/loss"] < state.history[0]["train/loss"]
    assert network.device.type == "cuda"
