"""Engines give PyTorch's features, or say that they cannot."""

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest
import timm
import torch
from tiny import RECIPE
from torch import nn

from thaw import engines
from thaw.backbones import ordered_blocks
from thaw.engines import cosines, engine_for, in_torch
from thaw.errors import InputError
from thaw.features import Frozen

INSTALLED = ["onnxruntime", *(["openvino"] if find_spec("openvino") else [])]


def views(side: int, count: int = 5, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8))


def frozen(name: str, pixels: torch.Tensor) -> Frozen:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = timm.create_model(name, num_classes=0)
    return Frozen(encoder, ordered_blocks(encoder), RECIPE, pixels)


@pytest.mark.parametrize("engine", INSTALLED)
@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"])
def test_features_are_pytorchs_for_batches_of_any_size(name: str, engine: engines.Name) -> None:
    pixels = views(160)
    network = frozen(name, pixels)
    called, run = engine_for(engine, network, pixels)
    assert called.startswith(f"{engine} ")
    for count in (1, 5, 3):
        for found, expected in zip(run(pixels[:count]), in_torch(network)(pixels[:count]), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_gray_views_become_colour_in_the_graph() -> None:
    pixels = views(160, channels=1)
    network = frozen("test_resnet", pixels)
    _, run = engine_for("auto", network, pixels)
    np.testing.assert_allclose(run(pixels)[0], in_torch(network)(pixels)[0], atol=1e-4)


class Halves(nn.Module):
    """Something that no graph can say: its result hangs on what it sees."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        values = pixels.float().flatten(1)
        return (torch.linalg.eigvals(values[:, :16].reshape(-1, 4, 4)).real,)


def test_a_network_that_cannot_be_written_down_is_run_by_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = views(8)
    called, run = engine_for("auto", Halves(), pixels)
    assert called.startswith("torch ") and run(pixels)[0].shape == (5, 4)
    said = capsys.readouterr().err
    assert (
        said.startswith("thaw: PyTorch runs this backbone on the CPU, since onnxruntime cannot (its graph cannot be written: ")
        and said.count("\n") == 1
    )
    with pytest.raises(InputError, match=r"features\.engine: onnxruntime cannot run this backbone \(its graph .*use auto or torch"):
        engine_for("onnxruntime", Halves(), pixels)


def test_an_engine_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = views(160)
    network = frozen("test_resnet", pixels)

    def wrong(graph: bytes, example: torch.Tensor) -> Callable[[torch.Tensor], list[np.ndarray]]:
        return lambda pixels: [output + np.float32(0.3 * output.std()) * np.sign(output) for output in in_torch(network)(pixels.flip(0))]

    monkeypatch.setitem(engines.STARTS, "onnxruntime", wrong)
    assert engine_for("auto", network, pixels)[0].startswith("torch ")
    assert "its features and PyTorch's have a cosine of 0." in capsys.readouterr().err


@pytest.mark.skipif("openvino" in INSTALLED, reason="OpenVINO is installed")
def test_an_engine_that_is_not_there_is_one_line() -> None:
    pixels = views(160)
    with pytest.raises(InputError, match=r"openvino cannot run this backbone \(it is not installed: `pip install openvino`\)"):
        engine_for("openvino", frozen("test_resnet", pixels), pixels)


def test_cosines() -> None:
    a, b = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), np.array([[6.0, 8.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(cosines(a, b), [1, 1, 0, 0], atol=1e-6)
