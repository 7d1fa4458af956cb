"""What the audit's numbers mean, in plain sentences: what was found, how bad it is, and what to do about it."""

from dataclasses import dataclass
from typing import Any, Literal

from thaw.hashing import BITS

Level = Literal["clean", "caution", "leak"]
LEVELS: tuple[Level, ...] = ("clean", "caution", "leak")
FAR = 0.65
"""AUC of a predictor without pictures from which on it matters."""
GIVEN_AWAY = 0.9
"""... from which on the size of the files does too much to be told by what they show."""
FEW = 0.01
"""Share of the images below which near-identical ones across folds move no figure much."""


@dataclass(frozen=True)
class Concern:
    level: Level
    sentence: str


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    """``level`` (the worst concern's) and ``sentences`` (concerns, the worst first, each with what to do)."""
    concerns = [*_copies(found), *_joined(found), *_conflicts(found), *_torn(found), *_metadata(found)]
    if not concerns:
        return {"level": LEVELS[0], "sentences": [CLEAN]}
    concerns.sort(key=lambda concern: -LEVELS.index(concern.level))
    return {"level": concerns[0].level, "sentences": [concern.sentence for concern in concerns]}


CLEAN = (
    "Nothing leaks that the audit can see: no copies on both sides of the split, no torn group, and nothing but the pictures tells labels."
)


def _copies(found: dict[str, Any]) -> list[Concern]:
    near, equal = found["near_duplicates"], found["exact_duplicates"]["same_pixels"]["across_folds"]
    across = max(near["across_folds"], equal)
    if not across:
        return []
    among = "" if not equal else " (the same pixel for pixel)" if equal >= across else f" ({equal} of them the same pixel for pixel)"
    many = near["images_across_folds"] >= FEW * found["images"]
    return [
        Concern(
            "leak" if equal or many else "caution",
            f"{_counted(across, 'pair')} of near-identical images{among} {'lies' if across == 1 else 'lie'} on both sides of the split: "
            "the model has seen what it is tested on. Give the images of each pair one group, or keep one of them.",
        )
    ]


def _joined(found: dict[str, Any]) -> list[Concern]:
    joined = found["near_duplicates"]["joined_groups"][:3]
    if not joined:
        return []
    names = ", ".join(f"{each['a']} with {each['b']} ({_counted(each['pairs'], 'pair')})" for each in joined)
    return [Concern("caution", f"Near-identical images join {names}: two groups that are one thing need one name, or a split may tear it.")]


def _conflicts(found: dict[str, Any]) -> list[Concern]:
    n = found["near_duplicates"]["conflicting_labels"]
    if not n:
        return []
    return [
        Concern(
            "caution",
            f"Two labels in {_counted(n, 'pair')} of near-identical images: one is wrong, or they differ in just what it is about.",
        )
    ]


def _torn(found: dict[str, Any]) -> list[Concern]:
    torn, gap, name = found["groups_torn"], found["split_gap"], found["group_name"]
    if not torn:
        return []
    sentence = f"{torn} of {found['groups']} groups ({name}) are torn between training, validation and test"
    if found["method"] not in ("stratified", "given"):
        return [Concern("leak", f"{sentence}, although the split is to keep them whole: make data/splits.csv again (`dvc repro split`).")]
    if gap is None:
        return [Concern("caution", f"{sentence}: results may look better than they are; use split.method: grouped.")]
    if gap["lo"] is not None and gap["lo"] > 0:
        points = f"{gap['points']:.1f} points of AUC [{gap['lo']:.1f}, {gap['hi']:.1f}] of a linear probe are owed to that"
        return [Concern("leak", f"{sentence}, and {points}; use split.method: grouped.")]
    return [Concern("caution", f"{sentence}; a linear probe does not show that it gains by it, but use split.method: grouped to be sure.")]


def _metadata(found: dict[str, Any]) -> list[Concern]:
    telling = {name: each["auc"] for name, each in found["metadata"].items() if _tells(each)}
    if len(telling) > 1:  # what tells labels alone says more
        telling.pop("together", None)
    return [_told_by(name, auc, found["sorted_by_class"]) for name, auc in telling.items()]


def _tells(each: dict[str, float | None]) -> bool:
    auc, lo = each["auc"], each["lo"]
    return auc is not None and lo is not None and auc >= FAR and lo > 0.5


def _told_by(name: str, auc: float, by_class: bool) -> Concern:
    level, subject, remedy = TELLING[name]
    if name == "position" and by_class:
        level, remedy = "caution", SORTED
    if name == "file_size" and auc >= GIVEN_AWAY:
        level = "leak"
    return Concern(level, f"Labels can be told from {subject}, with an AUC of {auc:.2f}: {remedy}")


TELLING: dict[str, tuple[Level, str, str]] = {
    "position": (
        "leak",
        "the position in the file alone",
        "neighbours in the file are alike, and part of every result is that; "
        "name what they share (module, patient, session) as groups and use split.method: grouped.",
    ),
    "file_size": (
        "caution",
        "the size of the files alone",
        "classes may have been saved or compressed differently (then save all alike and audit again), or their pictures hold more detail.",
    ),
    "dimensions": (
        "leak",
        "the dimensions of the images alone",
        "classes come from different sources; crop or resize all images alike before they are used.",
    ),
    "brightness": (
        "caution",
        "mean brightness and contrast alone",
        "if light is not what the label is about, classes were exposed differently; normalise it, or judge results against this figure.",
    ),
    "together": (
        "caution",
        "position, file size, dimensions and brightness together",
        "none of them does alone; find out how the classes were recorded.",
    ),
}
"""Predictor -> how bad it is that it tells labels, what it sees, what to do."""
SORTED = "it is sorted by class; if images were taken in series, name the series as groups, or order the file by time and audit again."


# ---- what was found, good news too


def in_words(found: dict[str, Any], grouped: bool) -> list[str]:
    """One plain sentence for each finding."""
    return [
        *_groups_in_words(found, grouped),
        *_copies_in_words(found),
        *_position_in_words(found, grouped),
        *_metadata_in_words(found["metadata"]),
        *_separability_in_words(found),
        *_gap_in_words(found),
    ]


def _groups_in_words(found: dict[str, Any], grouped: bool) -> list[str]:
    torn, name = found["groups_torn"], found["group_name"]
    if not grouped:
        return [
            "The data names no groups, so images of one origin may lie on both sides of the split, "
            "and intervals treat images as independent."
        ]
    if torn == 0:
        return [f"No {name} is torn: each of the {found['groups']} is wholly in training, validation or test of a fold."]
    return [
        f"{torn} of {found['groups']} groups ({name}) are torn between training, validation and test: "
        "results will look better than they are."
    ]


def _copies_in_words(found: dict[str, Any]) -> list[str]:
    files, near = found["exact_duplicates"], found["near_duplicates"]
    pixels = files["same_pixels"]
    return [
        _pairs_in_words(files, "No two files are byte-equal.", "of files are byte-equal"),
        *([] if pixels == {name: files[name] for name in pixels} else [_pairs_in_words(pixels, "", "of images are equal pixel by pixel")]),
        _pairs_in_words(near, "No two images are near-identical", "of images are near-identical").removesuffix(".")
        + f" (at most {near['hash_threshold']} of {BITS} bits of their hashes differ, or a cosine of their features "
        f"above {near['cosine_threshold']:.3f}).",
    ]


def _pairs_in_words(counts: dict[str, Any], none: str, are: str) -> str:
    if counts["pairs"] == 0:
        return none
    are = are if counts["pairs"] > 1 else are.replace("are", "is", 1)
    return (
        f"{_counted(counts['pairs'], 'pair')} {are}, {counts['across_folds']} on both sides of a fold, "
        f"{counts['conflicting_labels']} with different labels."
    )


def _position_in_words(found: dict[str, Any], grouped: bool) -> list[str]:
    auc = found["metadata_auc"]
    if auc["this_split"] is None:
        return []
    others = f" ({_told(auc['stratified'])} under plain stratified folds, {_told(auc['grouped'])} under grouped ones)" if grouped else ""
    return [
        "A predictor that sees only the position in the file, no pixels, reaches an AUC of "
        f"{auc['this_split']:.2f} under this split{others}.",
        "That is far above chance: the order of the file gives labels away, and part of every result here is that leak."
        if auc["this_split"] > FAR
        else "That is near chance: the order of the file does not help under this split.",
    ]


def _metadata_in_words(metadata: dict[str, dict[str, float | None]]) -> list[str]:
    told = [f"{name.replace('_', ' ')} {_told(each['auc'])}" for name, each in metadata.items() if name not in ("position", "together")]
    return [f"AUC of other predictors without pictures: {', '.join(told)}; all together {_told(metadata['together']['auc'])}."]


def _separability_in_words(found: dict[str, Any]) -> list[str]:
    told, name = found["separability"], found["group_name"]
    if told is None:
        return []
    return [
        f"Frozen features tell each {name} apart: the nearest image is of the same {name} in {100 * told['accuracy']:.0f} % of cases, "
        f"against {100 * told['chance']:.1f} % by chance."
        if told["accuracy"] > 2 * told["chance"]
        else f"Frozen features hardly tell one {name} from another: the nearest image is of the same {name} in "
        f"{100 * told['accuracy']:.0f} % of cases, against {100 * told['chance']:.1f} % by chance."
    ]


def _gap_in_words(found: dict[str, Any]) -> list[str]:
    gap = found["split_gap"]
    if gap is None or gap["points"] is None:
        return []
    limits = "" if gap["lo"] is None else f" [{gap['lo']:.1f}, {gap['hi']:.1f}]"
    own = f"; {_told(gap['this_split'])} under this split" if found["method"] in ("leave_domain_out", "given") else ""
    return [
        f"A linear probe reaches an AUC of {_told(gap['stratified'])} under random folds and {_told(gap['grouped'])} under grouped ones, "
        f"a difference of {gap['points']:.1f} points{limits}{own}."
    ]


def _told(auc: float | None) -> str:
    return "not defined" if auc is None else f"{auc:.2f}"


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
