"""A survey of images -> dials of params.yaml, each with the reason why."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thaw.errors import InputError
from thaw.folding import make_splits
from thaw.grouping import group_names
from thaw.survey import Survey

FOLDS = (4, 3, 2)
"""Tried in this order: more folds leave more to train on and cost more."""
WORDS = (
    *("patient", "subject", "person", "participant", "donor", "case", "animal", "specimen", "module", "slide", "plate", "scene", "video"),
    *("clip", "session", "visit", "site", "well", "tile", "batch"),
)
"""What images of one thing are called after, where a number follows; the first that a name has is the widest."""
LITE0_CROP = 0.875
"""Share of the resized side that the default backbone's centre crop keeps."""
SMALLEST, USUAL, NATIVE = 32, 96, 224
"""px: below the first lite0 sees next to nothing; the second is what fine-tuning on a CPU can afford; the third is its own."""
RAW = 24
"""px at which the raw-pixel control looks."""
NATIVE_FROM = 128
"""px of the median shorter side from which the backbone's own size is worth its time."""
NATIVE_TO = 10_000
"""Images up to which it is."""


@dataclass(frozen=True)
class Suggestions:
    """``dials``: path in params.yaml -> value. ``notes``: path -> comment above it. ``said``: what to print, a line each."""

    dials: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __add__(self, other: "Suggestions") -> "Suggestions":
        return Suggestions(self.dials | other.dials, self.notes | other.notes, self.said + other.said)


@dataclass(frozen=True)
class Grouping:
    """A way to tell from a path what must stay whole."""

    pattern: str  # for data.group
    kind: str  # for people
    least: float  # images of a group, on average
    may_span: bool  # whether one group may have images of several classes


def suggest(found: Survey, path: str, backbones: Mapping[str, Mapping[str, Any]]) -> Suggestions:
    """``path``: how params.yaml names the survey's root; ``backbones``: those of params.yaml. Raises `InputError` where no split fits."""
    grouped = suggest_groups(found)
    split = suggest_split(found, bool(found.groups or grouped.dials["data.group"]), groups_of(found, grouped.dials["data.group"]))
    where = Suggestions({"data.source": found.source, "data.path": path, "data.table": found.table})
    measured = Suggestions({"evaluate.primary": "roc_auc"})  # of two classes, and one-vs-rest of more
    return where + measured + grouped + split + suggest_sizes(found, backbones) + suggest_views(found)


def groupings(found: Survey) -> list[Grouping]:
    """What the names might say, the most telling first. Folders of the split and of the class are no groups."""
    above = r"[^/]+/" * ((1 if found.splits else 0) + 1) if found.source == "folder" else ""
    by_word = [Grouping(rf"(?i)(?<![a-z])(?P<group>{word}[-_ ]?\d+)", f"{word} and a number", 1.0, True) for word in WORDS]
    return [
        *by_word,
        Grouping(rf"^{above}(?P<group>.*[^/\d].*)/[^/]+$", "the folder below the class", 1.0, True),
        Grouping(rf"^(?P<group>{above}.+)/[^/]+$", "the numbered folder below the class", 1.0, False),
        Grouping(r"(?P<group>[^/]*[^/\d_. -])[-_. ]*\d+\.[^./]+$", "what stands before the last number", 2.0, False),
        Grouping(r"(?P<group>[^/]*\d+)[-_. ]+\d+\.[^./]+$", "the number before the last number", 2.0, False),
    ]


def suggest_groups(found: Survey) -> Suggestions:
    """data.group. A table's own column wins; then the first of `groupings` that `why_not` has nothing against."""
    none = {"data.group": ""}
    if found.groups:
        many = len(set(found.groups))
        return Suggestions(
            none, {"data.group": "thaw init: the table's column group is used"}, [f"groups: {many:,}, of the table's column group"]
        )
    refused = []
    for grouping in [] if found.source == "parquet" else groupings(found):
        groups = matched(grouping.pattern, found.paths)
        reason = "" if groups is None else why_not(grouping, groups, found)
        if groups is not None and not reason:
            return _proposed(grouping, groups)
        if groups is not None and "torn" in reason:
            refused.append(f"groups: none used; {reason}")
    note = "thaw init: no group was found in the names; if images belong together (a patient, an object, a session), say how to tell"
    return Suggestions(
        none, {"data.group": note}, refused[:1] or ["groups: none found in the names; data.group in params.yaml can name them"]
    )


def _proposed(grouping: Grouping, groups: list[str]) -> Suggestions:
    many, example = len(set(groups)), groups[0]
    mean = len(groups) / many
    why = f"thaw init: {grouping.kind} makes {many:,} groups of {mean:.1f} images on average, such as {example!r}; kept whole by the split."
    said = f'groups: {many:,} by {grouping.kind}, such as {example!r}; not so? set data.group: "" and split.method: stratified'
    off = 'Images of a group are alike, so tearing one flatters every figure. Not groups? Set "" here and split.method: stratified.'
    return Suggestions({"data.group": grouping.pattern}, {"data.group": f"{why}\n{off}"}, [said])


def matched(pattern: str, paths: list[str]) -> list[str] | None:
    """The group of every path; None where one has none."""
    try:
        return group_names(paths, pattern, "")
    except InputError:
        return None


def why_not(grouping: Grouping, groups: list[str], found: Survey) -> str:
    """What speaks against a grouping; "" if nothing does."""
    counts = Counter(groups)
    if len(counts) < 2 * FOLDS[-1]:
        return f"{len(counts)} groups cannot fill {FOLDS[-1]} folds"
    if min(Counter(label for label, _ in set(zip(found.labels, groups, strict=True))).values()) < 2:
        return "a class is one group"
    if len(groups) / len(counts) <= grouping.least:
        return "most groups are single images"
    if not grouping.may_span and spans(groups, found.labels):
        return "a group has images of several classes: numbers that begin anew in each class are no groups"
    if found.splits and (torn := spans(groups, found.splits)):
        return f"{torn} of {len(counts)} groups ({grouping.kind}) are torn by the given split, so its test figures flatter"
    if not found.splits and feasible(found.labels, groups, "grouped") is None:
        return "groups are too few or too large for two folds"
    return ""


def spans(groups: list[str], names: list[str]) -> int:
    """How many groups have more than one of ``names``."""
    seen = defaultdict(set)
    for group, name in zip(groups, names, strict=True):
        seen[group].add(name)
    return sum(len(each) > 1 for each in seen.values())


def groups_of(found: Survey, pattern: str) -> list[str]:
    return found.groups or (matched(pattern, found.paths) if pattern else None) or found.paths


def suggest_split(found: Survey, grouped: bool, groups: list[str]) -> Suggestions:
    """split.method and split.folds. Raises `InputError` where the classes are too small for two folds."""
    if found.splits:
        counts = Counter(found.splits)
        if not (counts["train"] and (counts["val"] or counts["test"])):
            missing = "val or test" if counts["train"] else "train"
            raise InputError(f"init: the split that the images come with has no {missing} images; it needs train, and val or test")
        listed = ", ".join(f"{name} {counts[name]:,}" for name in ("train", "val", "test") if counts[name])
        note = "thaw init: the split that the images come with; grouped or stratified, with folds such as [0, 1, 2, 3], would make one"
        return Suggestions({"split.method": "given", "split.folds": [0]}, {"split.method": note}, [f"split: as given ({listed})"])
    method = "grouped" if grouped else "stratified"
    fits = feasible(found.labels, groups, method)
    if fits is None:
        name, count = min(found.classes.items(), key=lambda item: item[1])
        rarest = f"the rarest class, {name!r}, has {count} images"
        raise InputError(
            f"init: cannot split into two folds: {rarest}{', in too few groups' if grouped else ''}; add images or leave the class out"
        )
    folds, validation = fits
    dials: dict[str, Any] = {"split.method": method, "split.folds": list(range(folds)), "split.validation": validation}
    rare = min(found.classes.values())
    note = f"thaw init: {folds} folds, as many of {FOLDS[0]} as can be filled; the rarest class has {rare:,} images"
    return Suggestions(dials, {"split.folds": note}, [f"split: {folds} folds, {method}; the rarest class has {rare:,} images"])


def feasible(labels: list[str], groups: list[str], method: str) -> tuple[int, float] | None:
    """(folds, share for validation): the first that the data can fill, by making the split; None where even two are too many."""
    numbers, ids = np.unique(labels, return_inverse=True)[1].astype(np.int64), [str(row) for row in range(len(labels))]
    for folds, validation in [*((folds, 0.2) for folds in FOLDS), (FOLDS[-1], 0.5)]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # scikit-learn's of small classes; `make_splits` looks at what comes of it
                make_splits(numbers, np.array(groups), ids, method, folds, validation, 0)
            return folds, validation
        except (InputError, ValueError):  # scikit-learn's: fewer members than parts
            continue
    return None


def suggest_sizes(found: Survey, backbones: Mapping[str, Mapping[str, Any]]) -> Suggestions:
    """Sizes of what is kept and of what networks see, from the median shorter side."""
    side, many = found.sizes.side, len(found.labels)
    size = min(USUAL, max(SMALLEST, -(-side // 16) * 16))
    native = side >= NATIVE_FROM and many <= NATIVE_TO and "lite0_native" in backbones
    needed = int((NATIVE if native else size) / LITE0_CROP)
    kept = min(1024, max(8, side if side <= 1.25 * needed else needed))
    dials: dict[str, Any] = {
        "heads.raw_pixels_side": min(RAW, kept),
        "prepare.max_side": kept,
        "features.backbones": ["lite0", "lite0_native"] if native else ["lite0"],
    }
    own = [name for name, each in backbones.items() if name == "lite0" or (each.get("weights") == "lite0" and each.get("mismatch"))]
    dials |= {f"backbones.{name}.image_size": size for name in own}
    why = f"thaw init: the median image is {found.sizes.width} x {found.sizes.height} px"
    notes = {"prepare.max_side": f"{why}; {'its own size' if kept == side else 'what the networks below need'}"}
    notes["backbones.lite0.image_size"] = f"{why}; more px see more and cost more, about with the square"
    if not native:
        reason = f"images are under {NATIVE_FROM} px" if side < NATIVE_FROM else f"{many:,} images at {NATIVE} px take long"
        notes["features.backbones"] = f"thaw init: without lite0_native: {reason}"
    also = f", and lite0_native at {NATIVE} px for frozen features" if native else ""
    return Suggestions(dials, notes, [f"networks: lite0 at {size} px{also}; images are kept at {kept} px"])


def suggest_views(found: Survey) -> Suggestions:
    """finetune.augment: a photograph may be mirrored; of gray and of tiny images nobody here knows."""
    natural = found.sizes.colour and found.sizes.side >= 64
    if natural:
        note = "thaw init: colour photographs may be mirrored; add vflip or dihedral if up and down mean nothing, [] if left and right do"
        return Suggestions({"finetune.augment": ["hflip"]}, {"finetune.augment": note}, ["augmentation: hflip"])
    note = "thaw init: images are gray or small, where a mirror image may be another thing; add hflip or dihedral if it is not"
    said = "augmentation: none, since images are gray or small; finetune.augment: [hflip] if a mirror image means the same"
    return Suggestions({"finetune.augment": []}, {"finetune.augment": note}, [said])
