"""A picture of pairs of images, side by side, with their names: for looking at what the audit found."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from thaw.files import whole

SIDE, GAP, CAPTION, COLUMNS = 150, 6, 40, 3
"""px; px; px of text below a pair; pairs beside each other."""
LETTERS = 48
"""Of a name that fit below a pair."""


@dataclass(frozen=True)
class Pair:
    first: Path
    second: Path
    lines: list[str]  # at most three


def write_sheet(pairs: list[Pair], path: Path) -> None:
    """PNG, `COLUMNS` pairs in a row."""
    width, height = 2 * SIDE + 3 * GAP, SIDE + CAPTION + GAP
    rows = -(-len(pairs) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    for number, pair in enumerate(pairs):
        left, top = number % COLUMNS * width + GAP, number // COLUMNS * height + GAP
        for place, file in enumerate((pair.first, pair.second)):
            sheet.paste(thumbnail(file), (left + place * (SIDE + GAP), top))
        draw.multiline_text((left, top + SIDE + 2), "\n".join(map(shortened, pair.lines)), fill="black", font=font, spacing=2)
    with whole(path) as temporary:
        sheet.save(temporary, format="PNG")


def thumbnail(file: Path) -> Image.Image:
    """The whole image, at most `SIDE` px wide and high."""
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    return image


def shortened(line: str) -> str:
    """The end of a line that is too long: names differ there."""
    return line if len(line) <= LETTERS else f"...{line[3 - LETTERS :]}"
