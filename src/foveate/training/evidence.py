"""Training of the evidence: where searches of annotated scenes end, and what is to be seen there.

First round, on scenes that trained the networks and on mosaics of them: some gazes end where no object is. What is seen
there, and through random windows, makes the background model. Second round, on scenes that trained nothing, mosaics of
them and pictures without an object: the whole search, whose gazes fit ranking and calibration. Mosaics bring in small
objects and several at once, which portraits do not have; what has no object, how improbable one may be: on scenes alone
what is small is thought improbable, and what is nowhere else a doubtful place is thought probable.
"""

from dataclasses import replace

import torch

from foveate.attention.evidence import Background, Evidence
from foveate.attention.models import Models
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.training.bands import start_from_bands
from foveate.boltzmann.training.whitening import Layout
from foveate.runtime.progress import Progress
from foveate.runtime.random import generator
from foveate.scenes.glimpse import PATCH_SIZE
from foveate.storage.files import load_tensors, save_tensors
from foveate.storage.run import Run
from foveate.training.data import TrainingData
from foveate.training.gallery import join, take
from foveate.training.hard_negatives import background_patches, hard_negatives
from foveate.training.patches import aligned_patches
from foveate.training.ranking import Searched, calibrate, known_figures, missed_share, search_scenes
from foveate.training.settings import TrainSettings
from foveate.training.synthetic.clutter import clutter
from foveate.training.synthetic.mosaics import mosaics
from foveate.training.temper import fit_temper, spoilt_hits

Figures = dict[str, float | int | list[float]]
BANDS, GATES = 4, 8  # of the background model: bands of directions, and precision units of each


def train_evidence(
    models: Models,
    data: TrainingData,
    run: Run,
    settings: TrainSettings,
    progress: Progress,
    before: Evidence | None = None,
) -> Evidence:
    """Evidence, calibration and temper; kept in the run, and taken from it where they are there. The law of error is
    that of `before`, but for its size, where there was one."""
    if not run.checkpoints.done("evidence"):
        with data.gallery.pyramids.store.scratch():  # mosaics and clutter are made for this alone
            evidence, figures = _unranked(models, data, settings, progress)
            models = replace(models, evidence=evidence)
            searches, others = held_out_searches(models, data, settings, progress)
            ranking, calibration, counts = calibrate(searches, others, settings.ranking.of_scenes)
            evidence = replace(evidence, ranking=ranking, calibration=calibration)
            missed, known = missed_share(data.gallery, searches), known_figures(evidence, data.gallery, searches)
            evidence = replace(evidence, missed=missed, known=known, law=before and before.law)
            models, spoilt = replace(models, evidence=evidence), None
            if evidence.law is None:
                spoilt = spoilt_hits(models, data.gallery, data.held_out, settings.attend, settings.seed, progress)
        evidence, tempered = fit_temper(models, data.gallery, searches, settings.attend, progress, spoilt, data.unsure)
        run.log({"phase": "evidence", **figures, **counts, **tempered})
        save_tensors(run.path / "background.safetensors", evidence.tensors())
        run.checkpoints.finish("evidence", {})
    return Evidence.from_tensors(load_tensors(run.path / "background.safetensors"))


def _unranked(
    models: Models, data: TrainingData, settings: TrainSettings, progress: Progress
) -> tuple[Evidence, Figures]:
    """The first round: the background model, on scenes that trained the networks; and figures about it."""
    how, seed, count, store = settings.ranking, settings.seed, len(data.fit), data.gallery.pyramids.store
    log_z = object_log_z(models.gdbn, data, settings, progress)
    trained = take(data.gallery, data.fit)
    both = join(trained, mosaics(trained, range(count), how.mosaics, seed, how.mosaic, progress, store))
    chosen = torch.randperm(count, generator=generator(seed, "ranking"))[: how.scenes].tolist()
    searched = chosen + list(range(count, len(both.names)))
    negatives = hard_negatives(models, both, searched, settings.attend, progress)
    folds = background_patches(models, both, chosen, negatives, seed)
    layout = Layout(3, PATCH_SIZE, PATCH_SIZE, settings.patches.mirror)
    background = Background(start_from_bands(folds, 0, BANDS, GATES, layout))
    return Evidence(background, log_z, None, None), {"background_windows": sum(map(len, folds))}


def held_out_searches(
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
    """The first layer's log partition function, which turns free energies into densities."""
    from foveate.boltzmann.log_z.bracket import forward_log_z

    if (closed := gdbn.grbm.log_z_closed()) is not None:
        return closed
    patches, temperatures = aligned_patches(data.gallery.pyramids, data.objects), settings.ranking.log_z_temperatures
    how = (20, temperatures, "adaptive", settings.seed, "first-layer", progress, "log Z of the first layer")
    return forward_log_z(gdbn.grbm, gdbn.standardise(patches), *how).log_z
