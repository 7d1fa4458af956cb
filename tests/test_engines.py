"""Engines give PyTorch's features, or say that they cannot."""

import tempfile
import threading
from concurrent.futures import CancelledError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
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
    runs = engine_for(engine, network, pixels)
    assert runs.name.startswith(f"{engine} ")
    begun = {count: runs.begin(pixels[:count]) for count in (1, 5, 3, 4)}  # several at a time, waited for in any order
    for count, one in reversed(begun.items()):
        for found, expected in zip(one.wait(), in_torch(network)(pixels[:count]).wait(), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("engine", INSTALLED)
def test_an_images_outputs_are_the_same_bits_whatever_goes_with_it(engine: engines.Name) -> None:
    pixels = views(96, 11)
    runs = engine_for(engine, frozen("test_efficientnet", pixels), pixels)
    together, alone = runs(pixels), [runs(pixels[row : row + 1]) for row in range(len(pixels))]
    for number, output in enumerate(together):
        np.testing.assert_array_equal(output, np.concatenate([one[number] for one in alone]))


@pytest.mark.parametrize("engine", INSTALLED)
def test_what_nobody_waits_for_is_not_done(engine: engines.OfGraphs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that is asked for should not wait for batches that were begun ahead."""
    gate, done = threading.Event(), list[int]()

    def slow(graph: bytes) -> engines.Part:
        part = start(graph)

        def counted(some: np.ndarray) -> list[np.ndarray]:
            gate.wait(60)
            done.append(len(some))
            return part(some)

        return counted

    start = engines.STARTS[engine]
    monkeypatch.setitem(engines.STARTS, engine, slow)
    threads = torch.get_num_threads()
    pixels = views(32, 4 * engines.AT_ONCE * threads)
    begun = engines.on_cores(engine, frozen("test_efficientnet", pixels), pixels).begin(pixels)
    try:
        begun.cancel()
    finally:
        gate.set()
    engines.workers(threads).submit(gate.wait).result()  # what was left is before it
    assert len(done) <= threads
    with pytest.raises(CancelledError):
        begun.wait()


@pytest.mark.parametrize(("batch", "size"), [(1, 1), (3, 3), (4, 4), (5, 3), (6, 3), (9, 3), (32, 4)])
def test_batches_are_cut_into_equal_parts(monkeypatch: pytest.MonkeyPatch, batch: int, size: int) -> None:
    """Else a batch of five would cost as much as eight."""
    seen = list[int]()

    def watched(graph: bytes) -> engines.Part:
        return lambda some: [np.full((len(some), 1), seen.append(len(some)), np.float32)]

    monkeypatch.setitem(engines.STARTS, "onnxruntime", watched)
    pixels = views(32, batch)
    engine = engines.on_cores("onnxruntime", frozen("test_resnet", pixels), pixels)
    assert len(engine(pixels)[0]) == batch and set(seen) == {size} and len(seen) == -(-batch // engines.AT_ONCE)


@pytest.mark.parametrize("error", [ValueError("first line\nsecond"), AssertionError()])
def test_whatever_stops_an_engine_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def stops(some: np.ndarray) -> list[np.ndarray]:
        raise error

    monkeypatch.setitem(engines.STARTS, "onnxruntime", lambda graph: stops)
    pixels = views(32)
    network, why = frozen("test_resnet", pixels), "first line" if error.args else "AssertionError"
    assert engine_for("auto", network, pixels).name.startswith("torch ")
    assert capsys.readouterr().err == f"thaw: PyTorch runs this backbone on the CPU, since onnxruntime cannot (it stops: {why})\n"
    with pytest.raises(InputError, match=rf"onnxruntime cannot run this backbone \(it stops: {why}\)"):
        engine_for("onnxruntime", network, pixels)


def test_padding_that_hangs_on_sizes_is_a_constant_in_the_graph() -> None:
    """Else ONNX Runtime leaves its own memory layout at every layer that has it, and takes half as long again."""
    pixels = views(96, 4)
    with torch.random.fork_rng():
        encoder = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    graph = engines.graph_of(Frozen(encoder, ordered_blocks(encoder), RECIPE, pixels), pixels)
    operations = {node.op_type for node in onnx.load_from_string(optimised(graph)).graph.node}
    assert "Conv" in operations and not operations & {"Pad", "Clip", "Shape", "BatchNormalization", "ReorderInput"}


def optimised(graph: bytes) -> bytes:
    """As ONNX Runtime runs it."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.optimized_model_filepath = 3, f"{folder}/graph.onnx"
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def test_gray_views_become_colour_in_the_graph() -> None:
    pixels = views(160, channels=1)
    network = frozen("test_resnet", pixels)
    runs = engine_for("auto", network, pixels)
    np.testing.assert_allclose(runs(pixels)[0], in_torch(network)(pixels).wait()[0], atol=1e-4)


class Halves(nn.Module):
    """Something that no graph can say: its result hangs on what it sees."""

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        values = pixels.float().flatten(1)
        return (torch.linalg.eigvals(values[:, :16].reshape(-1, 4, 4)).real,)


def test_a_network_that_cannot_be_written_down_is_run_by_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = views(8)
    runs = engine_for("auto", Halves(), pixels)
    assert runs.name.startswith("torch ") and runs(pixels)[0].shape == (5, 4)
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

    def wrong(graph: bytes) -> engines.Part:
        part = start(graph)  # not PyTorch's hooked network, which two threads must not run at once

        def perturbed(some: np.ndarray) -> list[np.ndarray]:
            return [output + np.float32(0.3 * output.std()) * np.sign(output) for output in part(some[::-1])]

        return perturbed

    start = engines.STARTS["onnxruntime"]
    monkeypatch.setitem(engines.STARTS, "onnxruntime", wrong)
    assert engine_for("auto", network, pixels).name.startswith("torch ")
    assert "its features and PyTorch's have a cosine of 0." in capsys.readouterr().err


@pytest.mark.skipif("openvino" in INSTALLED, reason="OpenVINO is installed")
def test_an_engine_that_is_not_there_is_one_line() -> None:
    pixels = views(160)
    with pytest.raises(InputError, match=r"openvino cannot run this backbone \(it is not installed: `pip install openvino`\)"):
        engine_for("openvino", frozen("test_resnet", pixels), pixels)


def test_cosines() -> None:
    a, b = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), np.array([[6.0, 8.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(cosines(a, b), [1, 1, 0, 0], atol=1e-6)
