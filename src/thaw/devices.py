"""Where tensors live: on a GPU where PyTorch sees one (``CUDA_VISIBLE_DEVICES=`` hides it), else on the CPU; and in which precision.

Where the hardware multiplies bfloat16, steps run under autocast to it: what layers hand on, and gradients on their way back, are rounded to
8 bits. Sums within a product, the loss, weights, their updates and all predictions are float32. On a GPU, images lie there as bytes if they
fit, and nothing in a step waits for it. A record names device and precision, since both decide bits. What was measured on a GPU is in
docs/LOG.md: small networks leave it idle for most of a step, which the host takes longer to ask for.
"""

import os
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, UInt8

SHARE = 0.5
"""Of a GPU's free memory, for images."""


def find_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_deterministic(device: torch.device) -> None:
    """The same bits from run to run. Where a GPU has no such code for an operation, PyTorch warns; on a CPU it would stop."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS chooses among sums by what is free
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False  # what is not under autocast is single precision
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs a tenth of a step


Precision = Literal["float32", "bfloat16"]
"""Of what the layers of a training step hand on."""


def precision_of(device: torch.device, asked: Literal["auto", "float32", "bfloat16"] = "auto") -> Precision:
    """What was ``asked`` for; ``auto``: bfloat16 where the device multiplies it by itself, which is faster, else float32.

    Of CPUs those with AVX-512 BF16 or AMX do; oneDNN's quick code for ARM's is not made use of.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """For the forward pass and the loss of a step."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """To ``device``, without waiting for it: what comes from pinned memory is copied while the host goes on."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def taken(tensor: torch.Tensor, rows: Int[np.ndarray, " b"]) -> torch.Tensor:
    """Its rows of these numbers, which are sent to where it lies: a GPU would be waited for while it reads them here."""
    return tensor[sent(torch.from_numpy(rows), tensor.device)]


def placed(view: UInt8[torch.Tensor, "N C S S"], device: torch.device, *, turned: bool) -> UInt8[torch.Tensor, "N C S S"]:
    """Images on the GPU if they take no more than `SHARE` of what is free there; else where they are, and batches travel.

    They stay, too, unless all that is done to them is to be ``turned``: a GPU rounds otherwise, and what is free there may not decide bits.
    """
    if device.type == "cpu" or not turned or view.nbytes > SHARE * torch.cuda.mem_get_info(device)[0]:
        return view
    return view.to(device)
