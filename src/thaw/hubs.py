"""Files of weights from timm's and torchvision's hubs, kept where those libraries keep them. A hub that is away is told at once."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thaw.errors import InputError
from thaw.reach import REACH, no_stall, unreachable

OFFLINE = "offline there are lite0, lite1, lite2, file:<path>, and :random after any name"


def timm_file(name: str, cfg: Any) -> Path:
    """The file that timm's ``pretrained_cfg`` of ``name`` points to. Raises `InputError`."""
    if cfg.hf_hub_id:
        return _from_huggingface(f"timm/{name}", cfg.hf_hub_id, cfg.hf_hub_filename)
    if cfg.url:
        return torchvision_file(f"timm/{name}", cfg.url)
    raise InputError(f"backbones: nobody publishes weights of timm/{name}; name some, as timm/{name}.<tag>, or {OFFLINE}")


def torchvision_file(name: str, url: str) -> Path:
    """What lies at ``url``, below PyTorch's hub folder; the eight digits in its name are those of its hash. Raises `InputError`."""
    import torch

    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    if file.is_file():
        return file
    check_reachable(name, url)
    file.parent.mkdir(parents=True, exist_ok=True)
    digits = torch.hub.HASH_REGEX.search(file.name)
    try:
        with no_stall():
            torch.hub.download_url_to_file(url, str(file), digits[1] if digits else None)  # renamed when it is whole
    except (OSError, RuntimeError) as error:
        raise away(name, urlsplit(url).netloc, str(error)) from error
    return file


def _from_huggingface(name: str, repo: str, filename: str | None) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    wanted = [filename] if filename else ["model.safetensors", "pytorch_model.bin"]
    for file in wanted:
        try:
            return Path(hf_hub_download(repo, file, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    if constants.HF_HUB_OFFLINE:
        raise away(name, constants.ENDPOINT, "HF_HUB_OFFLINE is set")
    check_reachable(name, constants.ENDPOINT)
    for file in wanted:
        try:
            return Path(hf_hub_download(repo, file, etag_timeout=REACH))
        except Exception as error:
            if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
                continue
            if not _is_the_hubs(error):
                raise
            raise away(name, constants.ENDPOINT, " ".join(str(error).split())) from error
    raise InputError(f"backbones: {repo} has none of {', '.join(wanted)}; choose another tag, or {OFFLINE}")


def _is_the_hubs(error: Exception) -> bool:
    """Whether it was not to be had, rather than a mistake here. The client's own errors (httpx's) are no `OSError`."""
    from huggingface_hub.errors import HfHubHTTPError

    return isinstance(error, OSError | HfHubHTTPError) or type(error).__module__.startswith("httpx")


def check_reachable(name: str, url: str) -> None:
    """Raises `InputError` if the host of ``url`` does not answer soon."""
    if reason := unreachable(url):
        raise away(name, urlsplit(url).hostname or url, reason)


def away(name: str, host: str, reason: str) -> InputError:
    return InputError(f"backbones: the weights of {name} are not on this machine, and {host} cannot be had ({reason}); {OFFLINE}")
