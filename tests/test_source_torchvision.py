"""`data.source: torchvision` and `fashion_mnist`: the table of sets, files that are there, and a network that is away."""

import gzip
import inspect
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from test_sources import data
from torchvision import datasets

from thaw.errors import InputError
from thaw.images import decode_square
from thaw.sources import fashion_mnist, fetch_source, torchvision


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def idx(folder: Path, name: str, images: np.ndarray, labels: list[int], packed: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write = (
        (lambda file, content: (folder / f"{file}.gz").write_bytes(gzip.compress(content)))
        if packed
        else (lambda file, content: (folder / file).write_bytes(content))
    )
    write(f"{name}-images-idx3-ubyte", struct.pack(">IIII", 2051, *images.shape) + images.tobytes())
    write(f"{name}-labels-idx1-ubyte", struct.pack(">II", 2049, len(labels)) + bytes(labels))


def clothes(folder: Path, packed: bool) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    idx(folder, "train", images[:8], [0, 1, 2, 3, 9, 8, 7, 6], packed)
    idx(folder, "t10k", images[8:], [0, 1, 9, 5], packed)
    return images


@pytest.mark.parametrize("name", torchvision.KNOWN)
def test_every_set_is_one_of_torchvisions_and_takes_its_arguments(name: str) -> None:
    kind, known = getattr(datasets, name), torchvision.KNOWN[name]
    source = inspect.getsource(sys.modules[kind.__module__])
    for part in known.parts:
        inspect.signature(kind).bind("root", **part.arguments)
        split = part.arguments.get("split")
        assert split is None or f'"{split}"' in source or f"'{split}'" in source
    assert known.server == "" or known.server in source or "drive.google.com" in known.server
    assert bool(known.server) != bool(known.page)
    takes = inspect.getsource(kind.__init__) if "kwargs" in str(inspect.signature(kind)) else str(inspect.signature(kind))
    assert not known.server or "download" in takes or "**kwargs" in takes


@pytest.mark.parametrize("debian", [True, False])
def test_fashion_mnist_from_debians_files_else_from_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debian: bool) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    folder = tmp_path / "debian" if debian else tmp_path / ".thaw/downloads/FashionMNIST/FashionMNIST/raw"
    images = clothes(folder, debian)
    fetched = fetch_source(data("fashion_mnist"), tmp_path / "raw")
    table = fetched.table
    assert fetched.dataset.classes == fashion_mnist.CLASSES and fetched.dataset.classes[9] == "Ankle boot"
    assert table["split"].tolist() == ["train"] * 8 + ["test"] * 4
    assert table["label"].tolist()[:5] == ["T-shirt/top", "Trouser", "Pullover", "Dress", "Ankle boot"]
    assert table["id"].is_unique and set(table["domain"]) == {"all"}
    for row, path in enumerate(table["path"]):
        np.testing.assert_array_equal(decode_square(tmp_path / "raw" / path, 28, 1)[..., 0], images[row])


def test_debians_files_that_are_not_what_they_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    images = clothes(tmp_path / "debian", True)
    idx(tmp_path / "debian", "t10k", images[8:], [0, 1, 9], True)
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz has 4 images, and there are 3 labels; install the package again"):
        fashion_mnist.fetch(tmp_path / "raw")
    (tmp_path / "debian/train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\0" * 20))
    with pytest.raises(InputError, match=r"is not what it should be \(begins with 0\)"):
        fashion_mnist.fetch(tmp_path / "raw2")


class Stub:
    """A set of four images with the interface of torchvision's."""

    classes = ("a", "b", "b")
    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        self.made.append({"root": root, "train": train, "download": download})
        if not download:
            raise RuntimeError("Dataset not found")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.new("CMYK" if row == 3 else "RGB", (5, 5)), row % 3


def test_what_is_not_there_is_downloaded_and_a_failure_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [ConnectionResetError("reset"), RuntimeError("File not found or corrupted."), None, None]

    class Flaky(Stub):
        made: ClassVar[list[dict[str, Any]]] = []

        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            super().__init__(root, train, download)
            if (error := failures.pop(0)) is not None:
                raise error

    monkeypatch.setattr(datasets, "CIFAR10", Flaky)
    monkeypatch.setattr(torchvision, "unreachable", lambda server: "")
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    fetched = torchvision.fetch(tmp_path / "raw", "CIFAR10")
    assert waited == [5.0, 10.0] and [each["download"] for each in Flaky.made] == [False, True, True, True, False, True]
    assert {each["root"] for each in Flaky.made} == {".thaw/downloads/CIFAR10"}
    assert fetched.dataset.classes == ["a", "b (1)", "b (2)"]  # two classes of one name stay two
    assert fetched.table["label"].tolist() == ["a", "b (1)", "b (2)", "a"] * 2
    assert fetched.table["split"].tolist() == ["train"] * 4 + ["test"] * 4
    with Image.open(tmp_path / "raw" / fetched.table["path"].tolist()[3]) as written:
        assert written.mode == "RGB"
    assert socket.getdefaulttimeout() is None


def test_a_download_that_keeps_failing_says_how_to_do_it_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Stub):
        made: ClassVar[list[dict[str, Any]]] = []

        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(datasets, "CIFAR10", Broken)
    monkeypatch.setattr(torchvision, "unreachable", lambda server: "")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(
        InputError, match=r"CIFAR10 was not downloaded in 3 tries \(File not found or corrupted\.\); where there is a network, run"
    ):
        torchvision.fetch(tmp_path / "raw", "CIFAR10")


@pytest.mark.parametrize("away", ["refused", "hangs", "no name"])
def test_without_a_network_one_line_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: str) -> None:
    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        assert address == ("www.cs.toronto.edu", 443)
        if away == "hangs":
            time.sleep(60)  # as looking up a name may
        raise ConnectionRefusedError(111, "Connection refused") if away == "refused" else socket.gaierror(-3, "Temporary failure")

    monkeypatch.setattr(socket, "create_connection", connect)
    (tmp_path / ".thaw/downloads/CIFAR10").mkdir(parents=True)  # as a download that did not begin leaves it
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        fetch_source(data("torchvision", name="CIFAR10"), tmp_path / "raw")
    assert time.perf_counter() - start < 30
    said = str(caught.value)
    assert said.startswith(
        "data.source torchvision: CIFAR10 is not in .thaw/downloads/CIFAR10, and https://www.cs.toronto.edu cannot be reached ("
    )
    assert "D.CIFAR10('.thaw/downloads/CIFAR10', train=True, download=True)" in said and said.endswith("or choose another data.source")
    assert "\n" not in said


def test_a_set_that_has_to_be_fetched_by_hand(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"FER2013 cannot be downloaded; fetch it from https://\S+ .*put it where torchvision\.datasets\.FER2013"
    ):
        torchvision.fetch(tmp_path / "raw", "FER2013")


def test_an_unknown_name_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.name: torchvision has no classification set 'CIFAR01' here; did you mean 'CIFAR1\d*'"):
        torchvision.fetch(tmp_path / "raw", "CIFAR01")
