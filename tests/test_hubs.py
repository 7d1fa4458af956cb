"""Weights from hubs: what is kept here is used; a hub that is away is one line within seconds. The network itself is not asked."""

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file

from thaw import hubs
from thaw.backbones import build_backbone
from thaw.errors import InputError
from thaw.files import sha256_of_file

NAME = "resnet18.a1_in1k"
URL = "https://download.pytorch.org/models/network-{digits}.pth"


@pytest.fixture(autouse=True)
def own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)


def refused(host: str, port: int) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def hub_that_keeps(monkeypatch: pytest.MonkeyPatch, here: dict[str, Path], there: dict[str, Path]) -> list[tuple[str, bool]]:
    """Stand-in for the download of a file: ``here`` is on this machine, ``there`` on the hub. Returns the list of what is asked for."""
    asked = []

    def download(repo: str, file: str, local_files_only: bool = False, **_: Any) -> str:
        asked.append((file, local_files_only))
        if local_files_only and file not in here:
            raise LocalEntryNotFoundError(file)
        if not local_files_only and file not in there:
            raise EntryNotFoundError(file)
        return str((here if local_files_only else there)[file])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return asked


def config() -> Any:
    return timm.get_pretrained_cfg(NAME)


# ---- what is there


def test_a_kept_file_of_timms_is_used_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "_connect", refused)
    network = timm.create_model("resnet18", pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = hub_that_keeps(monkeypatch, {"model.safetensors": tmp_path / "model.safetensors"}, {})
    backbone = build_backbone(f"timm/{NAME}", 64)
    assert asked == [("model.safetensors", True)]
    assert backbone.weights_sha256 == sha256_of_file(tmp_path / "model.safetensors")
    assert torch.equal(backbone.encoder.state_dict()["conv1.weight"], network.state_dict()["conv1.weight"])


def test_older_files_are_asked_for_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "_connect", lambda host, port: None)
    asked = hub_that_keeps(monkeypatch, {}, {"pytorch_model.bin": tmp_path / "old.bin"})
    assert hubs.timm_file(NAME, config()) == tmp_path / "old.bin"
    assert asked[-2:] == [("model.safetensors", False), ("pytorch_model.bin", False)]


def test_a_download_is_whole_and_checked_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Served from a file: the eight digits in the name are those of the content's hash."""
    monkeypatch.setattr(hubs, "_connect", lambda host, port: None)
    content = b"weights"
    good = tmp_path / f"network-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    bad = tmp_path / "network-00000000.pth"
    for file in (good, bad):
        file.write_bytes(content)
    assert hubs.torchvision_file("x", good.as_uri()).read_bytes() == content
    with pytest.raises(InputError, match="invalid hash value"):
        hubs.torchvision_file("x", bad.as_uri())
    assert [path.name for path in (tmp_path / "torch/hub/checkpoints").iterdir()] == [good.name]


# ---- what is not


@pytest.mark.parametrize("weights", [f"timm/{NAME}", "torchvision/resnet18"])
def test_a_hub_that_is_away_is_one_line_with_the_offline_choices(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "_connect", refused)
    hub_that_keeps(monkeypatch, {}, {})
    with pytest.raises(InputError, match=rf"^backbones: the weights of {weights} are not on this machine, and \S+ cannot be had") as caught:
        build_backbone(weights, 64)
    assert "Connection refused" in str(caught.value) and hubs.OFFLINE in str(caught.value) and "\n" not in str(caught.value)


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "PATIENCE", 0.2)
    monkeypatch.setattr(hubs, "_connect", lambda host, port: time.sleep(30))
    start = time.monotonic()
    with pytest.raises(InputError, match=r"huggingface.co cannot be had \(no answer\)"):
        hubs.check_reachable("timm/x", "https://huggingface.co")
    assert time.monotonic() - start < 10


def test_behind_a_proxy_the_download_itself_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "_connect", refused)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    hubs.check_reachable("timm/x", "https://huggingface.co")


def test_weights_that_nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nobody publishes weights of timm/test"):
        hubs.timm_file("test", type("Config", (), {"hf_hub_id": None, "url": "", "hf_hub_filename": None}))
