"""torchvision's classification data sets by name, downloaded once, with the library's own checksums, into .thaw/downloads."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from thaw.errors import InputError, nearest
from thaw.index import Dataset
from thaw.reach import no_stall, unreachable
from thaw.sources import Fetched
from thaw.splits import TEST, TRAIN, VAL

DOWNLOADS = Path(".thaw/downloads")
TRIES, PAUSE = 3, 5.0
"""How often a download is tried, and seconds before the second time; twice as many before the third."""


@dataclass(frozen=True)
class Part:
    """``arguments``: of the data set's class, for the images of one split; "" where the set has none."""

    split: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """``server``: where torchvision takes it from; "" where it has to be fetched by hand, from ``page``."""

    parts: tuple[Part, ...]
    server: str
    page: str = ""


def _train(**others: Any) -> tuple[Part, ...]:
    return Part(TRAIN, {"train": True, **others}), Part(TEST, {"train": False, **others})


def _split(train: str = "train", val: str = "", test: str = "test", **others: Any) -> tuple[Part, ...]:
    parts = {TRAIN: train, VAL: val, TEST: test}
    return tuple(Part(split, {"split": name, **others}) for split, name in parts.items() if name)


WHOLE, ONLY_TRAIN = (Part(""),), (Part("", {"split": "train"}),)
KNOWN = {
    "CIFAR10": Known(_train(), "https://www.cs.toronto.edu"),
    "CIFAR100": Known(_train(), "https://www.cs.toronto.edu"),
    "MNIST": Known(_train(), "https://ossci-datasets.s3.amazonaws.com"),
    "FashionMNIST": Known(_train(), "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"),
    "KMNIST": Known(_train(), "http://codh.rois.ac.jp"),
    "QMNIST": Known(_train(), "https://raw.githubusercontent.com"),
    "EMNIST": Known(_train(split="balanced"), "https://biometrics.nist.gov"),
    "USPS": Known(_train(), "https://www.csie.ntu.edu.tw"),
    "SVHN": Known(_split(), "http://ufldl.stanford.edu"),
    "STL10": Known(_split(), "http://ai.stanford.edu"),
    "SEMEION": Known(WHOLE, "http://archive.ics.uci.edu"),
    "Caltech101": Known(WHOLE, "https://data.caltech.edu"),
    "Caltech256": Known(WHOLE, "https://data.caltech.edu"),
    "CLEVRClassification": Known(_split(test="val"), "https://dl.fbaipublicfiles.com"),
    "Country211": Known(_split(val="valid"), "https://openaipublic.azureedge.net"),
    "DTD": Known(_split(val="val"), "https://www.robots.ox.ac.uk"),
    "EuroSAT": Known(WHOLE, "https://huggingface.co"),
    "FGVCAircraft": Known(_split(val="val"), "https://www.robots.ox.ac.uk"),
    "FER2013": Known(ONLY_TRAIN, "", "https://www.kaggle.com/datasets (fer2013)"),
    "Flowers102": Known(_split(val="val"), "https://www.robots.ox.ac.uk"),
    "Food101": Known(_split(), "http://data.vision.ee.ethz.ch"),
    "GTSRB": Known(_split(), "https://sid.erda.dk"),
    "ImageNet": Known(_split(test="val"), "", "https://image-net.org"),
    "Imagenette": Known(_split(test="val"), "https://s3.amazonaws.com"),
    "Omniglot": Known(WHOLE, "https://raw.githubusercontent.com"),
    "OxfordIIITPet": Known(_split(train="trainval"), "https://www.robots.ox.ac.uk"),
    "PCAM": Known(_split(val="val"), "https://drive.google.com"),
    "Places365": Known(_split("train-standard", test="val", small=True), "http://data.csail.mit.edu"),
    "RenderedSST2": Known(_split(val="val"), "https://openaipublic.azureedge.net"),
    "StanfordCars": Known(_split(), "", "https://github.com/pytorch/vision/issues/7545"),
    "SUN397": Known(WHOLE, "http://vision.princeton.edu"),
}
"""Name -> the arguments that give its splits, and where it comes from."""


def fetch(raw: Path, name: str) -> Fetched:
    """Write the images as PNG below ``raw``, one after the other. Raises `InputError`."""
    if name not in KNOWN:
        raise InputError(f"data.name: torchvision has no classification set {name!r} here; {nearest(name, KNOWN)}")
    folder, rows, classes = DOWNLOADS / name, [], list[str]()
    for part in KNOWN[name].parts:
        images = open_set(name, part, folder)
        classes = _classes(images) or classes
        target = raw / (part.split or "images")
        target.mkdir(parents=True)
        for row in range(len(images)):
            image, label = images[row]
            image = image if image.mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16") else image.convert("RGB")
            image.save(target / f"{row:07d}.png", compress_level=1)
            rows.append((f"{target.name}/{row:07d}", int(label), part.split))
    table = pd.DataFrame(rows, columns=["id", "number", "split"])
    numbers = table["number"].tolist()
    classes = classes or [str(number) for number in range(max(numbers) + 1)]
    table = table.assign(
        path=table["id"] + ".png", label=[classes[number] for number in numbers], group=table["id"], domain="all", weight=1.0
    ).drop(columns="number")
    note = f"{name} comes by torchvision; its authors say what it may be used for."
    return Fetched(table, Dataset(name, classes, False, False, "image", [note]))


def _classes(images: Any) -> list[str]:
    """Names in the order of their numbers; where two are equal, as some sets have it, with their numbers. None where the set names none."""
    names = getattr(images, "classes", None) or getattr(images, "categories", None) or []
    names = [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names)]


def open_set(name: str, part: Part, folder: Path) -> Any:
    """The data set: from ``folder``, else downloaded to it. Raises `InputError` in seconds where it cannot be had."""
    known = KNOWN[name]
    if not (folder.is_dir() and any(folder.iterdir())):
        _check_reachable(name, known, folder)  # before the seconds that torchvision takes to be imported
    from torchvision import datasets

    make: Callable[..., Any] = getattr(datasets, name)
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(RuntimeError, OSError):  # not there, or not whole: then it is downloaded, or said
        return make(str(folder), **part.arguments, **({"download": False} if name == "SEMEION" else {}))
    _check_reachable(name, known, folder)
    return _download(name, known, folder, lambda: make(str(folder), **part.arguments, download=True))


def _download(name: str, known: Known, folder: Path, make: Callable[[], Any]) -> Any:
    """Tried again after a pause, since servers fail now and then; the library checks what came."""
    reason = ""
    for number in range(TRIES):
        try:
            with no_stall():
                return make()
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())
        if number < TRIES - 1:
            time.sleep(PAUSE * 2**number)
    raise InputError(f"data.source torchvision: {name} was not downloaded in {TRIES} tries ({reason}); {_by_hand(name, known, folder)}")


def _check_reachable(name: str, known: Known, folder: Path) -> None:
    if not known.server:
        raise InputError(f"data.source torchvision: {name} cannot be downloaded; {_by_hand(name, known, folder)}")
    if reason := unreachable(known.server):
        where = f"{name} is not in {folder}, and {known.server} cannot be reached ({reason})"
        raise InputError(f"data.source torchvision: {where}; {_by_hand(name, known, folder)}")


def _by_hand(name: str, known: Known, folder: Path) -> str:
    """How to do without the network, or without a download."""
    if not known.server:
        call = f"torchvision.datasets.{name}({str(folder)!r})"
        return f"fetch it from {known.page}, put it where {call} expects it, or choose another data.source"
    calls = "; ".join(f"D.{name}({', '.join([repr(str(folder)), *_said(part)])}, download=True)" for part in known.parts)
    command = f'python -c "import torchvision.datasets as D; {calls}"'
    return f"where there is a network, run `{command}` and copy {folder} here, or choose another data.source"


def _said(part: Part) -> list[str]:
    return [f"{key}={value!r}" for key, value in part.arguments.items()]
