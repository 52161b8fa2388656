"""Proposals: what the periphery makes of a picture, as gazes and probabilities.

All levels of the picture's pyramid are laid out on two canvases, the picture itself on one and its smaller copies on
the other, with its mean colour between them. The network passes over each canvas in strips that overlap by as much as a
cell depends on, so memory does not grow with the picture and the result is that of one pass. What its cells say is
turned into gazes of the picture, and of those that overlap the most probable one stays (non-maximum suppression).
Where a gaze ends the answers are asked again: those that agree with it speak for it.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foveate.attention.nms import non_maximum_suppression
from foveate.attention.periphery import LEAST, REACH, STRIDE, UNIT, FoldedPeriphery, standard
from foveate.attention.posterior.prior import log_ratio_to_searched
from foveate.attention.settings import GazePrior, SearchSettings
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

TOP = 20.0  # the smallest level is the first whose longest side is at most twice this
GAP = 16  # pixels of the mean colour around each level, at least
STRIP = 1 << 21  # pixels in one pass: activations stay in tens of megabytes
HALO = -(-(REACH + 1) // STRIDE)  # cells by which strips overlap
FEWEST = 4 * HALO  # rows of cells in a strip, so that a third of its work at most is done twice
WINDOW = 96  # side of a place that is looked at alone, pixels: more than a cell depends on
FLOOR = 0.03  # probability of an answer
FEWEST_ANSWERS, MOST_ANSWERS = 64, 4096  # of one picture
OVERLAP = 0.4  # from which the less probable of two answers is no proposal
A_FEW = 3  # proposals of any picture in which there is something


class Answers(NamedTuple):
    """What the cells of all levels say, the most probable first: gazes in pixels of the picture, and their logits."""

    gazes: Float[Tensor, "n 4"]
    logit: Float[Tensor, "n"]

    @classmethod
    def none(cls) -> "Answers":
        """Where nothing is said."""
        return cls(torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0))


class Place(NamedTuple):
    """Where one level lies on a canvas: its outer corner, a multiple of 8."""

    level: int
    row: int
    column: int


class Canvas(NamedTuple):
    """Several levels side by side; the sides are multiples of 8."""

    places: tuple[Place, ...]
    height: int
    width: int


def glance(network: FoldedPeriphery, pyramids: Pyramids, image: int = 0) -> Answers:
    """Looks at a whole picture: what cells say with a probability of `FLOOR` or more, and the best of any picture."""
    found = [
        _answers(maps(network, pyramids, image, canvas), pyramids, image, canvas, network.harmonic)
        for canvas in canvases(pyramids, image)
    ]
    gazes, logit = (torch.cat(parts) for parts in zip(*found, strict=True))
    probable = int((logit >= logit_of(FLOOR)).sum())
    best = torch.argsort(logit, descending=True, stable=True)[: min(max(probable, FEWEST_ANSWERS), MOST_ANSWERS)]
    return Answers(gazes[best], logit[best])


def prior_ratio(prior: GazePrior, pyramids: Pyramids, gazes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """log p(u) - log p0(u) of gazes at the single image of `pyramids`, p0 uniform over what is searched."""
    return log_ratio_to_searched(prior, gazes, int(pyramids.width[0, 0]), int(pyramids.height[0, 0]), LEAST)


def searched(answers: Answers, pyramids: Pyramids, prior: GazePrior) -> Answers:
    """Answers with a prior of gazes counted in, the most probable first; those that it rules out are gone."""
    logit = answers.logit + prior_ratio(prior, pyramids, answers.gazes).float()
    order = torch.argsort(logit, descending=True, stable=True)
    order = order[torch.isfinite(logit[order])]
    return Answers(answers.gazes[order], logit[order])


def propose(answers: Answers, settings: SearchSettings) -> Answers:
    """Of answers that overlap each other the most probable; those that are probable enough, and a few in any case."""
    kept = non_maximum_suppression(*answers, iou=OVERLAP, inside=2.0, most=settings.most)
    gazes, logit = answers.gazes[kept], answers.logit[kept]
    count = max(int((logit >= logit_of(settings.floor)).sum()), min(A_FEW, len(logit)))
    return Answers(gazes[:count], logit[:count])


def support(answers: Answers, gazes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """The largest logit of the answers that agree with each gaze by IoU 0.5, that of `FLOOR` where none does."""
    overlap = gaze.iou(gaze.to_boxes(gazes), gaze.to_boxes(answers.gazes))
    none = torch.full((len(gazes), 1), logit_of(FLOOR))
    return torch.cat((torch.where(overlap >= 0.5, answers.logit, none), none), 1).amax(1)


@torch.inference_mode()
def look_again(
    network: FoldedPeriphery, pyramids: Pyramids, gazes: Float[Tensor, "n 4"], batch: int = 32
) -> Float[Tensor, "n"]:
    """The logit of an object at each gaze, when that place of the single image of `pyramids` is looked at alone.

    It is turned upright, with a half-side of `UNIT` pixels; the cells in the middle answer.
    """
    weight, middle, found = network.layers[0].weight, WINDOW // STRIDE // 2, [torch.zeros(0)]
    for some in gazes.split(batch):
        seen = glimpses(pyramids, torch.zeros(len(some), dtype=torch.int64), some, WINDOW, WINDOW / 2 / UNIT)
        planes = standard(seen.mul_(255).to(weight.device), weight.dtype).contiguous(memory_format=torch.channels_last)
        logit = network(planes)[:, 0, middle - 1 : middle + 2, middle - 1 : middle + 2]
        found.append(logit.amax((1, 2)).float().cpu())
    return torch.cat(found)


def logit_of(probability: float) -> float:
    """log p / (1 - p)."""
    return math.log(probability / (1 - probability))


def canvases(pyramids: Pyramids, image: int) -> list[Canvas]:
    """How the levels of a picture are laid out: level 0 alone; level 1, and below it the others side by side."""
    sizes = [(int(pyramids.height[image, k]), int(pyramids.width[image, k])) for k in range(_levels(pyramids, image))]
    rooms = [(_room(h), _room(w)) for h, w in sizes]
    first = Canvas((Place(0, STRIDE, STRIDE),), *rooms[0])
    if len(rooms) == 1:
        return [first]
    places, column, height = [Place(1, STRIDE, STRIDE)], 0, rooms[1][0]
    for level in range(2, len(rooms)):
        places.append(Place(level, rooms[1][0] + STRIDE, column + STRIDE))
        column += rooms[level][1]
        height = max(height, rooms[1][0] + rooms[level][0])
    return [first, Canvas(tuple(places), height, max(rooms[1][1], column))]


def _levels(pyramids: Pyramids, image: int) -> int:
    """How many levels are looked at: up to the first on which the whole picture is a large object."""
    longest = max(int(pyramids.height[image, 0]), int(pyramids.width[image, 0]))
    return min(int(pyramids.levels[image]), 1 + max(0, math.ceil(math.log2(longest / 2 / TOP))))


def _room(side: int) -> int:
    """A side with half of a gap before it and at least as much after."""
    return -(-(side + GAP) // STRIDE) * STRIDE


def strip(pyramids: Pyramids, image: int, canvas: Canvas, top: int, bottom: int) -> UInt8[np.ndarray, "h w 3"]:
    """Rows of a canvas."""
    out = np.empty((bottom - top, canvas.width, 3), np.uint8)
    out[:] = np.rint(pyramids.fill[image] * 255).astype(np.uint8)
    for level, row, column in canvas.places:
        pixels = pyramids.level(image, level)
        first, last = max(row, top), min(row + len(pixels), bottom)
        if first < last:
            shown = out[first - top : last - top, column : column + pixels.shape[1]]
            np.right_shift(pixels[first - row : last - row], 8, out=shown, casting="unsafe")
    return out


@torch.inference_mode()
def maps(
    network: FoldedPeriphery, pyramids: Pyramids, image: int, canvas: Canvas, pixels: int = STRIP
) -> Float[Tensor, "6 y x"]:
    """The network's outputs for all cells of a canvas, strips of at most about `pixels` at a time."""
    weight = network.layers[0].weight
    cells, rows = canvas.height // STRIDE, max(pixels // (canvas.width * STRIDE) - 2 * HALO, FEWEST)
    out = torch.empty(6, cells, canvas.width // STRIDE)
    for begin in range(0, cells, rows):
        end = min(begin + rows, cells)
        top, bottom = max(begin - HALO, 0), min(end + HALO, cells)
        shown = torch.from_numpy(strip(pyramids, image, canvas, top * STRIDE, bottom * STRIDE))
        planes = standard(shown.to(weight.device), weight.dtype).permute(2, 0, 1).unsqueeze(0)
        out[:, begin:end] = network(planes)[0, :, begin - top : end - top].float().cpu()
    return out


def _answers(outputs: Float[Tensor, "6 y x"], pyramids: Pyramids, image: int, canvas: Canvas, harmonic: int) -> Answers:
    """The answers of the cells of all levels that are probable enough, in pixels of the picture."""
    gazes, logits = [], []
    for level, row, column in canvas.places:
        height, width = int(pyramids.height[image, level]), int(pyramids.width[image, level])
        of_level = outputs[
            :, row // STRIDE : (row + height) // STRIDE + 1, column // STRIDE : (column + width) // STRIDE + 1
        ]
        # Those of the whole picture that are kept are among those that would be kept of this level.
        flat = of_level[0].flatten()
        least = min(logit_of(FLOOR), float(flat.topk(min(FEWEST_ANSWERS, len(flat))).values[-1]))
        y, x = torch.nonzero(of_level[0] >= least, as_tuple=True)
        u = decode(of_level[:, y, x], centre(x), centre(y), harmonic) * 2.0**level
        within = (u[:, 2:] >= 0).all(1) & (u[:, 2] <= width * 2**level) & (u[:, 3] <= height * 2**level)
        gazes.append(u[within])
        logits.append(of_level[0, y, x][within])
    return Answers(torch.cat(gazes), torch.cat(logits))


def centre(cell: Tensor) -> Tensor:
    """Where the middle of a cell's field lies, pixels of its level: kernels are odd, so on a pixel's middle."""
    return cell.double() * STRIDE + 0.5


def decode(
    outputs: Float[Tensor, "6 n"], x: Float[Tensor, "n"], y: Float[Tensor, "n"], harmonic: int
) -> Float[Tensor, "n 4"]:
    """The gazes that outputs stand for, of cells centred at (x, y), in the same pixels."""
    _, dx, dy, log_s, cosine, sine = outputs.double()
    angle = torch.atan2(sine, cosine) / harmonic if harmonic else torch.zeros_like(dx)
    return gaze.from_scale_angle(UNIT * torch.exp(log_s.clamp(-4, 4)), angle, x + UNIT * dx, y + UNIT * dy)
