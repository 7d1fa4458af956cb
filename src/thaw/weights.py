"""Names of weights as params.yaml has them: whose they are, of which network, or none at all."""

import re
from dataclasses import dataclass
from typing import Literal

from thaw.errors import InputError, nearest

Source = Literal["packaged", "timm", "torchvision", "file"]
PACKAGED = ("lite0", "lite1", "lite2")
FORMS = "lite0, lite1, lite2, timm/<name.tag>, torchvision/<name>[:<weights>] or file:<path>, each also with :random at its end"


@dataclass(frozen=True)
class Weights:
    """``name``: ``lite0``; timm's ``resnet18.a1_in1k``; torchvision's ``resnet18``; the path of a file."""

    source: Source
    name: str
    tag: str = ""  # which of torchvision's weights; empty: its default
    random: bool = False  # the network without its weights, as its library initialises it: a control


def parse_weights(text: str) -> Weights:
    """Raises `InputError` where ``text`` has none of the forms above."""
    name, colon, last = text.rpartition(":")
    random = bool(colon) and last == "random"
    name = name if random else text
    if name in PACKAGED:
        return Weights("packaged", name, random=random)
    if found := re.fullmatch(r"timm/([\w.-]+)", name):
        return Weights("timm", found[1], random=random)
    if found := re.fullmatch(r"torchvision/(\w+)(?::(\w+))?", name):
        return Weights("torchvision", found[1], found[2] or "", random)
    if found := re.fullmatch(r"file:(.+)", name):
        return Weights("file", found[1], random=random)
    hint = "" if "/" in text or ":" in text else f"; {nearest(text, PACKAGED)}"
    raise InputError(f"{text!r} is not {FORMS}{hint}")
