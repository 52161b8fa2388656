"""Pictures in which nothing is: how often does a RUN say that an object is there?

Claim: at most 1 % of them state P > 0.5. Two sets: photographs that come inside scikit-image and show no face (give
--leave-out NAME for what shows your kind of object), whole and in halves; and 200 pictures made here, a quarter each:
crops of those photographs at any size and angle, textures, noise, printed pages.

    python benchmarks/negatives.py RUN [--count 200] [--seed 0]
"""

import argparse
import string
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from foveate.attention.attend import Attention
from foveate.cli.options import Common
from foveate.cli.recipe import attend_settings
from foveate.demo.photographs import NAMES, photograph
from foveate.runtime.progress import Bars

FACES = ("astronaut", "camera", "coins")  # heads, in profile on the coins
WIDE, HIGH = 512, 384
STATED = 0.5
Picture = Float[ndarray, "h w 3"]


def crop(rng: np.random.Generator, names: list[str]) -> Picture:
    """A part of a photograph, turned by any angle, half to four times its size."""
    picture = Image.fromarray(photograph(names[rng.integers(len(names))]))
    magnified, angle = np.exp(rng.uniform(np.log(0.5), np.log(4.0))), rng.uniform(0, 2 * np.pi)
    across = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / magnified
    centre = rng.uniform(0.25, 0.75, 2) * picture.size
    shift = centre - across @ (WIDE / 2, HIGH / 2)
    coefficients = (*across[0], shift[0], *across[1], shift[1])
    turned = picture.transform((WIDE, HIGH), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(turned, np.float64) / 255


def texture(rng: np.random.Generator, _: list[str]) -> Picture:
    """Noise whose spectrum falls as a power of frequency, longer one way than the other, through a palette."""
    fx, fy = np.fft.fftfreq(WIDE), np.fft.fftfreq(HIGH)[:, None]
    turn, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 1.5))
    along, aside = fx * np.cos(turn) + fy * np.sin(turn), fy * np.cos(turn) - fx * np.sin(turn)
    size = np.hypot(along * stretch, aside / stretch)
    spectrum = np.fft.fft2(rng.normal(size=(HIGH, WIDE))) / np.maximum(size, 1e-3) ** rng.uniform(0.5, 2.0)
    field = np.real(np.fft.ifft2(np.where(size > 0, spectrum, 0)))
    field /= field.std()
    if rng.random() < 0.5:
        field = np.sin(field * rng.uniform(2, 8))  # veins and rings
    dark, light = rng.uniform(0, 0.5, 3), rng.uniform(0.5, 1, 3)
    return dark + (light - dark) * np.clip(field[..., None] / 4 + 0.5, 0, 1)


def noise(rng: np.random.Generator, _: list[str]) -> Picture:
    """Blocks of pixels that know nothing of each other, in grey or in colour, strong or faint."""
    block, channels = int(rng.integers(1, 24)), int(rng.choice([1, 3]))
    small = rng.normal(0.5, rng.uniform(0.05, 0.4), (-(-HIGH // block), -(-WIDE // block), channels))
    large = small.repeat(block, 0).repeat(block, 1)[:HIGH, :WIDE]
    return np.broadcast_to(np.clip(large, 0, 1), (HIGH, WIDE, 3))


def page(rng: np.random.Generator, _: list[str]) -> Picture:
    """Lines of letters, perhaps with ruled tables, on paper that is not quite white nor quite straight."""
    paper = tuple(int(v) for v in rng.integers(215, 256, 3))
    sheet = Image.new("RGB", (WIDE, HIGH), paper)
    draw, size = ImageDraw.Draw(sheet), int(rng.integers(8, 40))
    font, letters = ImageFont.load_default(size), list(string.ascii_letters + string.digits + ".,;:()-")
    for top in range(size, HIGH - size, round(1.4 * size)):
        words = ["".join(rng.choice(letters, rng.integers(1, 10))) for _ in range(4 * WIDE // size // 6 + 1)]
        draw.text((size, top), " ".join(words), fill=tuple(int(v) for v in rng.integers(0, 90, 3)), font=font)
        if rng.random() < 0.15:
            draw.line((size, top + 1.2 * size, WIDE - size, top + 1.2 * size), fill=(60, 60, 60), width=1)
    turned = sheet.rotate(float(rng.normal(0, 4)), Image.Resampling.BICUBIC, fillcolor=paper)
    return np.asarray(turned, np.float64) / 255


KINDS = {"crops": crop, "textures": texture, "noise": noise, "pages": page}


def bundled(names: list[str]) -> dict[str, ndarray]:
    """Each photograph, and its left and right half."""
    pictures = {}
    for name in names:
        whole = photograph(name)
        middle = whole.shape[1] // 2
        pictures |= {name: whole, f"{name}, left": whole[:, :middle], f"{name}, right": whole[:, middle:]}
    return {name: np.ascontiguousarray(picture) for name, picture in pictures.items()}


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("run", type=Path)
    asked.add_argument("--count", type=int, default=200, help="pictures to make")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--leave-out", nargs="*", default=FACES, choices=NAMES, help="photographs with an object")
    asked.add_argument("--keep", type=Path, help="folder for the pictures that state more")
    options = asked.parse_args()
    attention = Attention.load(options.run)
    settings = attend_settings(str(options.run), ["posterior.chains=0"], Common(), "many", min_probability=0)
    names = [name for name in NAMES if name not in options.leave_out]
    made = {}
    for k in range(options.count):
        kind = list(KINDS)[k % len(KINDS)]
        pixels = KINDS[kind](np.random.default_rng((options.seed, k)), names)
        made[f"{kind} {k}"] = np.rint(pixels * 255).astype(np.uint8)
    largest: dict[str, float] = {}
    everything = bundled(names) | made
    with Bars().phase("negatives", len(everything)) as tick:
        for name, picture in everything.items():
            found = attention.attend_one(picture, name, settings)
            largest[name] = max((each.probability for each in found), default=0.0)
            tick(len(largest))
            if options.keep and largest[name] > STATED:
                options.keep.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(options.keep / f"{name}.png")
    print(f"| {'pictures':12} | n | P > {STATED} | largest P |\n| --- | ---: | ---: | --- |")
    groups = {"photographs": [n for n in largest if n not in made], **{k: [n for n in made if k in n] for k in KINDS}}
    for kind, members in (groups | {"all": list(largest)}).items():
        if members:
            above, top = sum(largest[n] > STATED for n in members), max(members, key=largest.__getitem__)
            print(f"| {kind:12} | {len(members)} | {above} | {largest[top]:.2f} ({top}) |")
    share = sum(p > STATED for p in largest.values()) / len(largest)
    print(f"{100 * share:.1f} % state P > {STATED}; claim: at most 1 %")
    return 0 if share <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
