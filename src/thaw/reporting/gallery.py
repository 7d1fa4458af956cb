"""The gallery as HTML: pictures inside the page, what they are beneath them. All names are data, so all are escaped."""

import base64
from itertools import accumulate
from pathlib import Path

from markupsafe import Markup

from thaw.measures import number
from thaw.reporting.blocks import Block, Folded, OnPage
from thaw.reporting.findings import Duplicates, Gallery, Mistake

FIRST = 9  # pictures that are shown without a click
ROOM = 1_150_000  # characters of errors, and as many of duplicates: the page stays one that opens at once
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def error_pictures(gallery: Gallery) -> list[Block]:
    """Every error with what the network looked at beside it."""
    return _folded("errors", [_error(error, gallery) for error in gallery.errors])


def duplicate_pictures(gallery: Gallery) -> list[Block]:
    return _folded("pairs", [_pair(pair, gallery.folder) for pair in gallery.duplicates])


def _folded(noun: str, cards: list[Markup]) -> list[Block]:
    """As many as there is `ROOM` for, the first `FIRST` of them without a click; for the page alone."""
    fitting = cards[: sum(size <= ROOM for size in accumulate(map(len, cards)))]
    first, others, left = fitting[:FIRST], fitting[FIRST:], len(cards) - len(fitting)
    shown: list[Block] = [OnPage(_grid(first))] if first else []
    shown += [Folded(f"{len(others):,} more {noun}", [OnPage(_grid(others))])] if others else []
    return shown + ([OnPage(Markup("<p>{:,} {} more lie in <code>data/gallery</code>.</p>").format(left, noun))] if left else [])


def _grid(cards: list[Markup]) -> Markup:
    return Markup('<div class="gallery">{}</div>').format(Markup("").join(cards))


def _error(error: Mistake, gallery: Gallery) -> Markup:
    looked = f"Where {gallery.explained or 'the network'} looked in {error.id}, by {gallery.method or 'class activation'}"
    pictures = picture(gallery.folder, error.image, f"{error.id}, {error.true} taken for {error.predicted}") + picture(
        gallery.folder, error.cam, looked
    )
    group = Markup(" · {}").format(error.group) if error.group else Markup("")
    return Markup(
        '<figure><div class="pair">{}</div><figcaption><strong>{}</strong> taken for <strong>{}</strong>, {}<br>'
        "<small>{} · fold {}{}</small></figcaption></figure>"
    ).format(pictures, error.true, error.predicted, number(error.probability, 2), error.id, error.fold, group)


def _pair(pair: Duplicates, folder: Path) -> Markup:
    pictures = picture(folder, pair.image_a, f"{pair.a}, {pair.label_a}") + picture(folder, pair.image_b, f"{pair.b}, {pair.label_b}")
    labels = pair.label_a if pair.label_a == pair.label_b else f"{pair.label_a} and {pair.label_b}"
    folds = _folds(pair.fold_a, pair.fold_b)
    return Markup(
        '<figure><div class="pair">{}</div><figcaption><strong>{}</strong>, {}<br>'
        "<small>{} and {} · hash distance {:g} · cosine {}</small></figcaption></figure>"
    ).format(pictures, labels, folds, pair.a, pair.b, pair.hash_distance, number(pair.cosine))


def _folds(a: int, b: int) -> str:
    """Where the images are tested; an image that the data come with for training is in no fold."""
    if a == b:
        return f"fold {a}" if a >= 0 else "both learnt from"
    return f"folds {a} and {b}" if min(a, b) >= 0 else "one learnt from, one tested"


def picture(folder: Path, name: str, alt: str) -> Markup:
    """An image inside the page; nothing where there is no such PNG."""
    data = _bytes(folder, name)
    if not data:
        return Markup("")
    return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(base64.b64encode(data).decode("ascii"), alt)


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if not name or not path.is_file():
        return b""
    data = path.read_bytes()
    return data if data.startswith(SIGNATURE) else b""
