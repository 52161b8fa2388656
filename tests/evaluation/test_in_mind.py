"""Two objects of which one is in mind, and gazes that set out from far: what is counted, and that it is right."""

import json

import numpy as np
import pytest
import torch
from untrained import write_untrained

from foveate.cli import main as cli
from foveate.demo.digits import KNOWN, write_digit_scenes
from foveate.evaluation.convergence import MATCHED_SIZES, OFFSETS, draw_starts, match_templates
from foveate.report.results import TableStory
from foveate.scenes import gaze
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids
from foveate.training.labels import Objects


@pytest.fixture(scope="module")
def run_and_scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in-mind")
    write_untrained(folder / "run", 6, 4)
    write_digit_scenes(folder / "scenes", KNOWN, 4, 0)
    return folder / "run", folder / "scenes"


def picture(seed, side=160):
    small = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic")[0].permute(1, 2, 0).clamp(0, 1)


def printed(capsys, *words):
    assert cli.run(["evaluate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ambiguity_counts_every_object_once_and_adds_its_table_to_the_page(run_and_scenes, capsys):
    run, scenes = run_and_scenes
    figures = printed(capsys, "ambiguity", run, scenes, "--pairs", 2)
    assert figures["pairs"] == 2 and figures["photos"] == 4
    for part in ("pipeline", "network"):
        shares = figures[part]
        assert shares["in_mind"] + shares["other"] + shares["neither"] == pytest.approx(1)
        assert shares["in_mind"] == pytest.approx((shares["in_mind_left"] + shares["in_mind_right"]) / 2)
    assert figures["likeness"]["in_mind"] > figures["likeness"]["other"] and figures["likelier"] >= 0.75
    (table,) = [story for story in TableStory.load_all(run / "story") if story.name.startswith("One of two")]
    assert table.rows[0][0] == "pipeline" and table.rows[0][1] == figures["pipeline"]["in_mind"]


def test_convergence_has_a_figure_for_every_offset_and_method_and_draws_them(run_and_scenes, capsys):
    run, scenes = run_and_scenes
    figures = printed(capsys, "convergence", run, scenes, "--select", "0:2", "--set", "posterior.draws=4")
    assert figures["starts"] == 2 * len(OFFSETS)
    for name in ("network", "ncc_mean", "ncc_best", "euclid_mean", "euclid_best"):
        rows = figures["by_offset"][name]
        assert [row[0] for row in rows] == list(OFFSETS)
        assert np.mean([row[2] for row in rows]) == pytest.approx(figures["all"][name][1])
    in_sight = figures["in_sight"]
    assert set(in_sight) == {"starts", *figures["all"]} and 0 < in_sight["starts"] <= figures["starts"]
    assert figures["all"]["ncc_best"][1] > figures["all"]["network"][1]  # a digit by its own template
    (table,) = [story for story in TableStory.load_all(run / "story") if story.name.startswith("Convergence")]
    assert len(table.curves) == 6
    assert cli.run(["report", str(run)]) == 0
    assert (run / "report.html").read_text().count("Mean IoU, by offset of the start") >= 1


def test_starts_are_as_far_off_as_they_say():
    objects = Objects(torch.arange(3), torch.tensor([[20.0, 5, 100, 90], [8, 0, 50, 40], [0, 30, 70, 70]]).double())
    starts = draw_starts(objects, 0)
    truth = objects.gaze[starts.of]
    away = torch.linalg.vector_norm(starts.gaze[:, 2:] - truth[:, 2:], dim=1)
    assert torch.allclose(away / gaze.scale(truth) * 12, starts.offset)
    assert torch.allclose(gaze.scale(starts.gaze) / gaze.scale(truth), starts.size)


def test_template_matching_finds_where_a_template_was_cut_out():
    pyramids = Pyramids.from_images([picture(0).numpy()])
    true = torch.tensor([[16.0, 0.0, 90.0, 74.0]], dtype=torch.float64)
    template = glimpses(pyramids, np.zeros(1, np.int64), true)
    start = gaze.from_scale_angle(*torch.tensor([16.0 / MATCHED_SIZES[4], 0.0, 78.0, 80.0]).double())
    ends = match_templates(pyramids, 0, start, template)
    assert (gaze.iou(gaze.to_boxes(ends.flatten(0, 1)), gaze.to_boxes(true)) > 0.85).all()
