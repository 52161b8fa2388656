"""Pictures side by side on one sheet, each with what is said of it."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

TILE = (320, 240)  # pixels that a picture is reduced to
CAPTION, GAP, LINES, LETTERS = 16, 8, 4, 46  # height of a line, pixels between tiles, lines, letters in each


def contact_sheet(pictures: Sequence[tuple[Image.Image, str]], columns: int = 4) -> Image.Image:
    """A sheet with each picture above its caption, row by row; captions are cut to `LINES` lines."""
    columns = min(columns, max(len(pictures), 1))
    width, height = TILE[0] + GAP, TILE[1] + LINES * CAPTION + GAP
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=CAPTION - 4)
    for number, (picture, caption) in enumerate(pictures):
        x, y = GAP + number % columns * width, GAP + number // columns * height
        small = picture.convert("RGB")
        small.thumbnail(TILE)
        sheet.paste(small, (x + (TILE[0] - small.width) // 2, y + TILE[1] - small.height))
        for line, text in enumerate(textwrap.wrap(caption, LETTERS, max_lines=LINES)):
            draw.text((x, y + TILE[1] + line * CAPTION), text, font=font, fill="black")
    return sheet
