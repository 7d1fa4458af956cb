"""Where to set the threshold: what finding more of one class costs in the other. Two classes only."""

import math
from collections.abc import Sequence

from thaw.measures import NOTHING, number
from thaw.reporting.blocks import Block, Table, figure
from thaw.reporting.findings import OperatingPoint, of
from thaw.reporting.results import Results
from thaw.reporting.tables import code, literal

WANTED = (0.5, 0.8, 0.9, 0.95, 0.99)  # shares of the positive images to be found


def operating_curve(results: Results, drawn: Sequence[str]) -> list[Block]:
    if len(results.classes) != 2:
        return []
    points = of(results.winner.name, results.findings.operating)
    if not points:
        return [
            "`reports/operating.csv`, which `dvc repro evaluate` writes, would say here what other thresholds give; it holds nothing yet."
        ]
    positive = literal(results.classes[1])
    caption = (
        f"What {code(results.winner.name)} gives when an image is called “{positive}” from a threshold on: "
        f"the share of “{positive}” images that are found (recall), the share of alarms that are right (precision), and the share of the "
        "others that are left alone (specificity). Ticks along the bottom are the thresholds that validation chose, one for each fold."
    )
    return [
        f"Which threshold is right depends on what a missed “{positive}” costs against a false alarm. "
        "The table has the highest threshold that still finds so many; it is read off test images, so expect a little less on new ones.",
        *figure(drawn, "operating", _alt(results, points), caption),
        _table(results, points),
    ]


def point_for(points: list[OperatingPoint], recall: float) -> OperatingPoint | None:
    """The highest threshold whose recall is still ``recall`` or more."""
    enough = [point for point in points if point.recall >= recall]
    return max(enough, key=lambda point: point.threshold, default=None)


def _alt(results: Results, points: list[OperatingPoint]) -> str:
    found = point_for(points, 0.9)
    told = f": 90 % are found from {number(found.threshold, 2)} on, with precision {number(found.precision, 2)}" if found else ""
    return f"Recall, precision and specificity of {results.winner.name} by threshold{told}"


def _table(results: Results, points: list[OperatingPoint]) -> Table:
    header = [f"{literal(results.classes[1])} to be found", "threshold", "found", "precision", "specificity", "F1", "balanced accuracy"]
    return Table(header, [_row(wanted, point_for(points, wanted)) for wanted in WANTED])


def _row(wanted: float, point: OperatingPoint | None) -> list[str]:
    named = f"{100 * wanted:g} %"
    if point is None:
        return [named, *[NOTHING] * 6]
    figures = (point.recall, point.precision, point.specificity, point.f1, point.balanced_accuracy)
    return [named, number(point.threshold, 2), *(number(value) if not math.isnan(value) else NOTHING for value in figures)]
