"""Annotated scenes -> the models of a RUN.

Phases, each of which resumes where it stopped: the patch model on aligned patches; the ShiftNet on perturbed gazes;
what counts as evidence, from searches of scenes; the temper of the posterior. A share of the scenes, chosen by a hash
of their names, trains none of the models: the patch model's early stopping, the network's accuracy by step, ranking,
calibration and temper are measured there.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from foveate.attention.canonical import canonical_image
from foveate.attention.evidence import Evidence
from foveate.attention.models import Models, load_networks
from foveate.attention.search import follow
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN, PatchScale
from foveate.boltzmann.training.greedy import train_gdbn
from foveate.errors import BadInput
from foveate.runtime.memory import keep_large_blocks
from foveate.runtime.progress import Progress
from foveate.scenes import gaze
from foveate.scenes.examination import FEWEST
from foveate.scenes.folder import Scenes
from foveate.storage.files import load_tensors, save_tensors
from foveate.training.evidence import train_evidence
from foveate.training.gallery import Gallery, hold_out, join, load_gallery
from foveate.training.labels import Objects
from foveate.training.patches import aligned_patches, jittered_patches
from foveate.training.settings import PRESETS, TrainSettings, handed
from foveate.training.shiftnet import train_shiftnet
from foveate.training.sideways import sideways
from foveate.training.temper import fit_temper

__all__ = ["PRESETS", "RunFolder", "Split", "TrainSettings", "handed", "train"]


@runtime_checkable  # so that the types that tests check at run time can be
class RunFolder(Protocol):
    """What training needs of the folder it writes into; `foveate.storage.run.Run` is one."""

    @property
    def path(self) -> Path: ...

    @property
    def checkpoints(self) -> Any: ...

    def log(self, record: Mapping[str, Any]) -> None: ...




class Split(NamedTuple):
    """Numbers of the scenes that train and of those that are held out, and the objects in each."""

    fit: list[int]
    held_out: list[int]
    objects: Objects
    held_out_objects: Objects


def train(
    scenes: Scenes, run: RunFolder, settings: TrainSettings, progress: Progress, device: str | torch.device = "cpu"
) -> tuple[Models, Gallery, Split]:
    """Trains the models of a RUN and writes them; goes on where an earlier process stopped.

    Args:
        scenes: Annotated scenes.
        run: A claimed run.
        settings: How.
        progress: Shows how far it is, and may stop it.
        device: Where the models are trained; images are sampled on the CPU.

    Raises:
        BadInput: Too few scenes hold an object or can be read.
    """
    keep_large_blocks()
    gallery, split = prepare(scenes, settings, progress)
    gdbn = patch_model(gallery, split, run, settings, progress, device=device)
    wider, more = gallery, split
    if not run.checkpoints.done("evidence"):  # the last phase that looks at them
        wider, more = with_sideways(gallery, split, settings, progress)
    shiftnet = network(wider, more, gdbn, run, settings, progress)
    fine = fine_network(wider, more, gdbn, shiftnet, run, settings, progress)
    models = Models(gdbn, shiftnet, None, fine)
    evidence = weigh(models, wider, more, run, settings, progress)
    return replace(models, evidence=evidence), gallery, split


def prepare(scenes: Scenes, settings: TrainSettings, progress: Progress) -> tuple[Gallery, Split]:
    """Reads the scenes and splits them."""
    gallery = load_gallery(scenes.scenes, progress, settings.largest)
    with_object = len(torch.unique(gallery.objects.image))
    if with_object < FEWEST:
        raise BadInput(f"{with_object} scenes with an annotated object: at least {FEWEST} are needed")
    fit, held_out = hold_out(gallery.held_together(), settings.held_out, settings.seed)
    split = Split(fit, held_out, gallery.subset(fit), gallery.subset(held_out))
    if not len(split.held_out_objects.image) or not len(split.objects.image):
        raise BadInput("the scenes held out for validation, or those left, hold no object: give more annotated scenes")
    return gallery, split


def with_sideways(gallery: Gallery, split: Split, settings: TrainSettings, progress: Progress) -> tuple[Gallery, Split]:
    """With copies of scenes that train, in which objects seem turned out of the plane; what is held out stays."""
    if settings.sideways.share <= 0:
        return gallery, split
    copies = sideways(gallery, split.fit, settings.sideways, settings.seed, progress)
    wider = join(gallery, copies)
    fit = split.fit + list(range(len(gallery.names), len(wider.names)))
    return wider, Split(fit, split.held_out, wider.subset(fit), split.held_out_objects)


def patch_model(
    gallery: Gallery,
    split: Split,
    run: RunFolder,
    settings: TrainSettings,
    progress: Progress,
    like: GaussianDBN | None = None,
    unsure: Float[Tensor, "objects 4"] | None = None,
    device: str | torch.device = "cpu",
) -> GaussianDBN:
    """The Gaussian deep belief network of the aligned patches, trained on `device`.

    Pixels are standardised by the patches' own mean and deviation, or as the model `like` standardises them. `unsure`
    says how far inferred gazes may be off (`jittered_patches`).
    """
    if run.checkpoints.done("gdbn"):
        return GaussianDBN.load(run.path / "gdbn.safetensors").to(device)
    scale = PatchScale.of(aligned_patches(gallery.pyramids, split.objects)) if like is None else like.patch

    def epoch(number: int) -> Float[Tensor, "n d"]:
        drawn = jittered_patches(gallery.pyramids, split.objects, settings.patches, settings.seed, number, unsure)
        return scale.standardise(drawn).to(device)

    held_out = aligned_patches(gallery.pyramids, split.held_out_objects)
    validation = scale.standardise(held_out).to(device)
    gdbn = train_gdbn(
        epoch,
        validation,
        settings.gdbn,
        seed=settings.seed,
        mean=scale.mean,
        std=scale.std,
        progress=progress,
        checkpoints=run.checkpoints,
        log=run.log,
    )
    gdbn.save(run.path / "gdbn.safetensors")
    run.checkpoints.finish("gdbn", {})
    return gdbn


def network(
    gallery: Gallery,
    split: Split,
    gdbn: GaussianDBN,
    run: RunFolder,
    settings: TrainSettings,
    progress: Progress,
    start: ShiftNet | None = None,
) -> ShiftNet:
    """The ShiftNet, with v as the patch model gives it; from the weights of `start` where there is one."""
    path, device = run.path / "shiftnet.safetensors", gdbn.grbm.W.device
    if run.checkpoints.done("shiftnet trained"):
        return ShiftNet.load(path).to(device)
    canonical = canonical_image(gdbn)

    def validate(net: ShiftNet) -> dict[str, Any]:
        return {"by_step": accuracy_by_step(Models(gdbn, net), gallery, split.held_out_objects)}

    net = train_shiftnet(
        gallery.pyramids,
        split.objects,
        canonical,
        settings.shiftnet,
        settings.seed,
        progress,
        run.checkpoints,
        run.log,
        validate,
        start,
        device,
    )
    net.save(path)
    run.checkpoints.finish("shiftnet trained", {})
    return ShiftNet.load(path).to(device)


def fine_network(
    gallery: Gallery,
    split: Split,
    gdbn: GaussianDBN,
    shiftnet: ShiftNet,
    run: RunFolder,
    settings: TrainSettings,
    progress: Progress,
    start: ShiftNet | None = None,
) -> ShiftNet | None:
    """The network that looks closer, from the weights of `start`, else of the ShiftNet; kept in the same file.

    Without steps it is `start`, or none.
    """
    path, device = run.path / "shiftnet.safetensors", gdbn.grbm.W.device
    if run.checkpoints.done("fine trained"):
        return _fine_of(path, device)
    if not settings.fine.steps:
        fine = start
    else:
        fine = train_shiftnet(
            gallery.pyramids,
            split.objects,
            canonical_image(gdbn),
            settings.fine,
            settings.seed,
            progress,
            run.checkpoints,
            run.log,
            None,
            start or shiftnet,
            device,
        )
    Models(gdbn, shiftnet, None, fine).save_networks(path)
    run.checkpoints.finish("fine trained", {})
    return _fine_of(path, device)


def _fine_of(path: Path, device: torch.device) -> ShiftNet | None:
    return (fine := load_networks(path)[1]) and fine.to(device)


def weigh(
    models: Models,
    gallery: Gallery,
    split: Split,
    run: RunFolder,
    settings: TrainSettings,
    progress: Progress,
    start: ShiftNet | None = None,
) -> Evidence:
    """Evidence, calibration and temper; the verifier from the weights of `start` where there is one."""
    if run.checkpoints.done("evidence"):
        return Evidence.from_tensors(load_tensors(run.path / "background.safetensors")).to(models.device)
    log_z = object_log_z(
        models.gdbn, gallery, split.objects, settings.ranking.log_z_temperatures, settings.seed, progress
    )
    with gallery.pyramids.store.scratch():  # mosaics and clutter, made for the evidence alone
        evidence, searches, figures = train_evidence(
            models,
            gallery,
            split.fit,
            split.held_out,
            settings.ranking,
            settings.attend,
            settings.shiftnet.pairs,
            log_z,
            settings.seed,
            progress,
            run.checkpoints,
            start,
        )
        evidence, tempered = fit_temper(
            replace(models, evidence=evidence), gallery, searches, settings.attend, progress
        )
    run.log({"phase": "evidence", **figures, **tempered})
    save_tensors(run.path / "background.safetensors", evidence.tensors())
    run.checkpoints.finish("evidence", {})
    return evidence


def object_log_z(
    gdbn: GaussianDBN, gallery: Gallery, objects: Objects, temperatures: int, seed: int, progress: Progress
) -> float:
    """The GRBM's log partition function, which turns free energies into densities."""
    from foveate.boltzmann.log_z.gaussian import grbm_log_z

    patches = gdbn.standardise(aligned_patches(gallery.pyramids, objects))
    with progress.phase("log Z of the first layer", 1) as tick:
        estimate = grbm_log_z(gdbn.grbm, patches, chains=20, temperatures=temperatures, seed=seed)
        tick(1)
    return estimate.log_z


@torch.inference_mode()
def accuracy_by_step(models: Models, gallery: Gallery, objects: Objects, steps: int = 8) -> list[float]:
    """Share of objects that the single start's gaze overlaps by IoU 0.5, by step; scenes of one object are meant."""
    width = torch.from_numpy(gallery.pyramids.width[objects.image.numpy(), 0]).double()
    height = torch.from_numpy(gallery.pyramids.height[objects.image.numpy(), 0]).double()
    zero = torch.zeros_like(width)
    starts = gaze.from_scale_angle(torch.maximum(width, height) / 6, zero, width / 2, height / 2)
    trails = follow(models.shiftnet, models.canonical, gallery.pyramids, objects.image, starts, steps)
    truth = gaze.to_boxes(objects.gaze)
    overlaps = [gaze.iou(gaze.to_boxes(at), truth).diagonal() for at in trails]
    return [round(float((overlap >= 0.5).double().mean()), 4) for overlap in overlaps]
