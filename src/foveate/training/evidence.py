"""Training of the evidence: where searches of annotated scenes end, and what is to be seen there.

First round, on scenes that trained the network, on mosaics of them and on pictures without an object: gazes set out
without any ranking, and some end where no object is. These are the hard negatives of the verifier; with random windows,
what is seen there in scenes and mosaics makes the background model. Second round, on scenes that trained nothing,
mosaics of them and other pictures without an object: the whole search, whose gazes fit the ranking. Mosaics bring in
small objects and several at once, which portraits do not have. How often a gaze of some score is an object differs
between mosaics and scenes, and the photographs that will be attended are likelier to be like the scenes; but on scenes
alone, what is small is thought improbable. The calibration is therefore fitted on the scenes and a few mosaics.
"""

from dataclasses import replace

import torch

from foveate.attention.evidence import Evidence, fit_gaussian
from foveate.attention.models import Models
from foveate.attention.shiftnet import ShiftNet
from foveate.boltzmann.dbn import GaussianDBN
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.storage.files import load_tensors, save_tensors
from foveate.storage.run import Run
from foveate.training.data import TrainingData
from foveate.training.gallery import join, take
from foveate.training.hard_negatives import background_patches, hard_negatives
from foveate.training.patches import aligned_patches
from foveate.training.ranking import Searched, fit_ranking, search_scenes
from foveate.training.settings import TrainSettings
from foveate.training.synthetic.clutter import clutter
from foveate.training.synthetic.mosaics import mosaics
from foveate.training.temper import fit_temper
from foveate.training.verifier import train_verifier

Figures = dict[str, float | int | list[float]]


def train_evidence(
    models: Models,
    data: TrainingData,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    start: ShiftNet | None = None,
) -> Evidence:
    """Evidence, calibration and temper; kept in the run, and taken from it where they are there.

    Args:
        models: Patch model and networks.
        data: The scenes.
        run: Where the evidence, and the state of the verifier's training, are kept.
        settings: How.
        progress: Shows how far it is, and may stop it.
        start: A verifier whose weights training starts from; the network's own without.
    """
    if not run.checkpoints.done("evidence"):
        with data.gallery.pyramids.store.scratch():  # mosaics and clutter are made for this alone
            evidence, figures = _unranked(models, data, run, settings, progress, start)
            models = replace(models, evidence=evidence)
            searches, others = _held_out_searches(models, data, settings, progress)
            evidence, counts = fit_ranking(evidence, searches, others)
        models = replace(models, evidence=evidence)
        evidence, tempered = fit_temper(models, data.gallery, searches, settings.attend, progress)
        run.log({"phase": "evidence", **figures, **counts, **tempered})
        save_tensors(run.path / "background.safetensors", evidence.tensors())
        run.checkpoints.finish("evidence", {})
    return Evidence.from_tensors(load_tensors(run.path / "background.safetensors")).to(models.device)


def _unranked(
    models: Models,
    data: TrainingData,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    start: ShiftNet | None,
) -> tuple[Evidence, Figures]:
    """The first round: background model and verifier, on scenes that trained the networks; and figures about them."""
    how, seed, count, store = settings.ranking, settings.seed, len(data.fit), data.gallery.pyramids.store
    log_z = object_log_z(models.gdbn, data, settings, progress)
    trained = take(data.gallery, data.fit)
    made = mosaics(trained, range(count), how.mosaics, seed, how.mosaic, progress, store)
    empty = clutter(trained, range(count), how.clutter, seed, how.empty, progress, store)
    both = join(trained, join(made, empty))
    chosen = torch.randperm(count, generator=generator(seed, "ranking"))[: how.scenes].tolist()
    searched = chosen + list(range(count, len(both.names)))
    negatives = hard_negatives(models, both, searched, how, settings.attend.search, seed, progress)
    real = negatives.image < count + how.mosaics  # clutter makes no background that will be met
    first = models.shiftnet if start is None else start
    verifier, figures = train_verifier(
        both, negatives, ~real, models.canonical, first, start is not None, how.verifier, settings.shiftnet.pairs,
        seed, progress, run.checkpoints,
    )  # fmt: skip
    seen = background_patches(models, both, chosen, negatives.take(real), seed)
    evidence = Evidence(fit_gaussian(seen), log_z, verifier, None, None)
    return evidence, {**figures, "background_windows": len(seen)}


def _held_out_searches(
    models: Models, data: TrainingData, settings: TrainSettings, progress: Progress
) -> tuple[list[Searched], list[Searched]]:
    """The second round: searches of scenes that trained nothing, and of mosaics of them and other clutter."""
    how, gallery, seed = settings.ranking, data.gallery, settings.seed + 1
    store = gallery.pyramids.store
    made = mosaics(gallery, data.held_out, how.held_out_mosaics, seed, how.mosaic, progress, store)
    made = join(made, clutter(gallery, data.held_out, how.held_out_clutter, seed, how.empty, progress, store))
    searches = search_scenes(models, gallery, data.held_out, settings.attend, progress)
    return searches, search_scenes(models, made, range(len(made.names)), settings.attend, progress)


def object_log_z(gdbn: GaussianDBN, data: TrainingData, settings: TrainSettings, progress: Progress) -> float:
    """The GRBM's log partition function, which turns free energies into densities."""
    from foveate.boltzmann.log_z.bracket import forward_log_z

    patches = gdbn.standardise(aligned_patches(data.gallery.pyramids, data.objects))
    temperatures = settings.ranking.log_z_temperatures
    return forward_log_z(
        gdbn.grbm, patches, 20, temperatures, "adaptive", settings.seed, "first-layer", progress,
        "log Z of the first layer",
    ).log_z  # fmt: skip
