"""Depthwise convolutions whose gradients take the short way on a CPU, and ReLU6 without a copy: the same sums, in another order.

oneDNN has quick code for the gradient of a depthwise kernel of up to three columns. For a wider one it takes the code of grouped
convolutions, which multiplies sixteen channels with one another to keep sixteen products of 256. So the columns are done three at a time.
Where the padding is not the same on both sides (TensorFlow's "same" with a stride), the gradient of what was padded is a view of it, where
PyTorch makes a copy. On EfficientNet-Lite0 at 96 px a training step takes 5 to 10 % less.

In bfloat16 it has no quick code at all for the gradient of the input of a convolution with a stride, which takes twenty times as long as
in float32. So that one is computed in float32; without it a step in bfloat16 would be the slower one (docs/LOG.md).
"""

from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

QUICK = 3
"""Columns of a depthwise kernel that oneDNN has quick code for."""
NHWC = torch.channels_last
Pads = tuple[int, int, int, int]
"""Zeros on the left, on the right, above and below."""


def quicken(network: nn.Module) -> None:
    """Exchange the layers that this is about, in place. Names, parameters and what is computed stay as they are."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ReLU6):
                layer.inplace = False  # in place it copies its input, to know afterwards where it was flat
            elif _is_slow(layer):
                setattr(parent, name, Depthwise(layer))


class Depthwise(nn.Conv2d):
    """A convolution of each channel with a kernel of its own, in place of ``layer``, whose parameters it takes over."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]  # declared as a tuple of any length
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            groups=layer.groups,
            bias=False,
            device="meta",
        )
        self.weight, self.bias, self.same = layer.weight, layer.bias, _pads_like_tensorflow(layer)
        self.train(layer.training)

    def forward(self, input: Float[torch.Tensor, "B C H W"]) -> Float[torch.Tensor, "B C h w"]:
        pads = self.pads(input)
        down, across = self.stride
        if input.is_cpu and torch.is_grad_enabled() and (self.weight.requires_grad or input.requires_grad):
            autocast = torch.is_autocast_enabled("cpu")  # which does not look into a function with gradients of its own
            x, weight, bias = map(_lowered, (input, self.weight, self.bias)) if autocast else (input, self.weight, self.bias)
            return Convolution.apply(x, weight, bias, (down, across), pads)  # type: ignore[return-value]
        return convolve(input, self.weight, self.bias, (down, across), pads)

    def pads(self, input: Float[torch.Tensor, "B C H W"]) -> Pads:
        if not self.same:
            above, before = self.padding
            return int(before), int(before), int(above), int(above)
        (above, below), (before, after) = (
            same_padding(int(size), kernel, stride)  # while a graph is traced, sizes are tensors
            for size, kernel, stride in zip(input.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        return before, after, above, below


class Convolution(torch.autograd.Function):
    """`convolve`, with gradients of its own."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: tuple[int, int], pads: Pads
    ) -> torch.Tensor:
        ctx.stride, ctx.pads, ctx.size = stride, pads, x.shape[2:]
        if not _even(pads):
            x, pads = functional.pad(x, pads), (0, 0, 0, 0)
        ctx.save_for_backward(x, weight)
        return convolve(x, weight, bias, stride, pads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]  # its decorator forgets names
        (grad,) = grads
        x, weight = ctx.saved_tensors
        (left, _, top, _), inside = ctx.pads, x.shape[2:] == ctx.size  # the convolution itself padded
        padding, of_x, of_weight = (top, left) if inside else (0, 0), None, None
        if ctx.needs_input_grad[0]:
            of_x = input_gradient(grad, x, weight, ctx.stride, padding)
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(grad, x, weight, ctx.stride, padding)
        if of_x is not None and not inside:
            of_x = of_x[:, :, top : top + ctx.size[0], left : left + ctx.size[1]]
        return of_x, of_weight, grad.sum(dim=(0, 2, 3)) if ctx.needs_input_grad[2] else None, None, None


def convolve(
    x: Float[torch.Tensor, "B C H W"],
    weight: Float[torch.Tensor, "C 1 k l"],
    bias: Float[torch.Tensor, " C"] | None,
    stride: tuple[int, int],
    pads: Pads,
) -> Float[torch.Tensor, "B C h w"]:
    """Of each channel of ``x``, padded with zeros, with its kernel."""
    if not _even(pads):
        x, pads = functional.pad(x, pads), (0, 0, 0, 0)
    return functional.conv2d(x, weight, bias, stride, (pads[2], pads[0]), 1, len(weight))


def input_gradient(
    grad: Float[torch.Tensor, "B C h w"],
    x: Float[torch.Tensor, "B C H W"],
    weight: Float[torch.Tensor, "C 1 k l"],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Float[torch.Tensor, "B C H W"]:
    """Of ``x``, of which only size and layout count; with a stride never in bfloat16."""
    if grad.dtype == torch.bfloat16 and stride != (1, 1):
        raised = _gradients(grad.float(), torch.empty_like(x, dtype=torch.float32), weight.float(), stride, padding, (True, False, False))
        return raised[0].to(grad.dtype)  # type: ignore[union-attr]  # it was wanted
    return _gradients(grad, x, weight, stride, padding, (True, False, False))[0]  # type: ignore[return-value]


def weight_gradient(
    grad: Float[torch.Tensor, "B C h w"],
    x: Float[torch.Tensor, "B C H W"],
    weight: Float[torch.Tensor, "C 1 k l"],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Float[torch.Tensor, "C 1 k l"]:
    """Of the kernels; of wide ones `QUICK` columns at a time: each meets the columns that it saw, as a convolution without padding.

    ``padding``: rows of zeros above ``x``, columns on its left; what is missing on the other sides is zero too.
    """
    if weight.shape[3] <= QUICK:
        return _gradients(grad, x, weight, stride, padding, (False, True, False))[1]  # type: ignore[return-value]
    top, left = padding
    below, right = (
        (out - 1) * step + kernel - before - size
        for out, step, kernel, before, size in zip(grad.shape[2:], stride, weight.shape[2:], padding, x.shape[2:], strict=True)
    )
    seen = functional.pad(x, (left, right, top, below)) if any((left, right, top, below)) else x
    parts = []
    for first in range(0, weight.shape[3], QUICK):
        kernel = weight[..., first : first + QUICK].contiguous(memory_format=NHWC)
        columns = (grad.shape[3] - 1) * stride[1] + kernel.shape[3]
        part = seen[..., first : first + columns].contiguous(memory_format=NHWC)
        parts.append(_gradients(grad, part, kernel, stride, (0, 0), (False, True, False))[1])
    return torch.cat(parts, dim=3)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, so that the output is ``ceil(size / stride)`` long; an odd one comes after (TensorFlow's rule)."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


def _gradients(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: tuple[int, int], padding: tuple[int, int], wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, ...]:
    """PyTorch's own, of input, weight and bias, None where not ``wanted``."""
    return torch.ops.aten.convolution_backward(grad, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted)


def _lowered(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """What autocast makes of it on a CPU."""
    return None if tensor is None else tensor.to(torch.get_autocast_dtype("cpu"))


def _even(pads: Pads) -> bool:
    return pads[0] == pads[1] and pads[2] == pads[3]


def _is_slow(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """A depthwise convolution of a kind that this module knows, with a wide kernel, a stride or padding that may be uneven."""
    if type(layer).__name__ not in ("Conv2d", "Conv2dSame") or not isinstance(layer, nn.Conv2d):
        return False
    single = layer.groups == layer.in_channels == layer.out_channels > 1
    plain = layer.dilation == (1, 1) and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return single and plain and (layer.kernel_size[1] > QUICK or layer.stride != (1, 1) or _pads_like_tensorflow(layer))


def _pads_like_tensorflow(layer: nn.Module) -> bool:
    """timm's layer for it. By name: importing timm takes a second, and a network that has it has been built by timm."""
    return type(layer).__name__ == "Conv2dSame"
