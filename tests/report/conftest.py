"""A RUN that nobody trained: made scenes, gazes that go to the object by arithmetic, a patch model from linear algebra.

What is drawn is real (handwriting on photographs, glimpses of them), so the page can be looked at.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from foveate.boltzmann.dbn import GaussianDBN
from foveate.demo.digits import make_scene
from foveate.report.results import BoundStory, LearnRound, LearnStory, LocalizationStory, TableStory, TrainingStory
from foveate.report.story import FoundGaze, PatchStory, ScenesStory, SceneStory, Spread, Step
from foveate.scenes.glimpse import glimpses
from foveate.scenes.pyramid import Pyramids

SCENES = 36
NAMES = [
    "</script><script>window.hacked=1</script>.png",
    'a&b "50%" <img src=x onerror=window.hacked=1>.png',
    "#1 ?.png",
    "Фотография номер один.jpg",
    "صورة.png",
    "😀 cafe\u0301.png",
    "a/very/long/" + "path-that-goes-on-" * 8 + "end.png",
]


def path_to(truth: np.ndarray, start: np.ndarray, steps: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Gazes from start to truth, each closing most of what is left, then small moves around it."""
    trail, u = [start], start
    for _ in range(steps):
        u = u + 0.62 * (truth - u)
        trail.append(u)
    size = math.hypot(truth[0], truth[1])
    return trail + [truth + rng.normal(0, 0.05 * size, 4) * [0.5, 0.5, 1, 1] for _ in range(10)]


class Made:
    """The scenes, their glimpses, and a patch model whose filters are principal components."""

    def __init__(self, count: int = SCENES):
        self.scenes = [make_scene(range(5), seed=3, index=index) for index in range(count)]
        self.pyramids = Pyramids.from_images([scene.pixels for scene in self.scenes])
        self.truths = np.stack([scene.gazes[0] for scene in self.scenes])
        rng = np.random.default_rng(0)
        copies = 6
        shaken = np.repeat(self.truths, copies, axis=0)
        size = np.hypot(shaken[:, 0], shaken[:, 1])[:, None]
        shaken = shaken + rng.normal(0, 0.05, shaken.shape) * size
        self.index = np.repeat(np.arange(count), copies)
        self.patches = self.look(self.index, shaken)
        self.gdbn = model_of(self.patches)

    def look(self, index: np.ndarray, gazes: np.ndarray, size: int = 24) -> torch.Tensor:
        """Pixels [N, 3, size, size] under gazes [N, 4] of scenes index [N]."""
        where = torch.as_tensor(np.asarray(gazes), dtype=torch.float32)
        return glimpses(self.pyramids, torch.as_tensor(np.asarray(index)), where, size=size)

    def story(self, index: int, name: str, success: bool | None, rng: np.random.Generator) -> SceneStory:
        """The inference of one scene; a failure ends beside the object."""
        picture, truth = self.scenes[index].pixels, self.truths[index]
        height, width, _ = picture.shape
        goal = truth if success is not False else np.array([20.0, 6.0, 0.2 * width, 0.3 * height])
        trail = path_to(goal, np.array([0.4 * width, 0.0, width / 2, height / 2]), 6, rng)
        seen = self.look(np.full(len(trail), index), np.stack(trail))
        v = self.gdbn.standardise(seen)
        means = self.gdbn.to_pixels(self.gdbn.reconstruct(v)).reshape(-1, 3, 24, 24)
        score = -((v - self.gdbn.reconstruct(v)) ** 2).sum(dim=1) / 10
        steps = [
            Step(
                u.tolist(),
                "start" if t == 0 else "convnet" if t < 7 else "hmc",
                glimpse=seen[t],
                v=(seen[t] + means[t]) / 2,
                reconstruction=means[t],
                score=float(score[t]),
            )
            for t, u in enumerate(trail)
        ]
        draws = goal + rng.normal(0, 0.06, (200, 4)) * math.hypot(goal[0], goal[1]) * [1, 1, 1, 0.5]
        found = FoundGaze(trail[-1].tolist(), 0.97, Spread.from_draws(draws))
        overlap = 0.82 if success else 0.04
        return SceneStory(name, picture, width, height, [truth.tolist()], steps, [found], success, overlap)


def model_of(pixels: torch.Tensor) -> GaussianDBN:
    """A GDBN whose first layer is the principal components of the patches."""
    gdbn = GaussianDBN(3 * 24 * 24, 64, 32)
    gdbn.patch.mean.copy_(pixels.mean(dim=(0, 2, 3)))
    gdbn.patch.std.copy_(pixels.std(dim=(0, 2, 3)))
    v = gdbn.standardise(pixels)
    mean = v.mean(dim=0)
    centred = v - mean
    _, vectors = torch.linalg.eigh(centred @ centred.T)  # of fewer patches than pixels: the small side
    strongest = torch.arange(len(v) - 1, len(v) - 65, -1)
    weights = 2 * (centred.T @ vectors[:, strongest]) / math.sqrt(len(v))
    gdbn.grbm.W.copy_(weights)
    gdbn.grbm.b.copy_(mean - weights.sum(dim=1) / 2)
    gdbn.grbm.log_sigma.copy_((v - mean).std(dim=0).log() - 0.7)
    precision = torch.exp(-2 * gdbn.grbm.log_sigma)
    gdbn.grbm.c.copy_(-(weights.T * precision) @ mean)
    rng = torch.Generator().manual_seed(0)
    gdbn.rbm.W.copy_(0.1 * torch.randn(64, 32, generator=rng))
    return gdbn


@pytest.fixture(scope="session")
def made() -> Made:
    return Made()


def write_run(path: Path, made: Made) -> Path:
    """A RUN folder with every chapter of the story."""
    rng = np.random.default_rng(5)
    path.mkdir(parents=True)
    made.gdbn.save(path / "gdbn.safetensors")
    (path / "config.toml").write_text(
        'command = "train"\nversion = "0.1.0"\nseed = 7\n\n[scenes]\nfolder = "scenes/train"\n'
    )
    with open(path / "metrics.jsonl", "w") as log:
        for record in records(rng):
            log.write(json.dumps(record) + "\n")
    story = path / "story"
    names = NAMES + [f"scene-{index:04d}.png" for index in range(len(NAMES), 30)]
    scenes = [made.story(index, name, index % 5 != 2, rng) for index, name in enumerate(names)]
    ScenesStory(scenes, total=5000, name="test-known", successes=4810, failures=190).save(story)
    square = [torch.nn.functional.interpolate(pixels(one.pixels), (96, 96), mode="area")[0] for one in made.scenes]
    finest = made.look(np.arange(len(made.truths)), made.truths, size=64)
    PatchStory(
        made.patches[::2],
        total=4000,
        crops=finest.repeat(3, 1, 1, 1),
        aligned_mean=finest.mean(dim=0),
        scene_mean=torch.stack(square).mean(dim=0),
        validation=made.patches[1::2],
    ).save(story)
    LocalizationStory(localization_figures(), name="test-known").save(story)
    BoundStory(bound_figures(), name="test-known").save(story)
    learn_story(made, rng).save(story)
    TableStory(
        ["model", "bound, nats over pixels", "top1 on new digits"],
        [["source", 1210.4, 0.41], ["learned", 1702.9, 0.95], ["locations known", 1731.0, 0.97]],
        "Known digits are 0 to 4, new ones 5 to 9; learning was not shown where the new ones are.",
        "The demo's table",
    ).save(story)
    TrainingStory(
        {"scenes": 400, "objects": 400, "category": "digit <0-4>", "patches with jitter": 9600, "seconds": 211.4},
        [["broken.png", "can't be read: truncated"], [NAMES[0], "no annotation of this category"]],
        41,
    ).save(story)
    return path


def pixels(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]


def records(rng: np.random.Generator) -> list[dict]:
    """Records of three phases, as training logs them."""
    found: list[dict] = []
    for epoch in range(60):
        fall = math.exp(-epoch / 12)
        found.append(
            {
                "phase": "grbm",
                "epoch": epoch,
                "reconstruction_error": 0.3 + fall + 0.01 * rng.random(),
                "free_energy_train": -900 - 400 * (1 - fall),
                "free_energy_validation": -890 - 350 * (1 - fall),
                "sigma_mean": 0.4 + 0.6 * fall,
                "share_active": 0.2,
                "seconds": 1.3,
            }
        )
    found += [{"phase": "rbm", "epoch": epoch, "loss": 3 * math.exp(-epoch / 9), "note": "text"} for epoch in range(40)]
    for step in range(0, 3000, 10):
        loss = 0.2 * math.exp(-step / 700) + 0.05 + 0.02 * rng.random()
        found.append({"phase": "shiftnet", "step": step, "train": {"loss": loss}, "rate": 0.02, "bad": None})
        if step % 250 == 0:
            found.append({"phase": "shiftnet", "step": step, "validation": {"loss": loss + 0.01}})
    return found


def localization_figures() -> dict:
    """What `evaluate localization --json` prints."""
    return {
        "photos": 5000,
        "objects": 5012,
        "photos_with_objects": 4980,
        "top1": {"0.3": 0.985, "0.5": 0.962, "0.7": 0.871},
        "constant_box": {"0.3": 0.31, "0.5": 0.124, "0.7": 0.02},
        "recall": {"0.3": 0.978, "0.5": 0.951, "0.7": 0.85},
        "false_positives_per_photo": 0.041,
        "by_step": [[0, 0.02], [1, 0.61], [2, 0.83], [3, 0.91], [4, 0.94], [5, 0.955], [6, 0.962]],
        "angle_error_degrees": {"median": 2.1, "p90": 6.3},
        "scale_error": {"median": 1.03, "p90": 1.1},
        "calibration": {
            "centre": [0.66, 0.94],
            "angle": [0.71, 0.96],
            "scale": [0.62, None],
            "ece": 0.021,
            "reliability": [[0.05, 0.04, 900], [0.3, 0.36, 60], [0.55, 0.5, 80], [0.8, 0.77, 150], [0.98, 0.97, 4000]],
        },
        "seconds_per_photo": 0.084,
        "wrong": NAMES[:3],
    }


def bound_figures() -> dict:
    """What `evaluate bound --json` prints."""
    return {
        "n": 165,
        "dim": 1728,
        "bound": 1388.2,
        "bound_stderr": 9.1,
        "iw_bound": 1421.7,
        "pixel_offset": 2410.3,
        "log_z": 412.5,
        "log_z_lower": 402.0,
        "log_z_upper": 441.0,
        "log_z_stderr": 0.4,
        "ess": 71.0,
        "chains": 100,
        "temperatures": 50000,
        "seconds": 40.0,
        "grbm_log_density": 1301.0,
        "baselines": {"diagonal": -2254.0, "factor_analysis": 682.0, "ppca": 885.0, "ledoit_wolf": 1415.0},
    }


def learn_story(made: Made, rng: np.random.Generator) -> LearnStory:
    """Four rounds, in which the windows come nearer to the object."""
    rounds = []
    for number, spread in enumerate((0.9, 0.45, 0.2, 0.07), start=1):
        size = np.hypot(made.truths[:, :1], made.truths[:, 1:2])
        gazes = made.truths + rng.normal(0, spread, made.truths.shape) * size
        mean = made.look(np.arange(len(gazes)), gazes, size=48).mean(dim=0)
        scenes = [made.story(30 + index, f"new-{index}.png", index != 3, rng) for index in range(6)]
        reasons = {"probability below 0.5": 40 - 8 * number, "posterior too wide": 12}
        undone = "its bound fell by 12 nats" if number == 3 else ""
        accepted = 300 + 20 * number
        rejected = 52 - 8 * number
        rounds.append(
            LearnRound(
                number,
                mean,
                scenes,
                accepted,
                rejected,
                reasons,
                1300.0 + 110 * number - 60 * (number == 3),
                undone,
                1250.0 + 100 * number,
            )
        )
    return LearnStory(
        rounds,
        start_mean=made.patches.mean(dim=0),
        bound_before=1210.4,
        bound_after=1702.9,
        bound_oracle=1731.0,
        samples_before=made.patches[:64].flip(1),
        samples_after=made.patches[-64:],
        rejected=[["new-3.png", "probability 0.12"], [NAMES[1], "posterior too wide"]],
        rejected_total=20,
        name="digits 5-9",
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, made: Made) -> Path:
    """A RUN with every chapter."""
    return write_run(tmp_path_factory.mktemp("report") / "run", made)


@pytest.fixture(scope="session")
def page(run: Path) -> Path:
    """Its page."""
    from foveate.report.page import write_report

    return write_report(run)
