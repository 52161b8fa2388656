"""How many nats a patch a Gaussian deep belief network reaches, with all that is needed to trust the number.

Forward and reverse annealed importance sampling bracket the top RBM's log Z; the variational and the
importance-weighted bound follow patch by patch. The work can be split into shards and merged, and goes on after a
kill: every random number is keyed on the seed and on the chain or patch it is for, so the figures are the same to the
last bit.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foveate.boltzmann.baselines import log_densities
from foveate.boltzmann.dbn import GaussianDBN
from foveate.boltzmann.log_z.ais import BLOCK
from foveate.boltzmann.log_z.bound import bound_terms
from foveate.boltzmann.log_z.bracket import bracket_log_z
from foveate.boltzmann.training.whitening import Layout
from foveate.errors import BadInput
from foveate.evaluation.bound_figures import figures_of
from foveate.evaluation.bound_state import EvaluationState
from foveate.evaluation.patches import FOLDS
from foveate.runtime.progress import Progress, Quiet

PATCHES_AT_ONCE = 20  # between two writings of their bounds


def evaluate_bound(
    gdbn: GaussianDBN,
    patches: Tensor | np.ndarray,
    *,
    chains: int = 100,
    temperatures: int = 50_000,
    samples: int = 100,
    importance_samples: int = 1000,
    seed: int = 0,
    schedule: str = "adaptive",
    shard: tuple[int, int] = (1, 1),
    state_file: str | os.PathLike | None = None,
    resume: bool = False,
    baselines: Tensor | np.ndarray | Sequence[Tensor | np.ndarray] | None = None,
    layout: Layout | None = None,
    grbm: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of `foveate evaluate bound`.

    Args:
        gdbn: The model, on the device to compute on.
        patches: [N, D] (or [N, 3, h, w]) floating-point v's, standardised with the model's patch.mean and patch.std.
        chains, temperatures, samples, importance_samples, schedule, seed, grbm, resume: As `foveate evaluate bound`.
        shard: (i, n): the i-th of n parts of the chains (in blocks of 50) and of the patches; merge with
            `merge_bounds`.
        state_file: Where all that has been computed is kept, to go on or to merge.
        baselines: Patches on which simple densities are fitted, which are then measured on `patches`; or folds of them,
            those of one photograph in one fold. (Rows of one matrix are dealt out.)
        layout: How the numbers of a patch lie, for the baselines; None where they are no pictures.
        progress: Shows how far it is and prints doubts, and may stop it.

    Returns:
        What docs/formats.md names; nats throughout; None where a figure isn't known.

    Raises:
        BadInput: A value that can't be worked with; the text names it.
        Interrupted: The process was asked to stop; `state_file` has all that was done.
    """
    progress = progress or Quiet()
    v = checked_patches(patches, gdbn.grbm.n_visible)
    part, parts = shard
    if not 1 <= part <= parts:
        raise BadInput(f"shard {part}/{parts}: expected I/N with I from 1 to N")
    counts = dict(chains=chains, temperatures=temperatures, samples=samples, importance_samples=importance_samples)
    for name, count in counts.items():
        if count < 1:
            raise BadInput(f"{name} = {count}: expected at least 1")
    settings = {**counts, "seed": seed, "schedule": schedule, "grbm": grbm}
    identity = {"content": _fingerprint(gdbn, v), **settings, "shard": [part, parts]}
    state = EvaluationState(state_file, identity, resume)
    ids = [chain for chain in range(chains) if chain // BLOCK % parts == part - 1]
    mine = range(part - 1, len(v), parts)
    if baselines is not None and part == 1:
        _measured(v, baselines, layout, progress, state)
    if ids:
        _annealed(gdbn, v, ids, settings, progress, state)
    _bounded(gdbn, v, mine, settings, progress, state)
    if grbm and part == 1:
        _first_layer(gdbn, v, settings, progress, state)
    context = {"n": len(v), "dim": v.shape[1], "pixel_offset": pixel_offset(gdbn), "warnings": _warnings(gdbn, v)}
    state.finish("context", {}, {**settings, **context, "seconds": state.seconds()})
    figures = figures_of([state], progress)
    if parts > 1:
        figures["shard"] = [part, parts]
    return figures


def _measured(v: Tensor, fit: Any, layout: Layout | None, progress: Progress, state: EvaluationState) -> None:
    """Log densities of all patches under the baselines, into the state."""
    if state.done("baselines"):
        return
    if isinstance(fit, Tensor | np.ndarray):
        whole = checked_patches(fit, v.shape[1])
        folds = [whole[fold::FOLDS] for fold in range(min(FOLDS, len(whole)))]
    else:
        folds = [checked_patches(fold, v.shape[1]) for fold in fit]
    with progress.phase("baselines"):
        state.finish("baselines", log_densities(folds, v, layout))


def merge_bounds(files: Sequence[str | os.PathLike], progress: Progress | None = None) -> dict[str, Any]:
    """The figures of a whole evaluation from the state files of all its shards."""
    states = [EvaluationState.open(path) for path in files]
    if not states:
        raise BadInput("no state files to merge")
    for path, state in zip(files, states, strict=True):
        if not state.done("context"):
            raise BadInput(f"{path}: not finished; resume it first")
        for name, value in states[0].identity.items():
            if name != "shard" and state.identity.get(name) != value:
                raise BadInput(f"{path}: from another evaluation than {files[0]} ({name} differs)")
    count = states[0].identity["shard"][1]
    there = sorted(state.identity["shard"][0] for state in states)
    if there != list(range(1, count + 1)) or any(state.identity["shard"][1] != count for state in states):
        raise BadInput(f"shards {there} of {count}: expected each of 1 to {count} once")
    return figures_of(sorted(states, key=lambda state: state.identity["shard"][0]), progress or Quiet())


def pixel_offset(gdbn: GaussianDBN) -> float:
    """-(D/3) sum_c log patch.std_c: added to nats of v, it gives nats of the density over pixels in [0, 1]."""
    return 0.0 - gdbn.grbm.n_visible / 3 * float(gdbn.get_buffer("patch.std").double().log().sum())


def checked_patches(patches: Tensor | np.ndarray, dim: int) -> Float[Tensor, "n visible"]:
    """Patches as [N, D] float32 on the CPU."""
    if isinstance(patches, Tensor) and patches.is_floating_point():
        patches = patches.detach().float()
    array = patches if isinstance(patches, np.ndarray) else patches.cpu().numpy()
    if array.dtype.kind != "f":
        raise BadInput(f"patches are {array.dtype}, expected standardised float32")
    if array.ndim < 2 or len(array) == 0 or array[0].size != dim:
        raise BadInput(f"patches have shape {list(array.shape)}, expected [N, {dim}] with N at least 1")
    with np.errstate(over="ignore"):  # what float32 doesn't hold is infinite, and named below
        v = torch.from_numpy(array.reshape(len(array), dim).astype(np.float32))  # in this machine's byte order
    bad = torch.nonzero(~torch.isfinite(v).all(1)).flatten()
    if len(bad):
        raise BadInput(f"patches: row {int(bad[0])} has values that are not finite ({len(bad)} of {len(v)} rows have)")
    return v


def _annealed(
    gdbn: GaussianDBN, v: Tensor, ids: list[int], settings: dict, progress: Progress, state: EvaluationState
) -> None:
    """log Z's bracket from the chains `ids`, into the state."""
    if state.done("bracket"):
        return
    activities = _activities(gdbn, v)
    bracket = bracket_log_z(
        gdbn.rbm, activities, ids, settings["temperatures"], settings["schedule"], settings["seed"], settings["chains"],
        progress, state,
    )  # fmt: skip
    tensors = {"forward": bracket.forward.log_weights, "reverse": bracket.reverse.log_weights}
    state.finish("bracket", tensors, {"exact": bracket.exact, "doubts": bracket.sampling_doubts})


def _bounded(
    gdbn: GaussianDBN, v: Tensor, mine: range, settings: dict, progress: Progress, state: EvaluationState
) -> None:
    """Both bounds of the patches `mine`, into the state."""
    found, _ = state.load("patches") or ({"terms": torch.zeros((0, 3), dtype=torch.float64)}, {})
    terms = found["terms"]
    with progress.phase("bounds of patches", len(mine)) as tick:
        while len(terms) < len(mine):
            before, some = len(terms), mine[len(terms) : len(terms) + PATCHES_AT_ONCE]
            counts = settings["samples"], settings["importance_samples"]
            new = bound_terms(gdbn, v, some, *counts, settings["seed"], lambda done, before=before: tick(before + done))
            terms = torch.cat([terms, torch.stack(tuple(new), 1)])
            state.save("patches", {"terms": terms})
    state.finish("patches", {"terms": terms})


def _first_layer(gdbn: GaussianDBN, v: Tensor, settings: dict, progress: Progress, state: EvaluationState) -> None:
    """The first layer's own mean log density, into the state: by the exact log Z where it is known."""
    if state.done("grbm"):
        return
    closed, log_weights = gdbn.grbm.log_z_closed(), torch.zeros(0, dtype=torch.float64)
    if closed is not None:
        log_z, told = closed, {"lower": closed, "upper": closed, "stderr": 0.0, "ess": None, "doubts": []}
    else:
        counts = settings["chains"], settings["temperatures"], settings["schedule"], settings["seed"]
        bracket = bracket_log_z(gdbn.grbm, v, *counts, progress=progress, checkpoints=state, name="first layer")
        log_z, log_weights = bracket.forward.log_z, bracket.forward.log_weights
        log_z = log_z if bracket.exact is None else bracket.exact
        told = {
            "lower": bracket.lower, "upper": bracket.upper, "stderr": bracket.forward.stderr,
            "ess": bracket.forward.ess, "doubts": bracket.doubts,
        }  # fmt: skip
    exact_enough = gdbn.grbm.exactly()  # with small sigma, free energies are sums of large numbers
    density = -float(exact_enough.free_energy(v.double()).mean()) - log_z
    state.finish("grbm", {"log_weights": log_weights}, {"density": density, **told})


def _activities(gdbn: GaussianDBN, v: Tensor) -> Tensor:
    """E[h1 | v] of every patch."""
    return torch.cat([gdbn.grbm.hidden_mean(some.to(gdbn.grbm.W.device)).cpu() for some in v.split(1000)])


def _warnings(gdbn: GaussianDBN, v: Tensor) -> list[str]:
    """What speaks against the patches, or against the model on them."""
    found = []
    mean, std = float(v.mean()), float(v.std(correction=0))
    if abs(mean) > 0.5 or not 0.5 < std < 2:
        found.append(
            f"the patches have mean {mean:.3g} and standard deviation {std:.3g}, expected about 0 and 1: are they "
            "standardised with the model's patch.mean and patch.std?"
        )
    activities = _activities(gdbn, v)
    stuck = float(((activities.amin(0) > 0.999) | (activities.amax(0) < 0.001)).double().mean())
    if stuck > 0.9:
        found.append(f"{stuck:.0%} of the first layer's units are on, or off, for every patch: the model is saturated")
    return found


def _fingerprint(gdbn: GaussianDBN, v: Tensor) -> str:
    """Of the model's tensors and the patches."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(gdbn.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    digest.update(v.numpy().tobytes())
    return digest.hexdigest()
