"""What the next epoch depends on, in one file that is whole or absent: a killed cell goes on to the same bits."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from thaw.files import write_with


@dataclass
class Training:
    """State between two epochs. Randomness needs none: it is a function of (seed, epoch, id)."""

    phase: int = 0  # number of the phase under way
    epochs_in_phase: int = 0  # finished in it
    seconds: float = 0.0
    images: int = 0  # training images seen, repeats included
    best_epoch: int = 0
    best_score: float = float("-inf")
    best: dict[str, torch.Tensor] = field(default_factory=dict)  # the network's tensors at best_epoch
    val_logits: torch.Tensor = field(default_factory=lambda: torch.empty(0, 0))  # (m, K), of the validation images at best_epoch
    history: list[dict[str, Any]] = field(default_factory=list)
    frozen_by: dict[str, str] = field(default_factory=dict)  # phase -> what ran its frozen blocks, where their activations were kept


def save_training(
    path: Path, state: Training, network: nn.Module, optimiser: torch.optim.Optimizer, average: dict[str, torch.Tensor]
) -> None:
    """Everything in one safetensors file: numbers as its metadata, tensors as network/, best/, average/, optimiser/ and val_logits."""
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    for name, tensor in network.named_parameters():
        tensors |= {f"optimiser/{key}/{name}": value for key, value in optimiser.state.get(tensor, {}).items()}
    tensors |= {"val_logits": state.val_logits}
    numbers = {key: value for key, value in vars(state).items() if key not in ("best", "val_logits")}
    metadata = {"state": json.dumps(numbers)}
    whole = {name: tensor.detach().contiguous().clone().cpu() for name, tensor in tensors.items()}
    write_with(path, lambda temporary: save_file(whole, temporary, metadata))


def load_training(path: Path, network: nn.Module) -> tuple[Training, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Restore the network in place; (state, the optimiser's tensors for `restore_optimiser`, the moving average's)."""
    with safe_open(path, framework="pt") as file:
        numbers = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    network.load_state_dict(_below("network/", tensors))
    state = Training(**numbers, best=_below("best/", tensors), val_logits=tensors["val_logits"])
    return state, _below("optimiser/", tensors), _below("average/", tensors)


def read_progress(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(Rows of the epochs, images seen) before an interruption; nothing if there was none."""
    if not path.exists():
        return [], 0
    with safe_open(path, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
    return state["history"], state["images"]


def restore_optimiser(optimiser: torch.optim.Optimizer, network: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Moments in the memory layout of their parameters, as the optimiser itself would have made them."""
    parameters = dict(network.named_parameters())
    for name, tensor in saved.items():
        key, parameter = name.split("/", 1)
        like = parameters[parameter]
        optimiser.state[like][key] = tensor.to(like.device) if tensor.ndim == 0 else torch.empty_like(like).copy_(tensor)


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
