"""Claims about the periphery: folding, canvases, strips, decoding, and what becomes of pictures without anything."""

import math

import numpy as np
import pytest
import torch

from foveate.attention import proposals
from foveate.attention.periphery import REACH, STRIDE, UNIT, Layer, Periphery, standard
from foveate.attention.proposals import (
    Answers,
    Canvas,
    Place,
    canvases,
    decode,
    glance,
    look_again,
    maps,
    propose,
    strip,
    support,
)
from foveate.attention.settings import SearchSettings
from foveate.errors import BadInput
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids


@pytest.fixture(autouse=True)
def whole_numbers(monkeypatch):
    monkeypatch.setenv("FOVEATE_PRECISION", "float32")


@pytest.fixture
def network():
    """Random weights, and normalisation as if it had seen something."""
    net, rng = Periphery(), torch.Generator().manual_seed(1)
    net.reset(rng)
    with torch.no_grad():
        for layer in net.layers:
            assert isinstance(layer, Layer) and layer.norm.running_mean is not None
            layer.norm.running_mean.normal_(0, 0.3, generator=rng)
            layer.norm.running_var.uniform_(0.5, 2.0, generator=rng)
            layer.norm.weight.uniform_(0.5, 1.5, generator=rng)
            layer.norm.bias.normal_(0, 0.2, generator=rng)
        net.head.weight.normal_(0, 0.1, generator=rng)
    return net.requires_grad_(False).channels_last().eval()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_the_folded_network_is_the_network(network):
    x = torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    want = network(x)
    torch.testing.assert_close(network.folded(torch.float32)(x), want, atol=1e-4, rtol=1e-4)
    rough = network.folded(torch.bfloat16)(x.bfloat16()).float()
    assert (rough - want).square().mean() < 0.02 * want.var()


def test_a_cell_depends_on_pixels_within_its_reach_alone(network):
    """The gradient of one cell's outputs with respect to the pixels, beside the field that the module states."""
    x = torch.zeros(1, 3, 160, 160, requires_grad=True)
    network(x)[0, :, 10, 9].square().sum().backward()
    rows, columns = (torch.nonzero(x.grad[0].abs().sum(0).sum(1 - k))[:, 0] for k in range(2))
    for seen, cell in ((rows, 10), (columns, 9)):
        middle = cell * STRIDE
        assert seen.min() == middle - REACH and seen.max() == middle + REACH
    assert proposals.centre(torch.tensor([10])).item() == 10 * STRIDE + 0.5


@pytest.mark.parametrize("size", [(33, 50), (384, 512), (100, 700), (8, 8)])
def test_levels_lie_on_canvases_whole_and_apart(size):
    pyramids = Pyramids.from_images([picture(*size)])
    sheets = canvases(pyramids, 0)
    levels = [place.level for sheet in sheets for place in sheet.places]
    assert levels == list(range(len(levels)))
    smallest = max(size) / 2 / 2 ** levels[-1]
    assert smallest <= proposals.TOP or len(levels) == pyramids.levels[0]
    for sheet in sheets:
        assert sheet.height % STRIDE == 0 and sheet.width % STRIDE == 0
        shown = strip(pyramids, 0, sheet, 0, sheet.height)
        free = np.ones(shown.shape[:2], bool)
        for level, row, column in sheet.places:
            pixels = pyramids.level(0, level) >> 8
            h, w = pixels.shape[:2]
            np.testing.assert_array_equal(shown[row : row + h, column : column + w], pixels)
            around = free[row - STRIDE : row + h + STRIDE, column - STRIDE : column + w + STRIDE]
            assert around.shape == (h + 2 * STRIDE, w + 2 * STRIDE), "half of a gap is on every side"
            assert around.all(), "and belongs to this level alone"
            around[:] = False
            free[row : row + h, column : column + w] = False
        assert (shown[free] == np.rint(pyramids.fill[0] * 255)).all()


def test_a_canvas_in_strips_is_the_canvas(network):
    pyramids = Pyramids.from_images([picture(531, 300)])
    folded = network.folded(torch.float32)
    for canvas in canvases(pyramids, 0):
        x = torch.from_numpy(strip(pyramids, 0, canvas, 0, canvas.height))
        whole = network(standard(x, torch.float32).permute(2, 0, 1)[None])[0]
        for pixels in (1, 100_000, 1 << 30):
            torch.testing.assert_close(maps(folded, pyramids, 0, canvas, pixels), whole, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(("period", "harmonic"), [(360, 1), (180, 2), (90, 4), (0, 0)])
def test_decoding_undoes_the_outputs_that_stand_for_a_gaze(period, harmonic):
    rng = np.random.default_rng(3)
    for _ in range(20):
        s, angle = rng.uniform(8, 18), rng.uniform(-math.pi, math.pi)
        x, y, cx, cy = rng.uniform(0, 100, 4)
        k = harmonic * angle
        told = [0.0, (x - cx) / UNIT, (y - cy) / UNIT, math.log(s / UNIT), 3 * math.cos(k), 3 * math.sin(k)]
        (u,) = decode(torch.tensor(told)[:, None], torch.tensor([cx]), torch.tensor([cy]), harmonic).numpy()
        np.testing.assert_allclose((np.hypot(u[0], u[1]), u[2], u[3]), (s, x, y), rtol=1e-6)
        turn = math.degrees(math.atan2(u[1], u[0]) - angle)
        if period:
            assert abs(turn - period * round(turn / period)) < 1e-4
        else:
            assert u[1] == 0


def test_proposals_are_what_cells_say_one_by_one(network):
    """All levels on their own, cell by cell in plain numbers, greedy suppression by hand."""
    pyramids = Pyramids.from_images([picture(90, 150, seed=4)])
    settings = SearchSettings(most=25, floor=0.1)
    said = []
    for canvas in canvases(pyramids, 0):
        x = torch.from_numpy(strip(pyramids, 0, canvas, 0, canvas.height))
        outputs = network(standard(x, torch.float32).permute(2, 0, 1)[None])[0].double().numpy()
        for level, row, column in canvas.places:
            height, width = int(pyramids.height[0, level]), int(pyramids.width[0, level])
            for i in range(row // STRIDE, (row + height) // STRIDE + 1):
                for j in range(column // STRIDE, (column + width) // STRIDE + 1):
                    logit, dx, dy, log_s, cosine, sine = outputs[:, i, j]
                    px, py = STRIDE * j + 0.5 - column + UNIT * dx, STRIDE * i + 0.5 - row + UNIT * dy
                    if not (0 <= px <= width and 0 <= py <= height) or 1 / (1 + math.exp(-logit)) < settings.floor:
                        continue
                    s, norm = UNIT * math.exp(log_s), math.hypot(cosine, sine)
                    u = np.array([s * cosine / norm, s * sine / norm, px, py]) * 2**level
                    said.append((1 / (1 + math.exp(-logit)), u))
    said.sort(key=lambda each: -each[0])
    kept = []
    for probability, u in said:
        box = gaze.to_boxes(torch.from_numpy(u))[None]
        others = torch.stack([gaze.to_boxes(torch.from_numpy(v)) for _, v in kept]) if kept else torch.zeros(0, 4)
        if len(kept) < settings.most and not (gaze.iou(box, others.double()) >= proposals.OVERLAP).any():
            kept.append((probability, u))
    found = propose(glance(network.folded(torch.float32), pyramids), settings)
    assert len(kept) > 5
    np.testing.assert_allclose(torch.sigmoid(found.logit), [p for p, _ in kept], atol=1e-4)
    np.testing.assert_allclose(found.gazes, np.stack([u for _, u in kept]), atol=2e-2)


@pytest.mark.parametrize("size", [(240, 320), (1, 1), (3, 900)])
def test_a_blank_picture_has_a_few_improbable_proposals_and_nothing_breaks(size):
    net = Periphery()
    net.reset(torch.Generator().manual_seed(0))
    folded = net.requires_grad_(False).eval().folded(torch.float32)
    answers = glance(folded, Pyramids.from_images([np.full((*size, 3), 128, np.uint8)]))
    found = propose(answers, SearchSettings())
    assert len(answers.logit) <= proposals.FEWEST_ANSWERS and len(found.logit) <= proposals.A_FEW
    assert len(found.logit) == proposals.A_FEW or min(size) < 8, "a place in a picture of a few pixels lies outside it"
    assert (found.logit < proposals.logit_of(0.1)).all()
    assert len(look_again(folded, Pyramids.from_images([np.zeros((*size, 3), np.uint8)]), found.gazes)) == len(
        found.logit
    )


def test_what_speaks_for_a_gaze_is_the_best_answer_that_agrees_with_it():
    gazes = torch.tensor([[10.0, 0, 50, 50], [0.0, 10, 52, 50], [30.0, 0, 50, 50]], dtype=torch.float64)
    answers = Answers(gazes, torch.tensor([2.0, 3.0, 9.0]))
    at = torch.tensor([[10.0, 0, 51, 50], [28.0, 3, 50, 52], [10.0, 0, 90, 50]], dtype=torch.float64)
    found = support(answers, at)
    assert found[:2].tolist() == [3.0, 9.0] and found[2] == pytest.approx(math.log(0.03 / 0.97))


def test_it_is_kept_and_read_again(network, tmp_path):
    path = tmp_path / "periphery.safetensors"
    network.period = 180
    network.save(path)
    again = Periphery.load(path)
    assert again.period == 180 and again.harmonic == 2
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(again(x), network(x), atol=0, rtol=0)


def test_a_damaged_file_and_a_period_that_is_none_are_refused(network, tmp_path):
    tensors = network.tensors()
    tensors["head.weight"] = torch.full_like(tensors["head.weight"], torch.nan)
    with pytest.raises(BadInput, match=r"run: tensor head\.weight must be finite"):
        Periphery.from_tensors(tensors, "run")
    with pytest.raises(BadInput, match="tensor period"):
        Periphery.from_tensors({k: v for k, v in network.tensors().items() if k != "period"}, "run")
    with pytest.raises(BadInput, match="angle_period = 45"):
        Periphery(45)


def test_a_canvas_takes_no_memory_of_the_whole_picture(network, monkeypatch):
    """Of a tall picture each pass sees a strip; its rows are bounded whatever the height."""
    seen = []
    pyramids = Pyramids.from_images([picture(2400, 40)])
    folded = network.folded(torch.float32)

    def watching(pyramids, image, canvas, top, bottom):
        seen.append(bottom - top)
        return strip(pyramids, image, canvas, top, bottom)

    monkeypatch.setattr(proposals, "strip", watching)
    (canvas,) = (c for c in canvases(pyramids, 0) if c.places[0].level == 0)
    maps(folded, pyramids, 0, canvas, pixels=1)
    assert len(seen) > 5 and max(seen) <= (proposals.FEWEST + 2 * proposals.HALO) * STRIDE
    assert Canvas((Place(0, 8, 8),), canvas.height, canvas.width) == canvas
