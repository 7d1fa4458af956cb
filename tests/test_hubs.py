"""Weights from hubs: what is kept here is used; a hub that is away is one line within seconds. The network itself is not asked."""

import hashlib
from pathlib import Path
from typing import Any

import httpx2
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


def refused(url: str) -> str:
    return "connection refused"


def answers(url: str) -> str:
    return ""


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
    monkeypatch.setattr(hubs, "unreachable", refused)
    network = timm.create_model("resnet18", pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = hub_that_keeps(monkeypatch, {"model.safetensors": tmp_path / "model.safetensors"}, {})
    backbone = build_backbone(f"timm/{NAME}", 64)
    assert asked == [("model.safetensors", True)]
    assert backbone.weights_sha256 == sha256_of_file(tmp_path / "model.safetensors")
    assert torch.equal(backbone.encoder.state_dict()["conv1.weight"], network.state_dict()["conv1.weight"])


def test_older_files_are_asked_for_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "unreachable", answers)
    asked = hub_that_keeps(monkeypatch, {}, {"pytorch_model.bin": tmp_path / "old.bin"})
    assert hubs.timm_file(NAME, config()) == tmp_path / "old.bin"
    assert asked[-2:] == [("model.safetensors", False), ("pytorch_model.bin", False)]


def test_a_download_is_whole_and_checked_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Served from a file: the eight digits in the name are those of the content's hash."""
    monkeypatch.setattr(hubs, "unreachable", answers)
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
    monkeypatch.setattr(hubs, "unreachable", refused)
    hub_that_keeps(monkeypatch, {}, {})
    with pytest.raises(InputError, match=rf"^backbones: the weights of {weights} are not on this machine, and \S+ cannot be had") as caught:
        build_backbone(weights, 64)
    assert "connection refused" in str(caught.value) and hubs.OFFLINE in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("no connection"), httpx2.ReadTimeout("timed out"), OSError("reset")])
def test_a_hub_that_goes_away_in_the_middle_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "unreachable", answers)

    def download(repo: str, file: str, local_files_only: bool = False, **_: Any) -> str:
        raise LocalEntryNotFoundError(file) if local_files_only else error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(InputError, match=r"cannot be had \((no connection|timed out|reset)\); offline there are"):
        hubs.timm_file(NAME, config())


def test_a_mistake_of_ours_is_no_hub_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "unreachable", answers)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        hubs.timm_file(NAME, config())


def test_offline_by_wish_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_that_keeps(monkeypatch, {}, {})
    with pytest.raises(InputError, match=r"cannot be had \(HF_HUB_OFFLINE is set\)"):
        hubs.timm_file(NAME, config())


def test_weights_that_nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nobody publishes weights of timm/test"):
        hubs.timm_file("test", type("Config", (), {"hf_hub_id": None, "url": "", "hf_hub_filename": None}))
