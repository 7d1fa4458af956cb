"""The short way gives what PyTorch's gives, on every shape that networks have, and is taken where it should be."""

import copy
import warnings
from pathlib import Path

import onnxruntime
import pytest
import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from thaw import depthwise
from thaw.depthwise import Convolution, Depthwise, convolve, quicken, same_padding

NHWC = torch.channels_last
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="needs oneDNN's bfloat16; PyTorch's own rounds on the way"
)


def layer_of(kernel: int, stride: int, *, same: bool = False, bias: bool = False, channels: int = 6) -> nn.Module:
    torch.manual_seed(kernel * 10 + stride)
    if same:
        return Conv2dSame(channels, channels, kernel, stride, groups=channels, bias=bias)
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=bias)


def quickened(layer: nn.Module) -> nn.Module:
    holder = nn.Sequential(copy.deepcopy(layer))
    quicken(holder)
    (layer,) = holder
    return layer


def gradients(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output and gradients of a loss that is not linear in it."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer(x)
    return [out.detach(), *torch.autograd.grad((out**2).sum(), [x, *layer.parameters()])]


@pytest.mark.parametrize("size", [1, 3, 6, 7, 12])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 4, 5, 7])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("same", [False, True])
def test_output_and_gradients_are_pytorchs(kernel: int, stride: int, size: int, same: bool, bias: bool) -> None:
    layer = layer_of(kernel, stride, same=same, bias=bias)
    quick = quickened(layer)
    assert isinstance(quick, Depthwise) == (kernel > 3 or stride > 1 or same)
    x = torch.randn(4, 6, size, size + 1).contiguous(memory_format=NHWC)
    for found, expected in zip(gradients(quick, x), gradients(layer, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_gradients_are_the_derivatives() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, 5, 6), torch.randn(3, 1, 5, 5), torch.randn(3)
    inputs = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    for pads in ((2, 2, 2, 2), (1, 2, 0, 3)):
        assert torch.autograd.gradcheck(lambda x, w, b, pads=pads: Convolution.apply(x, w, b, (2, 1), pads), inputs)


@needs_bfloat16
@pytest.mark.parametrize("size", [3, 6, 12])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("same", [False, True])
def test_under_autocast_only_what_is_handed_on_is_rounded(kernel: int, stride: int, size: int, same: bool) -> None:
    """Numbers that bfloat16 holds go in, so sums in float32, rounded once, are what comes out; PyTorch's output to the bit."""
    layer = layer_of(kernel, stride, same=same, bias=True)
    for tensor in layer.parameters():
        tensor.data = tensor.data.bfloat16().float()
    quick, x = quickened(layer), torch.randn(4, 6, size, size).bfloat16().float().contiguous(memory_format=NHWC)
    with torch.autocast("cpu", torch.bfloat16):
        out = quick(given := x.clone(memory_format=torch.preserve_format).requires_grad_())
        assert out.dtype == torch.bfloat16 and torch.equal(out, layer(x))
    pulled = torch.randn_like(out)
    found = torch.autograd.grad(out, [given, *quick.parameters()], pulled)
    layer.double()
    exact = torch.autograd.grad(layer(wanted := x.double().requires_grad_()), [wanted, *layer.parameters()], pulled.double())
    assert {tensor.dtype for tensor in found} == {torch.float32}
    for one, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), expected, rtol=2**-8, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(("stride", "computed_in"), [(1, torch.bfloat16), (2, torch.float32)])
def test_the_gradient_that_is_slow_in_bfloat16_is_computed_in_float32(
    stride: int, computed_in: torch.dtype, trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel is frozen too and only what lies below it trains."""
    seen, own = [], depthwise._gradients

    def watched(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *others: object) -> object:
        seen.append((others[-1][0], {grad.dtype, x.dtype, weight.dtype}))  # type: ignore[index]
        return own(grad, x, weight, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(depthwise, "_gradients", watched)
    layer, x = quickened(layer_of(5, stride)).requires_grad_(trained), torch.randn(2, 6, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().square().sum().backward()
    assert [dtypes for of_x, dtypes in seen if of_x] == [{computed_in}]
    assert {dtype for of_x, dtypes in seen if not of_x for dtype in dtypes} == ({torch.bfloat16} if trained else set())


@pytest.mark.parametrize("size", range(3, 13))
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_same_padding_is_timms(size: int, stride: int, kernel: int) -> None:
    from timm.layers.padding import pad_same_arg

    assert list(same_padding(size, kernel, stride)) == pad_same_arg([size, size], [kernel] * 2, [stride] * 2)[:2]
    assert (size + sum(same_padding(size, kernel, stride)) - kernel) // stride + 1 == -(-size // stride)


def test_names_parameters_and_modes_stay() -> None:
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    before, tensors = list(network.state_dict()), dict(network.named_parameters())
    quicken(network)
    assert list(network.state_dict()) == before
    assert all(tensor is tensors[name] for name, tensor in network.named_parameters())
    assert not any(module.training for module in network.modules())
    changed = [name for name, module in network.named_modules() if isinstance(module, Depthwise)]
    assert len(changed) == 11  # nine layers of five columns, and two of three with a stride
    quicken(network)
    assert [name for name, module in network.named_modules() if isinstance(module, Depthwise)] == changed


def test_a_whole_network_computes_the_same_bits_and_nearly_the_same_gradients() -> None:
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=2)
    quick = copy.deepcopy(network)
    quicken(quick)
    x = torch.randn(4, 3, 64, 64).contiguous(memory_format=NHWC)
    outputs = [each(x) for each in (network, quick)]
    assert torch.equal(*outputs)
    for output in outputs:
        output.square().sum().backward()
    for (name, usual), found in zip(network.named_parameters(), quick.parameters(), strict=True):
        assert usual.grad is not None and found.grad is not None
        difference, size = (usual.grad - found.grad).norm(), usual.grad.norm()
        assert difference <= 1e-4 * size + 1e-6, name


def test_other_layers_are_left_alone() -> None:
    others = nn.Sequential(
        nn.Conv2d(6, 6, 5, padding=2),  # not depthwise
        nn.Conv2d(6, 6, 3, padding=1, groups=6),  # quick already
        nn.Conv2d(6, 6, 5, padding=2, groups=3),
        nn.Conv2d(6, 12, 5, padding=2, groups=6),
        nn.Conv2d(6, 6, 5, padding=4, groups=6, dilation=2),
        nn.Conv2d(6, 6, 5, padding=2, groups=6, padding_mode="reflect"),
        nn.Conv2d(6, 6, 5, padding="same", groups=6),
        nn.Conv2d(1, 1, 5, padding=2),
    )
    before = list(others)
    quicken(others)
    assert list(others) == before


def test_relu6_is_no_longer_in_place() -> None:
    network = nn.Sequential(nn.ReLU6(inplace=True))
    quicken(network)
    x = torch.tensor([-1.0, 3.0, 7.0])
    assert network(x).tolist() == [0, 3, 6] and x.tolist() == [-1, 3, 7]


def test_a_frozen_kernel_gets_no_gradient_and_its_input_one() -> None:
    layer = quickened(layer_of(5, 2, same=True))
    layer.weight.requires_grad_(False)
    x = torch.randn(2, 6, 7, 7, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and layer.weight.grad is None


def test_without_gradients_the_layer_is_an_ordinary_one_and_can_be_traced(tmp_path: Path) -> None:
    layer = layer_of(5, 2, same=True, bias=True)
    quick, x = quickened(layer), torch.randn(2, 6, 9, 9)
    with torch.inference_mode():
        assert torch.equal(quick(x), layer(x))
    file = tmp_path / "graph.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer exporter
        torch.onnx.export(quick, (x,), file, input_names=["x"], dynamo=False)
    (found,) = onnxruntime.InferenceSession(file.read_bytes()).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(x).detach())


def test_even_padding_is_that_of_convolutions() -> None:
    x, weight = torch.randn(2, 3, 6, 6), torch.randn(3, 1, 5, 5)
    expected = nn.functional.conv2d(x, weight, None, 1, 2, 1, 3)
    assert torch.equal(convolve(x, weight, None, (1, 1), (2, 2, 2, 2)), expected)
