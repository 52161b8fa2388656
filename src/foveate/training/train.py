"""Annotated scenes -> the models of a RUN.

Phases, each of which resumes where it stopped: the patch model on aligned patches; the periphery, which looks at whole
scenes; the ShiftNet on perturbed gazes, and the network that looks closer; what counts as evidence, from searches of
scenes. A share of the scenes, chosen by a hash of their names, trains none of the models: the patch model's early
stopping, the network's accuracy by step, ranking, calibration and temper are measured there.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.models import Models, load_networks
from foveate.attention.periphery import Periphery
from foveate.attention.posterior.paper import PaperStart
from foveate.attention.shiftnet import ShiftNet, canonical_image, follow
from foveate.boltzmann.dbn import GaussianDBN, PatchScale
from foveate.boltzmann.training.greedy import FOLDS, train_gdbn
from foveate.boltzmann.training.whitening import Layout
from foveate.runtime.devices import keep_large_blocks
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.folder import Scenes
from foveate.scenes.glimpse import PATCH_SIZE, sizes_of
from foveate.storage.run import PAPER, PERIPHERY, Run
from foveate.training.data import TrainingData, load_data, with_sideways
from foveate.training.evidence import train_evidence
from foveate.training.gallery import Gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches, jittered_patches, turned
from foveate.training.periphery.train import train_periphery
from foveate.training.settings import ShiftNetSettings, TrainSettings, without_turning
from foveate.training.shiftnet import Validate, train_shiftnet

Device = str | torch.device
"""Where models are trained; images are sampled on the CPU."""

UPRIGHT = 0.01  # radians: what tools that round leave of an angle of 0
MOST_PATCHES = 40_000
"""From which a first layer over whitened pixels starts: 280 MB, and more add nothing."""


def train(
    scenes: Scenes, run: Run, settings: TrainSettings, progress: Progress, device: Device = "cpu"
) -> tuple[Models, TrainingData]:
    """Trains the models of a claimed run and writes them; goes on where an earlier process stopped.

    Raises:
        BadInput: Too few scenes hold an object or can be read.
    """
    data = load_data(scenes, settings, progress)
    return train_models(data, run, settings, progress, device=device), data


def train_models(
    data: TrainingData,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    start: Models | None = None,
    device: Device = "cpu",
) -> Models:
    """All phases; networks begin with the weights of `start`, if given, and pixels are standardised as by it."""
    keep_large_blocks()
    if always_upright(data.gallery.objects, start and start.periphery):
        settings = without_turning(settings)
    gdbn = patch_model(data, run, settings, progress, start and start.gdbn, device)
    paper, periphery = None, None
    if settings.paper:
        paper = (start and start.paper) or paper_start(data, gdbn)
        paper.save(run.path / PAPER)
    else:
        periphery = periphery_network(data, run, settings, progress, start and start.periphery, device)
    if not run.checkpoints.done("evidence"):  # the last phase that looks at them
        data = with_sideways(data, settings, progress)
    shiftnet, fine = networks(data, gdbn, run, settings, progress, start, paper)
    models = Models(gdbn, shiftnet, None, fine, periphery, paper=paper)
    return replace(models, evidence=train_evidence(models, data, run, settings, progress, start and start.evidence))


def paper_start(data: TrainingData, gdbn: GaussianDBN) -> PaperStart:
    """The mean aligned patch and the mean gaze of the objects that train."""
    objects, pyramids = data.objects, data.gallery.pyramids
    v = gdbn.standardise(aligned_patches(pyramids, objects))
    return PaperStart.of(v, pyramids, objects.image.numpy(), objects.gaze)


def always_upright(objects: Objects, start: Periphery | None) -> bool:
    """Whether no object is to be looked for at an angle: none has one, or the network before knew of none."""
    if start is not None:
        return start.harmonic == 0
    return bool(((gaze.angle(objects.gaze).abs() < UPRIGHT) | (objects.periods() == 0)).all())


def patch_model(
    data: TrainingData,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    like: GaussianDBN | None = None,
    device: Device = "cpu",
) -> GaussianDBN:
    """The Gaussian deep belief network of the aligned patches; pixels are standardised by their own mean and deviation,
    or as the model `like` standardises them."""
    path, pyramids, objects = run.path / "gdbn.safetensors", data.gallery.pyramids, data.objects
    if run.checkpoints.done("gdbn"):
        return GaussianDBN.load(path).to(device)
    scale = PatchScale.of(aligned_patches(pyramids, objects)) if like is None else like.patch

    def epoch(number: int) -> Float[Tensor, "n d"]:
        unsure = None if data.unsure is None else data.unsure[objects.image]
        drawn = jittered_patches(pyramids, objects, settings.patches, settings.seed, number, unsure)
        return scale.standardise(drawn).to(device)

    seen = aligned_patches(pyramids, turned(data.held_out_objects, settings.seed))
    held_out = scale.standardise(seen).to(device)
    gdbn = train_gdbn(
        epoch, held_out, settings.gdbn, seed=settings.seed, mean=scale.mean, std=scale.std, progress=progress,
        checkpoints=run.checkpoints, log=run.log, layout=Layout(3, PATCH_SIZE, PATCH_SIZE, settings.patches.mirror),
        folds=lambda: [scale.standardise(drawn) for drawn in _folds(data, settings)],
    )  # fmt: skip
    gdbn.save(path)
    run.log({"phase": "gdbn", **_on_held_out(gdbn, held_out)})
    run.checkpoints.finish("gdbn", {})
    return gdbn


def _folds(data: TrainingData, settings: TrainSettings) -> list[Float[Tensor, "n 3 24 24"]]:
    """Jittered patches of the objects that train, those of a photograph all in one fold; no more than serve."""
    objects, how = data.objects, settings.patches
    place = torch.unique(objects.image, return_inverse=True)[1]
    folds = min(FOLDS, int(place.max()) + 1)
    epochs = max(1, min(settings.gdbn.start_epochs, MOST_PATCHES // (how.copies * len(place))))

    def drawn(fold: int, epoch: int) -> Float[Tensor, "n 3 24 24"]:
        mine = torch.nonzero(place % folds == fold).flatten()
        some = objects.take(mine)
        unsure = None if data.unsure is None else data.unsure[some.image]
        return jittered_patches(data.gallery.pyramids, some, how, settings.seed, epoch, unsure)

    return [torch.cat([drawn(fold, k) for k in range(fold, folds * epochs, folds)]) for fold in range(folds)]


def _on_held_out(gdbn: GaussianDBN, v: Float[Tensor, "n d"]) -> dict[str, float]:
    """Of patches that trained nothing: what share of their variance about the mean mu(E[h1 | v]) explains (v is made of
    it), and the first layer's mean log density where its log Z is closed."""
    left, about = (v - gdbn.reconstruct(v)).square().sum(), (v - v.mean(0)).square().sum()
    figures = {"explained": 1 - float(left) / float(about)} if float(about) else {}
    closed = gdbn.grbm.log_z_closed()
    return figures if closed is None else {**figures, "first_layer": float(gdbn.grbm.log_mass(v).mean()) - closed}


def periphery_network(
    data: TrainingData, run: Run, settings: TrainSettings, progress: Progress, start: Periphery | None, device: Device
) -> Periphery:
    """The network that looks at whole scenes, from the weights of `start` where there is one."""
    path = run.path / PERIPHERY
    if not run.checkpoints.done("periphery trained"):
        train_periphery(data.gallery, data.fit, settings, progress, run.checkpoints, run.log, start, device).save(path)
        run.checkpoints.finish("periphery trained", {})
    return Periphery.load(path).to(device)


def networks(
    data: TrainingData,
    gdbn: GaussianDBN,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    start: Models | None = None,
    paper: PaperStart | None = None,
) -> tuple[ShiftNet, ShiftNet | None]:
    """The ShiftNet, then the one that looks closer, with v as the patch model gives it; both in one file.

    With `paper` every other v is the mean patch, with which the paper's inference sets out. They begin with the weights
    of those of `start`, if given; else the second with the first's. Without steps the
    second is that of `start`, or none.
    """
    path, device, canonical = run.path / "shiftnet.safetensors", gdbn.grbm.W.device, canonical_image(gdbn)

    def trained(how: ShiftNetSettings, begin: ShiftNet | None, validate: Validate | None = None) -> ShiftNet:
        return train_shiftnet(
            data.gallery.pyramids, data.objects, canonical, how, settings.seed, progress, run.checkpoints, run.log,
            validate, begin, device, paper and paper.v,
        )  # fmt: skip

    def validate(net: ShiftNet) -> dict[str, Any]:
        return {"by_step": accuracy_by_step(Models(gdbn, net), data.gallery, data.held_out_objects)}

    if not run.checkpoints.done("shiftnet trained"):
        trained(settings.shiftnet, start and start.shiftnet, validate).save(path)
        run.checkpoints.finish("shiftnet trained", {})
    if not run.checkpoints.done("fine trained"):
        shiftnet, fine = load_networks(path)[0].to(device), start and start.fine
        if settings.fine.steps:
            fine = trained(settings.fine, shiftnet if start is None else fine)
        Models(gdbn, shiftnet, None, fine).save_networks(path)
        run.checkpoints.finish("fine trained", {})
    shiftnet, fine = load_networks(path)
    return shiftnet.to(device), fine and fine.to(device)


@torch.inference_mode()
def accuracy_by_step(models: Models, gallery: Gallery, objects: Objects, steps: int = 8) -> list[float]:
    """Share of objects that the single start's gaze overlaps by IoU 0.5, by step; scenes of one object are meant."""
    width, height = sizes_of(gallery.pyramids, objects.image)
    zero = torch.zeros_like(width)
    starts = gaze.from_scale_angle(torch.maximum(width, height) / 6, zero, width / 2, height / 2)
    trails = follow(models.shiftnet, models.canonical, gallery.pyramids, objects.image, starts, steps)
    truth = gaze.to_boxes(objects.gaze)
    overlaps = [gaze.iou(gaze.to_boxes(at), truth).diagonal() for at in trails]
    return [round(float((overlap >= 0.5).double().mean()), 4) for overlap in overlaps]
