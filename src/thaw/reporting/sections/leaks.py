"""Leak audit: what could have been learnt that is no learning."""

import math
from collections.abc import Sequence
from typing import Any

from thaw.measures import NOTHING, measure_of, number, with_interval
from thaw.reporting.answer import estimate_of
from thaw.reporting.blocks import Block, Folded, Table
from thaw.reporting.gallery import duplicate_pictures
from thaw.reporting.results import Results
from thaw.reporting.tables import listed, literal

SEEN = {
    "position": "the place in the file",
    "file_size": "the size of the file",
    "dimensions": "width and height",
    "brightness": "brightness and contrast",
    "together": "all of these together",
}


def leak_audit(results: Results, drawn: Sequence[str]) -> list[Block]:
    audit = results.leakage
    return [
        *_verdict(audit),
        listed([literal(sentence) for sentence in audit["words"]]),
        *_figures(results),
        _control(results),
        *_near_duplicates(results),
        _fold_table(results),
    ]


def _verdict(audit: dict[str, Any]) -> list[Block]:
    """The concerns, the worst first; then what was looked at, good news too."""
    verdict = audit.get("verdict")
    if not verdict:
        return []
    concerns = [literal(sentence) for sentence in verdict["sentences"]]
    level = f"**Verdict: {literal(verdict['level'])}.**"
    return [f"{level} {concerns[0]}" if len(concerns) == 1 else f"{level}\n\n{listed(concerns)}", "What was looked at:"]


def _figures(results: Results) -> list[Block]:
    """What the audit measured, as far as it did, with its intervals."""
    audit = results.leakage
    rows = [*_without_pictures(audit), *_separability(results), *_split_gap(audit), *_alike(audit)]
    return [Table(["what the audit measured", "found", "chance"], rows)] if rows else []


def _without_pictures(audit: dict[str, Any]) -> list[list[str]]:
    """What each thing that is not the picture gives away."""
    found = audit.get("metadata") or {}
    return [[f"AUC of labels from {text}, no picture", _estimate(found[name]), "0.50"] for name, text in SEEN.items() if name in found]


def _estimate(auc: dict[str, float | None] | None) -> str:
    value, lo, hi = (_nan((auc or {}).get(key)) for key in ("auc", "lo", "hi"))
    return with_interval(value, lo, hi, 2)


def _separability(results: Results) -> list[list[str]]:
    found = results.leakage.get("separability")
    if not found:
        return []
    name = f"share of images whose {literal(results.group_name)} is told from their features"
    return [[name, *(number(found[key], 2) for key in ("accuracy", "chance"))]]


def _split_gap(audit: dict[str, Any]) -> list[list[str]]:
    """What a careless split would have claimed."""
    gap = audit.get("split_gap")
    if not gap:
        return []
    points, lo, hi = (_nan(gap.get(key)) for key in ("points", "lo", "hi"))
    return [
        ["AUC of a probe if images of one group may lie on both sides", number(gap["stratified"]), "0.50"],
        ["AUC of a probe if groups stay whole", number(gap["grouped"]), "0.50"],
        ["the difference, points", with_interval(points, lo, hi, 1), NOTHING],
    ]


def _alike(audit: dict[str, Any]) -> list[list[str]]:
    found = audit.get("near_duplicates")
    if not found:
        return []
    rows = {
        "pairs of images that look nearly alike": "pairs",
        "... across folds": "across_folds",
        "... of unequal labels": "conflicting_labels",
    }
    return [[name, f"{found[key]:,}", NOTHING] for name, key in rows.items()]


def _control(results: Results) -> str:
    control = next((r for r in results.controls if r.strategy == "metadata"), None)
    if control is None or math.isnan(control.estimate(results.primary).value):
        return ""
    return (
        f"A predictor that sees the place in the file and no pixel reaches a {measure_of(results.primary).name} of "
        f"{estimate_of(control, results.primary)} as a control, against {estimate_of(results.winner, results.primary)} of the winner; "
        "the control chooses its k on validation and trains without it, the audit above fixes k and trains on both, so the two differ."
    )


def _near_duplicates(results: Results) -> list[Block]:
    found = results.leakage.get("near_duplicates")
    if not found or not found["pairs"]:
        return []
    listed_pairs = found.get("listed") or []
    table = [Folded("The nearest pairs, worst first", [_pairs(listed_pairs)])] if listed_pairs else []
    gallery = results.findings.gallery
    pictures = [] if gallery is None else duplicate_pictures(gallery)
    return ["Images that look nearly alike, the worst pairs first:", *pictures, *table]


def _pairs(pairs: list[dict[str, Any]]) -> Table:
    header = ["image", "and", "across folds", "same group", "same label", "hash distance", "cosine"]
    rows = [
        [
            literal(str(pair["a"])),
            literal(str(pair["b"])),
            *("yes" if pair[key] else "no" for key in ("across_folds", "same_group", "same_label")),
            number(pair["hash_distance"], 0),
            number(pair["cosine"]),
        ]
        for pair in pairs
    ]
    return Table(header, rows, texts=5)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _fold_table(results: Results) -> Table:
    header = [
        "fold",
        "test images",
        literal(results.units) if results.grouped else "groups",
        *(literal(name) for name in results.classes),
        "validation images",
    ]
    rows = [
        [
            str(fold["fold"]),
            f"{fold['images']:,}",
            f"{fold['groups']:,}",
            *(f"{fold['classes'].get(name, 0):,}" for name in results.classes),
            f"{fold['validation_images']:,}",
        ]
        for fold in results.leakage["folds"]
    ]
    return Table(header, rows)
