"""How images are attended: search, posteriors, prior, and what is reported. Imports no torch."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Field

from foveate.errors import BadInput
from foveate.storage.config import (
    FORMAT,
    AtLeast0,
    AtLeast1,
    NotNegative,
    Positive,
    Share,
    Unlisted,
    flat,
    listed,
    name_of,
    nested,
    override,
    settings,
)
from foveate.storage.run import CONFIG, Run

StartStrategy = Literal["many", "one", "paper"]
"""Where gazes set out (`starts`): from the periphery's proposals, one that covers the image, or the mean gaze as in the
paper, with all of its inference (`paper`)."""
CLOSER = 0.5  # the share by which a network that looks closer shrinks its gaze


@settings
class SearchSettings:
    """How an image is searched: the periphery's proposals, and the steps that the networks lead them on by."""

    most: AtLeast1 = 24  # proposals of an image
    floor: Annotated[float, Field(gt=0, lt=1)] = 0.15  # of their probability; a few are followed whatever theirs
    coarse: AtLeast0 = 1  # steps of the ShiftNet from each
    fine: AtLeast0 = 4  # steps of the network that looks closer, after these


@settings
class GazePrior:
    """p(u), the same for all gazes up to their images' sizes.

    Attributes:
        log_scale: (mean, standard deviation) of log s, s in pixels; None for the prior that is flat in (a, b, tx,
            ty), under which p(log s) grows as s^2.
        angle: (mean, standard deviation) in radians of a normal density wrapped round the circle; None for uniform.
        scale_range: Least and greatest s in pixels; by default 1 pixel and the longer side of the image.
        region: (x0, y0, x1, y1) in pixels that the centre lies in; by default the image.
    """

    log_scale: tuple[float, Positive] | None = None
    angle: tuple[float, Positive] | None = None
    scale_range: tuple[Positive, Positive] | None = None
    region: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.scale_range is not None and self.scale_range[0] >= self.scale_range[1]:
            raise BadInput(f"scale_range: the greatest scale must be above the least, got {self.scale_range}")
        if self.region is not None and not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise BadInput(f"region: expected (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {self.region}")


@settings
class PosteriorSettings:
    """How posteriors are sampled.

    Attributes:
        method: "importance" weighs points of the network's law of error, with the target "collapsed" and where that law
            is known; chains of HMC run where the weights can't be believed, and always with "hmc".
        chains: Chains a gaze, each from its own start; with none, posteriors are not sampled.
        warm_up: Sweeps (v, h1, moves of u) before the draws, in which scales and step sizes adapt.
        draws: Sweeps kept, one draw each.
        moves: HMC transitions of u a sweep.
        n_leapfrog: Leapfrog steps a transition.
        target: "paper", "marginal" or "collapsed"; see `posterior.sample`.
        temperature: Divides u's log-likelihood.
        dispersion: Standard deviation of the starts around the gaze: of log s, of the angle (radians), and of the
            centre in units of s; where a prior around the gaze is given, that takes its place.
        prior: p(u).
        pyramid: False samples level 0 alone, as the paper does.
    """

    method: Literal["importance", "hmc"] = "importance"
    chains: AtLeast0 = 4
    warm_up: AtLeast0 = 40
    draws: AtLeast1 = 60
    moves: AtLeast1 = 2
    n_leapfrog: AtLeast1 = 6
    target: Literal["paper", "marginal", "collapsed"] = "marginal"
    temperature: Annotated[Positive, Unlisted] = 1.0
    dispersion: Annotated[NotNegative, Unlisted] = 0.05
    prior: GazePrior = field(default_factory=GazePrior)
    pyramid: bool = True


# For the search, which samples many gazes: v integrated out, few sweeps, more chains to judge convergence by.
POSTERIOR = PosteriorSettings(chains=8, warm_up=12, draws=16, moves=1, n_leapfrog=3, target="collapsed")


@settings
class AttendSettings:
    """How images are attended."""

    starts: StartStrategy = "many"
    max_gazes: AtLeast1 = 20  # gazes reported an image
    min_probability: Share = 0.1  # gazes less probable are not reported
    one_steps: Annotated[AtLeast1, Unlisted] = 10  # steps of the network from the single start
    sample_above: Annotated[Share, Unlisted] = 0.1  # posteriors of less probable gazes, but the best, are not sampled
    coverage: Annotated[float | None, Field(gt=0, lt=1), Unlisted] = None  # of a region about each gaze
    visible: Annotated[bool, Unlisted] = False  # whether to say which pixels show the object, and which a cover
    search: SearchSettings = field(default_factory=SearchSettings)
    posterior: PosteriorSettings = POSTERIOR
    largest: AtLeast1 = 1600  # longest side at which image files are attended, pixels; larger ones are reduced
    seed: AtLeast0 = 0
    page: Annotated[AtLeast1, Unlisted] = 1  # of files that have several


def run_settings(run: Run) -> AttendSettings:
    """How a RUN is attended with where nothing else is asked: as it was trained and calibrated.

    Raises:
        BadInput: Its config.toml can't be read, or a setting doesn't take its value.
    """
    own = {name_of(name): value for name, value in flat(run.config.get("settings", {})).items()}
    own = {name: value for name, value in own.items() if name.startswith(("attend.", "search.", "posterior."))}
    return override(AttendSettings(), own, f"{run.path}/{CONFIG}", "attend.")


def configured(config: Mapping[str, Any], how: AttendSettings) -> dict[str, Any]:
    """The table of config.toml, `run_settings` whose RUN are `how`; all else as in `config`."""
    own = {name_of(name): value for name, value in flat(config.get("settings", {})).items()}
    return {"format": FORMAT, **config, "settings": nested(own | listed(how, "attend."))}
