"""Calibration anew: probabilities become what annotations say, and everything else of the evidence stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from untrained import write_untrained

from foveate.attention.calibration import Logistic
from foveate.attention.evidence import MEASURED
from foveate.attention.models import Models
from foveate.attention.settings import AttendSettings
from foveate.cli import main as cli
from foveate.errors import BadInput
from foveate.learning import recalibration
from foveate.runtime.progress import Quiet
from foveate.scenes import gaze
from foveate.scenes.pyramid import Pyramids
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects, label
from foveate.training.ranking import Searched

SCENES = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    models = Models.load(write_untrained(tmp_path_factory.mktemp("recalibration") / "run", 40, 20))
    first = np.array([name == MEASURED[0] for name in MEASURED], dtype=float)
    ranking = Logistic(np.zeros(len(MEASURED)), np.ones(len(MEASURED)), first, 0.0)
    return replace(models, evidence=replace(models.trained_evidence, ranking=ranking))


@pytest.fixture(scope="module")
def gallery():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(SCENES)]
    gazes = torch.tensor([[12.0, 0.0, 40.0, 30.0]], dtype=torch.float64).repeat(SCENES, 1)
    nothing = [torch.zeros(0, 4, dtype=torch.float64)] * SCENES
    names = [f"{k}" for k in range(SCENES)]
    return Gallery(Pyramids.from_images(images), names, Objects(torch.arange(SCENES), gazes), nothing, [])


def searches(gallery: Gallery, right: float = 0.5, width: float = 0.05) -> list[Searched]:
    """One gaze a scene, a share of them at its object and off by a law of error, all of the same scores."""
    rng, found = np.random.default_rng(1), []
    for k in range(SCENES):
        log_s, angle, x, y = torch.from_numpy(rng.normal(0, width, (4, 1)))
        there = rng.random() < right
        u = gaze.compose(gallery.of(k), gaze.from_scale_angle(torch.exp(log_s), angle, x, y))
        u = u if there else torch.tensor([[12.0, 0.0, 12.0, 12.0]], dtype=torch.float64)
        measured = np.zeros((1, len(MEASURED)))
        measured[0, 0] = rng.normal()
        found.append(Searched(k, u, measured, label(u, gallery.of(k), gallery.ignore[k]).numpy()))
    return found


def test_probabilities_spreads_and_regions_are_fitted_and_nothing_else_is(models, gallery, monkeypatch):
    monkeypatch.setattr(recalibration, "search_scenes", lambda *_: searches(gallery))
    before = models.trained_evidence
    after, figures = recalibration.recalibrate(models, gallery, AttendSettings(), Quiet())
    assert figures["objects"] == SCENES and figures["found"] + figures["missed"] == SCENES
    share = figures["found"] / SCENES
    assert after.probability(np.zeros(1))[0] == pytest.approx(share, abs=0.1)
    assert figures["ece_after"] < 0.15
    assert after.law.usual.tolist() == pytest.approx([0.05] * 4, rel=0.45)
    assert len(after.errors) == figures["found"] == figures["region_objects"]
    assert after.ranking is before.ranking and after.object_log_z == before.object_log_z
    assert torch.equal(after.background.machine.whiten, before.background.machine.whiten)


def test_regions_of_what_was_kept_hold_what_they_state(models, gallery, monkeypatch):
    """Of as many objects again, of the same law of error, nine in ten lie in regions of 0.9."""
    from foveate.attention.posterior.conformal import largest_errors, radius
    from foveate.attention.posterior.refine import Resting, refine
    from foveate.training.temper import standardised_errors

    monkeypatch.setattr(recalibration, "search_scenes", lambda *_: searches(gallery, right=1.0))
    after, _ = recalibration.recalibrate(models, gallery, AttendSettings(), Quiet())
    rng = np.random.default_rng(7)
    log_s, angle, x, y = torch.from_numpy(rng.normal(0, 0.05, (4, SCENES)))
    gazes = gaze.compose(gallery.objects.gaze, gaze.from_scale_angle(torch.exp(log_s), angle, x, y))
    resting = Resting(list(range(SCENES)), gazes, gallery.names)
    tested = replace(models, evidence=after)
    refined = list(refine(tested, gallery.pyramids, resting, AttendSettings().posterior, seed=3))
    errors = largest_errors(standardised_errors(refined, gallery.objects.gaze))
    held = float((errors <= radius(after.errors.numpy(), 0.9)).mean())
    assert 0.75 < held < 1.0


def test_too_few_found_objects_are_refused_with_how_many(models, gallery, monkeypatch):
    monkeypatch.setattr(recalibration, "search_scenes", lambda *_: searches(gallery, right=0.0))
    with pytest.raises(BadInput, match=f"0 of {SCENES} annotated objects were found"):
        recalibration.recalibrate(models, gallery, AttendSettings(), Quiet())


def test_a_run_is_not_calibrated_onto_itself(tmp_path, capfd):
    run = write_untrained(tmp_path / "run", 40, 20)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert cli.run(["recalibrate", str(run), str(tmp_path), "--out", str(run)]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
